"""Which keys are halted (``on_dead="halt"``), and by which event: what the status tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from trunkline.event import Event
from trunkline.headers import TL_ERROR, TL_ERROR_CLASS, TL_FIRST_FAILED_AT
from trunkline.naming import inbox_of
from trunkline.streams.retry.tiers import failures_of

MAX_ERROR_CHARS = 300
"""Characters of an error that the status shows."""


@dataclass(frozen=True, slots=True)
class HaltedKey:
    """A key that waits for a person, and the event that halts it.

    ``place``: in the inbox, ``topic/partition/offset``; ``since``: when the event failed first
    (ISO 8601); ``times``: how many attempts failed; ``error``: the last one.
    """

    key: str
    id: str
    place: str
    since: str
    times: int
    error: str

    @classmethod
    def of(cls, event: Event[Any], headers: Mapping[str, str] | None = None) -> HaltedKey:
        """Of an event that has its history in its headers, or is about to get it: ``headers``."""
        told = headers or {}

        def header(name: str) -> str:
            return told.get(name) or event.header(name)

        return cls(
            key=event.key,
            id=event.id,
            place=f"{inbox_of(event.topic)}/{event.partition}/{event.sequence}",
            since=header(TL_FIRST_FAILED_AT),
            times=failures_of(event) + bool(told),
            error=f"{header(TL_ERROR_CLASS)}: {header(TL_ERROR)}"[:MAX_ERROR_CHARS],
        )


class HaltedKeys:
    """The halted keys of one destination in one worker, in the order in which they became so."""

    def __init__(self, found: Iterable[HaltedKey] = ()) -> None:
        """``found``: those that halted while another worker had them."""
        self._keys = {halted.key: halted for halted in found}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, halted: HaltedKey) -> None:
        """The event halts its key."""
        self._keys[halted.key] = halted

    def remove(self, key: str) -> None:
        """The key goes on, if it was halted."""
        self._keys.pop(key, None)

    def first(self, count: int) -> list[HaltedKey]:
        """At most so many of them."""
        return list(islice(self._keys.values(), count))
