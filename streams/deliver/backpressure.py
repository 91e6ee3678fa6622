"""When to read nothing more: what is in memory, and what a commit must tell, is bounded."""

from __future__ import annotations

from trunkline.streams.deliver.broker import Consumer
from trunkline.streams.deliver.offsets import MAX_OFFSET_SPAN
from trunkline.streams.deliver.tracker import OffsetTracker
from trunkline.streams.retry.key_order import ReadProgress

MAX_OPEN = 10_000
"""Events that are read and not done with, at the most. The consumer stops there by itself."""


class Backpressure(ReadProgress):
    """Pauses the consumer before a commit's metadata could not tell all that is completed.

    One event that takes long holds back the committed offset of its partition. Everything that is
    completed behind it must be told in the commit's metadata, of which the broker takes 4 kB:
    ``MAX_OFFSET_SPAN`` offsets.
    """

    def __init__(self, consumer: Consumer, tracker: OffsetTracker) -> None:
        self._consumer = consumer
        self._tracker = tracker
        self._paused = False

    def begin(self) -> None:
        """Partitions are assigned anew; a consumer begins to read them unpaused."""
        self._paused = False

    def on_received(self) -> None:
        """A batch was read, and what of it is done with at once is completed.

        The span is measured anew here, and not taken from before: if every event of the batch was
        dead-lettered at once, nothing is open, and no completion would ever end the pause.
        """
        if not self._paused and self._tracker.span > MAX_OFFSET_SPAN * 3 // 4:
            self._paused = True
            self._consumer.pause(True)

    def on_advanced(self, count: int) -> None:
        """So many more events are completed without a gap: others may be read in their place."""
        self._consumer.finished(count, self._consumer.epoch)
        if self._paused and self._tracker.span < MAX_OFFSET_SPAN // 2:
            self._paused = False
            self._consumer.pause(False)

    def has_read_up_to(self, partition: int, sequence: int) -> bool:
        """Whether the inbox's partition was read up to this offset."""
        return self._tracker.has_read_up_to(partition, sequence)

    def reads_on(self) -> bool:
        """Whether both limits are far, so that what is still in topics is surely read, even if
        nothing that is in memory is completed."""
        return self._tracker.open <= MAX_OPEN // 2 and self._tracker.span <= MAX_OFFSET_SPAN // 2
