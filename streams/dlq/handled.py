"""Which dead letters are handled (re-driven or discarded), as the control topic keeps it.

A dead letter's *origin* is the canonical partition of the event that died. The worker that routes
that partition also handles the letter: so what it sends again is in order with what it routes. Each
origin has a control record of its own, under a ``HandledKey``, written in the transaction that
handles the letters; since one worker routes a partition, no two ever write one record:

    {"handled": {"<partition of the DLQ>": {"prefix": 17, "runs": [[20, 3], [40, 1]]}}}

This origin's letters before offset 17 are handled, and those from 20 to 22 and at 40. Letters of
other origins lie between them, and do not count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trunkline.event import Headers
from trunkline.headers import TL_DEAD_FROM, TL_FROM, TL_STAGE
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.letters import DeadLetter

NO_ORIGIN: Partition = ("-", 0)
"""The origin of letters that were made of no canonical event: a source's, an operation's, a record
that was written to an inbox by hand."""

_CANONICAL_EVENT = {b"deliver": TL_FROM, b"route": TL_DEAD_FROM}
"""The header that names the canonical event, by the stage in which it died."""


def origin_of(headers: Headers) -> Partition:
    """The origin of a dead letter with these headers; NO_ORIGIN where they name none."""
    named = dict(headers)
    header = _CANONICAL_EVENT.get(named.get(TL_STAGE) or b"", "")
    # ``topic/partition/offset``, of an inbox record with route and part behind it.
    topic, *numbers = (named.get(header) or b"").decode(errors="replace").split("/")[:3]
    complete = len(numbers) == 2 and all(number.isdecimal() for number in numbers)
    return (topic, int(numbers[0])) if complete else NO_ORIGIN


def owner_of(origin: Partition, topics: Sequence[str]) -> Partition:
    """The canonical partition whose router handles the letters of an origin, and writes its record.

    ``topics``: those that the flow routes, sorted. It is the origin itself if that is routed, else
    partition 0 of the first topic.
    """
    # Else: a topic that the flow reads no more, or NO_ORIGIN. Somebody has to handle such letters,
    # and all workers must agree on whom, without asking each other.
    return origin if origin[0] in topics else (topics[0], 0)


class OffsetSet:
    """A set of offsets, kept as runs that neither touch nor overlap."""

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, until in runs:
            self.add(start, until)

    def add(self, start: int, until: int) -> None:
        """Add every offset from ``start`` to before ``until``."""
        if start >= until:
            return
        # The runs that the new one touches become one with it.
        first = bisect_left(self._ends, start)
        behind = bisect_right(self._starts, until)
        if first < behind:
            start = min(start, self._starts[first])
            until = max(until, self._ends[behind - 1])
        self._starts[first:behind] = [start]
        self._ends[first:behind] = [until]

    def __contains__(self, offset: int) -> bool:
        run = bisect_right(self._starts, offset) - 1
        return run >= 0 and offset < self._ends[run]

    def runs(self) -> list[tuple[int, int]]:
        """Start and end (exclusive) of each run, in order."""
        return list(zip(self._starts, self._ends, strict=True))


class Handled:
    """The handled dead letters of one origin, by partition of the DLQ."""

    def __init__(self, partitions: Mapping[int, OffsetSet] | None = None) -> None:
        self._partitions = dict(partitions or {})

    def add(self, partition: int, start: int, until: int) -> None:
        """Note that the origin's letters from ``start`` to before ``until`` are handled.

        Say as much at once as is known to hold no other letter of the origin.
        """
        # Two letters at offsets 5 and 9, with other origins' between them, are one run from 5 to 9
        # if they are added so; else they are two, in a record that every worker reads at its start.
        self._partitions.setdefault(partition, OffsetSet()).add(start, until)

    def has(self, partition: int, offset: int) -> bool:
        """Whether the letter of this origin that is there is handled."""
        return offset in self._partitions.get(partition, ())

    def to_record(self) -> dict[str, Any]:
        """The control record's value."""
        return {"handled": {str(n): _to_json(o) for n, o in sorted(self._partitions.items())}}

    @classmethod
    def from_record(cls, value: Mapping[str, Any] | None) -> Handled:
        """What a control record's value says; nothing is handled where there is none yet."""
        kept = (value or {}).get("handled", {})
        return cls({int(number): _from_json(one) for number, one in kept.items()})


def _to_json(offsets: OffsetSet) -> dict[str, Any]:
    runs = offsets.runs()
    prefix = runs.pop(0)[1] if runs and runs[0][0] == 0 else 0
    return {"prefix": prefix, "runs": [[start, until - start] for start, until in runs]}


def _from_json(one: Mapping[str, Any]) -> OffsetSet:
    runs = [(start, start + length) for start, length in one["runs"]]
    return OffsetSet([(0, one["prefix"]), *runs])


def handled_by_origin(
    state: Mapping[str, Mapping[str, Any]], name: str
) -> dict[Partition, Handled]:
    """What is handled in the queue of a destination or source, by origin.

    ``state``: of the control topic. ``name``: of the destination or source.
    """
    keys = {text: HandledKey.parse(text) for text in state}
    return {
        key.origin: Handled.from_record(state[text])
        for text, key in keys.items()
        if key is not None and key.name == name
    }


class HandledLetters:
    """Which letters of one queue are handled, whatever their origin.

    ``state``: of the control topic. ``name``: of the destination or source.
    """

    def __init__(self, state: Mapping[str, Mapping[str, Any]], name: str) -> None:
        self._by_origin = handled_by_origin(state, name)

    def has(self, letter: DeadLetter) -> bool:
        """Whether the letter is re-driven or discarded."""
        handled = self._by_origin.get(origin_of(letter.headers))
        return handled is not None and handled.has(letter.partition, letter.offset)
