"""Answers of an enrichment that are kept for a while, so that the same question is asked once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

MAX_ENTRIES = 10_000
"""Answers that are kept at the most."""
MAX_BYTES = 64 * 1024 * 1024
"""Bytes of questions and answers together that are kept at the most."""


class AnswerCache:
    """The newest answers by their question; the least recently used ones go first.

    ``seconds``: how long an answer is good, on the ``clock``; 0: nothing is kept. An answer is the
    encoded data, or None for a message that is dropped.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[float, bytes | None]] = OrderedDict()
        self._size = 0

    def find(self, question: bytes) -> tuple[bytes | None] | None:
        """The answer, in a tuple; None if there is none that is still good."""
        found = self._answers.get(question)
        if found is None:
            return None
        until, answer = found
        if until <= self._clock():
            self._drop(question)
            return None
        self._answers.move_to_end(question)
        return (answer,)

    def keep(self, question: bytes, answer: bytes | None) -> None:
        """Keep an answer, and let go of what there is no room for."""
        if not self._seconds:
            return
        if question in self._answers:
            self._drop(question)
        self._answers[question] = (self._clock() + self._seconds, answer)
        self._size += len(question) + len(answer or b"")
        while len(self._answers) > MAX_ENTRIES or self._size > MAX_BYTES:
            self._drop(next(iter(self._answers)))

    def __len__(self) -> int:
        return len(self._answers)

    def _drop(self, question: bytes) -> None:
        _, answer = self._answers.pop(question)
        self._size -= len(question) + len(answer or b"")
