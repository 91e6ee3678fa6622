"""Marking dead letters as handled while a re-drive or discard reads through them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.kafka.offsets import Partition
from trunkline.streams.dlq.handled import Handled, origin_of
from trunkline.streams.dlq.letters import DeadLetter


class HandledMarks:
    """Which letters of one destination's queue are handled, as one job knows and changes it.

    ``handled``: what the control topic has, by origin partition. ``first_offsets``: per partition
    of the queue, the first offset of the request's ranges, all letters from which on are read here;
    nothing for a job that goes on somewhere inside.

    The letters of an origin partition are read in order, and all of them by one job. So whatever
    lies between two of them that are handled can be marked as well: letters of other origins, and
    transaction markers.
    """

    # Why: marked one by one, 10,000 letters of 20 partitions would be 10,000 runs, in 20 records
    # that every worker reads at its start. So they are 20 runs.

    def __init__(self, handled: dict[Partition, Handled], first_offsets: Mapping[int, int]) -> None:
        self._handled = handled
        self._first_offsets = first_offsets
        self._next: dict[tuple[Partition, int], int] = {}

    def has(self, letter: DeadLetter) -> bool:
        """Whether the letter is handled."""
        known = self._handled.get(origin_of(letter.headers))
        return known is not None and known.has(letter.partition, letter.offset)

    def read(self, letter: DeadLetter, *, handled: bool) -> Partition | None:
        """Note that a letter is read, and whether it is handled now; letters come in order.

        Returns the origin partition whose record changes by that, if one does.
        """
        origin = origin_of(letter.headers)
        read = (origin, letter.partition)
        if handled:
            # Its first letter here: everything before it is others', if we read from the beginning.
            first = self._first_offsets.get(letter.partition, letter.offset)
            start = self._next.get(read, first)
            marks = self._handled.setdefault(origin, Handled())
            marks.add(letter.partition, start, letter.offset + 1)
        self._next[read] = letter.offset + 1
        return origin if handled else None

    def of(self, origin: Partition) -> Handled:
        """All that is handled of an origin partition."""
        return self._handled[origin]
