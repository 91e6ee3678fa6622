"""When to read nothing more: what is in memory, and what a commit must tell, is bounded."""

from __future__ import annotations

from trunkline.kafka.offsets import Partition
from trunkline.streams.deliver.broker import Consumer
from trunkline.streams.deliver.offsets import MAX_OFFSET_SPAN
from trunkline.streams.deliver.tracker import OffsetTracker
from trunkline.streams.retry.key_order import ReadProgress

MAX_OPEN = 10_000
"""Events that are read and not completed, at the most. The consumer stops there by itself."""


class Backpressure(ReadProgress):
    """Holds a partition before a commit's metadata could not tell all that is completed of it.

    One event that takes long holds back the committed offset of its partition. Everything that is
    completed behind it must be told in the commit's metadata, of which the broker takes 4 kB:
    ``MAX_OFFSET_SPAN`` offsets. Only that partition is held; the others are read on, since what is
    completed makes room in memory at once, whatever stands before it.
    ``max_open``: at how many events in memory the consumer stops.
    """

    def __init__(
        self, consumer: Consumer, tracker: OffsetTracker, max_open: int = MAX_OPEN
    ) -> None:
        self._max_open = max_open
        self._consumer = consumer
        self._tracker = tracker
        self._held: frozenset[Partition] = frozenset()

    def begin(self) -> None:
        """Partitions are assigned anew; a consumer begins to read all of them."""
        self._held = frozenset()

    def on_received(self) -> None:
        """A batch was read, and what of it is done with at once is completed."""
        self._hold()

    def on_completed(self, count: int) -> None:
        """So many more events are completed: others may be read in their place."""
        self._consumer.finished(count, self._consumer.epoch)
        if self._held:
            self._hold()

    def _hold(self) -> None:
        """Hold the partitions that are near the limit, until they are half-way back."""
        most, fewest = MAX_OFFSET_SPAN * 3 // 4, MAX_OFFSET_SPAN // 2
        held = frozenset(
            partition
            for partition, span in self._tracker.spans().items()
            if span > most or (span >= fewest and partition in self._held)
        )
        if held != self._held:
            self._held = held
            self._consumer.hold(held)

    def has_read_up_to(self, partition: int, sequence: int) -> bool:
        """Whether the inbox's partition was read up to this offset."""
        return self._tracker.has_read_up_to(partition, sequence)

    def reads_on(self) -> bool:
        """Whether both limits are far, so that what is still in topics is surely read, even if
        nothing that is in memory is completed."""
        return (
            self._tracker.open <= self._max_open // 2 and self._tracker.span <= MAX_OFFSET_SPAN // 2
        )
