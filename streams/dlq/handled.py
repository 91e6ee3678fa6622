"""Which dead letters are handled (re-driven or discarded), as the control topic keeps it.

A dead letter is handled by the worker that routes its *home*, the canonical partition that it was
made of: so it is in order with what that worker routes. Each home has a record of its own in the
control topic, under a ``HandledKey``, written in the transaction that handles
the letters, so no two workers ever write one record:

    {"handled": {"<partition of the DLQ>": {"prefix": 17, "runs": [[20, 3], [40, 1]]}}}

Everything of this home before ``prefix`` is handled, and so are the runs: start and length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trunkline.event import Headers
from trunkline.headers import TL_DEAD_FROM, TL_FROM, TL_STAGE
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import HandledKey

NO_ORIGIN: Partition = ("-", 0)
"""The home of letters that were made of no canonical event: a source's, an operation's, a record
that was written to an inbox by hand."""

_ORIGIN = {b"deliver": TL_FROM, b"route": TL_DEAD_FROM}
"""The header that names the canonical event, by stage."""


def origin_of(headers: Headers) -> Partition:
    """The canonical partition that a dead letter with these headers was made of, or NOWHERE."""
    named = dict(headers)
    origin = _ORIGIN.get(named.get(TL_STAGE) or b"", "")
    topic, *numbers = (named.get(origin) or b"").decode(errors="replace").split("/")
    right = len(numbers) in (2, 3) and all(number.isdecimal() for number in numbers)
    return (topic, int(numbers[0])) if right else NO_ORIGIN


def owner_of(home: Partition, topics: Sequence[str]) -> Partition:
    """The partition whose router handles the letters of a home, and writes its record.

    ``topics``: those that the flow routes, sorted. Letters of other homes (a topic that the flow
    no longer reads, NOWHERE) are for the first one's first partition.
    """
    return home if home[0] in topics else (topics[0], 0)


class Offsets:
    """A set of offsets, kept as runs that neither touch nor overlap."""

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, until in runs:
            self.add(start, until)

    def add(self, start: int, until: int) -> None:
        """Add every offset from ``start`` to before ``until``.

        Add as much at once as is known to hold no other letter of the home: transaction markers
        and other homes' letters lie between, and each gap that is left is a run more to keep.
        """
        if start >= until:
            return
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
    """The handled dead letters of one home, by partition of the DLQ."""

    def __init__(self, partitions: Mapping[int, Offsets] | None = None) -> None:
        self._partitions = dict(partitions or {})

    def add(self, partition: int, start: int, until: int) -> None:
        """Note that the home's letters from ``start`` to before ``until`` are handled."""
        self._partitions.setdefault(partition, Offsets()).add(start, until)

    def has(self, partition: int, offset: int) -> bool:
        """Whether the letter at this place, one of this home, is handled."""
        return offset in self._partitions.get(partition, ())

    def copy(self) -> Handled:
        """One that changes alone: a transaction that fails leaves the original as it was."""
        return Handled({n: Offsets(offsets.runs()) for n, offsets in self._partitions.items()})

    def encode(self) -> dict[str, Any]:
        """The control record's value."""
        return {"handled": {str(n): _encode(o) for n, o in sorted(self._partitions.items())}}

    @classmethod
    def decode(cls, value: Mapping[str, Any] | None) -> Handled:
        """What ``encode`` gave; nothing is handled where there is no record yet."""
        kept = (value or {}).get("handled", {})
        return cls({int(number): _decode(one) for number, one in kept.items()})


def handled_by_origin(
    state: Mapping[str, Mapping[str, Any]], name: str
) -> dict[Partition, Handled]:
    """What is handled of a destination's or source's dead letters, in a control topic's state."""
    keys = {key: HandledKey.parse(key) for key in state}
    return {
        parsed.origin: Handled.decode(state[key])
        for key, parsed in keys.items()
        if parsed is not None and parsed.name == name
    }


def _encode(offsets: Offsets) -> dict[str, Any]:
    runs = offsets.runs()
    prefix = runs.pop(0)[1] if runs and runs[0][0] == 0 else 0
    return {"prefix": prefix, "runs": [[start, until - start] for start, until in runs]}


def _decode(one: Mapping[str, Any]) -> Offsets:
    runs = [(start, start + length) for start, length in one["runs"]]
    return Offsets([(0, one["prefix"]), *runs])
