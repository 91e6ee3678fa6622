"""Which messages were taken within the last minutes, so that none is taken twice."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable

MOST_REMEMBERED = 100_000
"""Messages that are remembered at the most, some 15 MB: with more, the oldest are forgotten."""


class TakenMessages:
    """The messages that this process has taken since ``seconds`` ago, by name. For one event loop.

    ``clock``: monotonic seconds.
    """

    def __init__(
        self, seconds: float, clock: Callable[[], float], most: int = MOST_REMEMBERED
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._taken: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: set[bytes] = set()

    @staticmethod
    def name(ids: Iterable[str]) -> bytes:
        """The name of a message that is made of records with these ids."""
        hashed = hashlib.blake2b(digest_size=16)
        for id_ in ids:
            raw = id_.encode(errors="surrogatepass")
            hashed.update(b"%d:" % len(raw) + raw)
        return hashed.digest()

    def has(self, name: bytes) -> bool:
        """Whether the message was taken."""
        oldest = self._clock() - self._seconds
        while self._taken and next(iter(self._taken.values())) < oldest:
            self._taken.popitem(last=False)
        return name in self._taken

    def begin(self, name: bytes) -> bool:
        """Begin to take it; False while another request does."""
        if name in self._under_way:
            return False
        self._under_way.add(name)
        return True

    def end(self, name: bytes, *, taken: bool) -> None:
        """It is taken, or was not."""
        self._under_way.discard(name)
        if taken:
            self._taken[name] = self._clock()
            while len(self._taken) > self._most:
                self._taken.popitem(last=False)
