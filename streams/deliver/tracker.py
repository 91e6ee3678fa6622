"""How far one worker is in the partitions of a destination: what was read, what is completed.

Of each event a number is kept and nothing else. The tracker does no I/O: the committer writes what
it knows, backpressure compares it with the limits, and key order asks it how far the inbox is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import Message, TopicPartition

from trunkline.event import Event
from trunkline.kafka.offsets import Partition
from trunkline.streams.deliver.offsets import PartitionOffsets


class OffsetTracker:
    """The offsets of one destination's inbox and retry topics in one worker.

    Called in the event loop; but ``begin`` in the poll loop's thread, while nothing is under way.
    ``clock``: epoch seconds.
    """

    def __init__(self, inbox: str, clock: Callable[[], float]) -> None:
        self._inbox = inbox
        self._clock = clock
        self._partitions: dict[Partition, PartitionOffsets] = {}
        self._unread: dict[int, range] = {}

    def begin(
        self, partitions: dict[Partition, PartitionOffsets], unread: dict[int, range]
    ) -> None:
        """Begin with these partitions. ``unread``: the offsets that the inbox's partitions have,
        for those of whose events some wait in a retry topic and are still to be read."""
        self._partitions = partitions
        self._unread = unread

    def clear(self) -> None:
        """Forget all partitions: they are another worker's now."""
        self._partitions, self._unread = {}, {}

    def receive(self, messages: Sequence[Message]) -> tuple[list[Message], int]:
        """Note what was read.

        Returns the messages that are to be delivered, and how many were completed before a
        restart.
        """
        fresh: list[Message] = []
        for message in messages:
            partition: Any = message.topic(), message.partition()
            offset: Any = message.offset()
            if self._partitions[partition].receive(offset, message.timestamp()[1]):
                fresh.append(message)
        return fresh, len(messages) - len(fresh)

    def complete(self, events: Iterable[Event[Any]]) -> int:
        """The events are delivered, written to a retry topic, or dead-lettered. Returns how many
        of them were not known to be completed.

        One whose partition went away meanwhile is left out: its new owner delivers it again.
        """
        count, partitions = 0, self._partitions
        for event in events:
            offsets = partitions.get((event.topic, event.partition))
            if offsets is not None:
                count += offsets.complete(event.offset)
        return count

    def owns(self, event: Event[Any]) -> bool:
        """Whether the partition that the event was read from is still this worker's."""
        return (event.topic, event.partition) in self._partitions

    def has_read_up_to(self, partition: int, offset: int) -> bool:
        """Whether the inbox was read up to this offset, in this assignment or one before; or never
        will be, since the offset is not there any more (retention, or a topic made anew)."""
        offsets = self._partitions.get((self._inbox, partition))
        if offsets is None:
            return False
        return offsets.end > offset or offset not in self._unread.get(partition, ())

    # For commits.

    def changed(self) -> dict[Partition, PartitionOffsets]:
        """The partitions that have something to commit."""
        return {partition: found for partition, found in self._partitions.items() if found.changed}

    def touch(self) -> None:
        """Let every partition have something to commit, though nothing has changed."""
        for offsets in self._partitions.values():
            offsets.changed = True

    def touch_inbox(self, partition: int) -> bool:
        """Let a partition of the inbox have something to commit; whether it is this worker's."""
        offsets = self._partitions.get((self._inbox, partition))
        if offsets is not None:
            offsets.changed = True
        return offsets is not None

    def owns_still(self, committed: dict[Partition, PartitionOffsets]) -> bool:
        """Whether these partitions were this worker's all the time since ``changed``."""
        return all(
            self._partitions.get(partition) is found for partition, found in committed.items()
        )

    def to_commit(self, partition: Partition, offsets: PartitionOffsets) -> TopicPartition:
        """The offset and the metadata to commit of a partition now."""
        return TopicPartition(*partition, *offsets.to_commit())

    # How much there is.

    @property
    def open(self) -> int:
        """Events that were read and are not completed."""
        return sum(offsets.incomplete for offsets in self._partitions.values())

    @property
    def span(self) -> int:
        """How many offsets a commit's metadata must tell apart, in the largest partition."""
        return max(self.spans().values(), default=0)

    def spans(self) -> dict[Partition, int]:
        """How many offsets a commit's metadata must tell apart, of each partition."""
        return {partition: offsets.window for partition, offsets in self._partitions.items()}

    def oldest_age(self) -> float:
        """Seconds since the oldest open event of the inbox was written; 0 if none is open."""
        oldest = [
            written
            for partition, offsets in self._partitions.items()
            if partition[0] == self._inbox and (written := offsets.oldest) is not None
        ]
        return max(0.0, self._clock() - min(oldest) / 1000) if oldest else 0.0
