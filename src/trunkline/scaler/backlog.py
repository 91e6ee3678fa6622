"""What one partition holds that its group has not completed, record by record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from confluent_kafka import Message

from trunkline.streams.deliver.offsets import PartitionOffsets

T = TypeVar("T")

MOST = 5_000
"""Records of a partition that are known one by one. What stands behind them counts, but is not
read: so memory is bounded, and nobody reads a backlog of millions twice."""


class PartitionBacklog(Generic[T]):
    """The records of one partition that are not completed. For the reader's thread.

    Offsets alone do not tell: those of transaction markers hold no event, and what is completed
    out of order stands in the commit's metadata. So each offset beyond the commit is read, once.
    ``keep``: what is kept of a record. ``unread``: offsets that were not looked at yet.
    """

    def __init__(self, keep: Callable[[Message], T]) -> None:
        self._keep = keep
        self._start = 0
        self._read_to = 0
        self._end = 0
        self._done = PartitionOffsets()
        self.records: dict[int, T] = {}

    def update(self, done: PartitionOffsets, held: range) -> range:
        """Note how far the group is and which offsets there are; returns those to read now.

        What is behind the commit, or deleted from the topic, is forgotten. Where the group was set
        back, or the topic made anew, all is read again.
        """
        start = max(done.committable, held.start)
        if start < self._start or held.stop < self._read_to:
            self.records.clear()
            self._read_to = start
        self._start, self._end, self._done = start, held.stop, done
        self._read_to = min(max(self._read_to, start), max(held.stop, start))
        gone = [at for at in self.records if at < start or done.is_done(at)]
        for at in gone:
            del self.records[at]
        room = max(0, MOST - len(self.records))
        return range(self._read_to, min(held.stop, self._read_to + room))

    def add(self, message: Message) -> None:
        """A record of the range that ``update`` returned was read."""
        offset = message.offset() or 0
        if offset >= self._start and not self._done.is_done(offset):
            self.records[offset] = self._keep(message)

    def has_read(self, span: range) -> None:
        """The range is read to its end: what no record came from are markers."""
        self._read_to = max(self._read_to, span.stop)

    @property
    def unread(self) -> int:
        """Offsets behind those that were read: so many events at the most."""
        return max(0, self._end - self._read_to)
