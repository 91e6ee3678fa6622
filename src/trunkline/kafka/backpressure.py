"""When a poll loop must not read on: too much is under way, or what comes next is not due yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, Message, TopicPartition

from trunkline.kafka.messages import partition_of
from trunkline.kafka.offsets import Partition


class InFlight:
    """What was read and is not done with, and whether more may be read. Thread-safe: the poll
    loop's thread receives and waits, other threads finish and pause.

    Everything counts within an epoch, which is one assignment of partitions or the time from one
    rewind to the next: what is finished of an older one was forgotten when that one ended.

    ``max_in_flight``, ``max_batches``: how many messages, and batches, may be under way; None for
    any number of batches. Once as many messages are under way, there is room again when a quarter
    of them is done with. ``rewinding``: whether the committed offsets are still to be sought.
    ``closed``: whether nothing more is to be read at all.
    """

    def __init__(self, max_in_flight: int, max_batches: int | None = None) -> None:
        self._max_in_flight = max_in_flight
        self._max_batches = max_batches
        # Why not at the first that is done with: a destination slower than Kafka keeps the room
        # full, and each event done with woke the poll loop's thread to read one more: 1,400 batches
        # of one event a second, which cost delivery 40 % more CPU.
        self._enough = max_in_flight - max(1, max_in_flight // 4)
        self._full = False
        self._changed = threading.Condition()
        self._messages = self._batches = 0
        self._oldest = 0
        self.held: frozenset[Partition] = frozenset()
        """Partitions of which nothing more is to be read for now."""
        self.epoch = 0
        self.rewinding = False
        self.closed = False

    def begin_epoch(self, *, rewinding: bool = False) -> None:
        """Forget what is under way, and which partitions are held."""
        with self._changed:
            self.epoch += 1
            self._messages = self._batches = 0
            self._full = False
            self.held = frozenset()
            self.rewinding = rewinding
            self._changed.notify_all()

    def received(self, messages: Sequence[Message]) -> int | None:
        """A batch is under way from now on. Returns its epoch; None if it is to be dropped, since
        it was read before a rewind that is still to be done."""
        with self._changed:
            if self.rewinding:
                return None
            if self._messages <= 0:
                self._oldest = messages[0].timestamp()[1]
            self._messages += len(messages)
            self._batches += 1
            self._full = self._full or self._messages >= self._max_in_flight
            return self.epoch

    def finished(self, count: int, epoch: int, *, batches: int = 0) -> None:
        """So many messages of that epoch are done with, and so many whole batches."""
        with self._changed:
            if epoch == self.epoch:
                self._messages -= count
                self._batches -= batches
                self._full = self._full and self._messages > self._enough
                if batches or not self._full:
                    self._changed.notify_all()

    @property
    def messages(self) -> int:
        """How many messages are under way."""
        return self._messages

    def hold(self, partitions: frozenset[Partition], epoch: int) -> None:
        """Read nothing more of these partitions, as far as they are those of that epoch; all
        others go on."""
        with self._changed:
            if epoch == self.epoch:
                self.held = partitions

    def close(self) -> None:
        """Nothing more is to be read: nobody waits any longer."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until more may be read, or this is closed; False if that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self.closed or self._has_room(), timeout)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is under way; False if that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._messages == 0, timeout)

    def wait_closed(self, timeout: float) -> bool:
        """Wait until this is closed; False if that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self.closed, timeout)

    def oldest_age(self) -> float:
        """Seconds since the oldest message under way was written; 0 when there is none.

        As of the batch that came when nothing was under way: one that is done with early makes it
        no younger, until everything is done with.
        """
        with self._changed:
            written = self._oldest if self._messages > 0 else None
        return max(0.0, time.time() - written / 1000) if written else 0.0

    def _has_room(self) -> bool:
        return not self._full and (self._max_batches is None or self._batches < self._max_batches)


class PausedPartitions:
    """The partitions of which nothing is due for a while, and those that are held. For the
    consumer's thread.

    A retry tier has one delay, so what stands behind a message is due no earlier than that one:
    until then reading on would only fill the memory with events that wait.

    ``resume_at``: until when (epoch seconds) reading on behind a message can wait; None if nothing
    ever waits. ``until``: the paused partitions, and when each is resumed. ``through``: partitions
    that are read up to an offset whatever ``resume_at`` says; any thread may set it anew. ``held``:
    those that are paused until their owner lets them go.
    """

    def __init__(self, resume_at: Callable[[Message], float] | None) -> None:
        self._resume_at = resume_at
        self.until: dict[Partition, float] = {}
        self.through: dict[Partition, int] = {}
        self._next: dict[Partition, int] = {}
        self.held: frozenset[Partition] = frozenset()

    def forget(self) -> None:
        """Partitions are assigned anew, and none is paused."""
        self.until.clear()
        self.held = frozenset()

    def hold(self, consumer: Consumer, partitions: frozenset[Partition]) -> None:
        """Pause these partitions, and resume those that were held and are no more."""
        if partitions == self.held:
            return
        freed = self.held - partitions - self.until.keys()
        consumer.pause([TopicPartition(*partition) for partition in partitions - self.held])
        consumer.resume([TopicPartition(*partition) for partition in freed])
        self.held = partitions

    def pause(self, consumer: Consumer, messages: Sequence[Message]) -> None:
        """Pause the partitions in which the last of these messages says that the next can wait."""
        if self._resume_at is None:
            return
        now, through = time.time(), self.through
        last = {partition_of(message): message for message in messages}
        self._next = {p: (message.offset() or 0) + 1 for p, message in last.items()} | {
            p: offset for p, offset in self._next.items() if p in self.until and p not in last
        }
        waits = {
            p: until
            for p, m in last.items()
            if (until := self._resume_at(m)) > now and self._next[p] >= through.get(p, 0)
        }
        if waits:
            self.until.update(waits)
            consumer.pause([TopicPartition(*partition) for partition in waits])

    def resume(self, consumer: Consumer) -> None:
        """Resume those whose time has come."""
        now, through = time.time(), self.through
        due = [
            partition
            for partition, until in self.until.items()
            if until <= now or self._next.get(partition, 0) < through.get(partition, 0)
        ]
        for partition in due:
            del self.until[partition]
        if free := [partition for partition in due if partition not in self.held]:
            consumer.resume([TopicPartition(*partition) for partition in free])
