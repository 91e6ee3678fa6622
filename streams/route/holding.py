"""The partitions of which nothing can be routed for now, and what was read of them meanwhile.

A route asks a system that is down, or a registry does not tell a schema: that is no fault of the
event, so nothing of its partition is routed or committed, until it can be. All others go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Message

from trunkline.kafka.messages import partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.route.router import Hold, RoutingResult, is_held
from trunkline.tasks import backoff

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a held partition is tried again."""

LONGEST_AFTER = 300.0
"""Seconds that a route's ``after=`` may ask for. It comes from a stranger: a day would be a day
without anything of the partition, though its system came back after a minute."""


class Waiting:
    """How long something is held, and when it is tried again. ``clock``: epoch seconds.

    ``since``: of the first try to route what stands at its beginning; ``times``: how often that has
    failed; ``error``: why, the last time.
    """

    def __init__(self, hold: Hold, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offset = -1
        self.fail(hold)

    def fail(self, hold: Hold) -> None:
        """It cannot be routed from there on. Somewhere else than before, it has got on meanwhile:
        then the pauses begin anew."""
        if hold.offset != self._offset:
            self._offset = hold.offset
            self._pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
            self.since = self._clock()
            self.times = 0
        self.error = hold.error
        self.times += 1

    def fail_again(self, error: Exception) -> None:
        """It still cannot be routed."""
        self.fail(Hold(self._offset, error))

    def pause(self) -> float:
        """Seconds until it is to be tried again: as many as were asked for, where some were."""
        pause = next(self._pauses)
        after = getattr(self.error, "after", None)
        if isinstance(after, int | float) and after > pause:
            return min(after, LONGEST_AFTER)
        return pause

    def seconds(self) -> float:
        """For how long it is held."""
        return self._clock() - self.since


class HeldPartition(Waiting):
    """One partition that is held, in the assignment of one epoch.

    ``messages``: read and not routed, in their order; the first one is what cannot be routed, or
    stands before it. ``being_routed``: somebody is at it right now, and it is not held again yet.
    ``abandoned``: it is read again, by whoever owns the partition now.
    """

    def __init__(
        self, partition: Partition, batch: MicroBatch, hold: Hold, clock: Callable[[], float]
    ) -> None:
        self.partition = partition
        self.epoch = batch.epoch
        self.group: Any = batch.group
        self.messages: list[Message] = []
        self.task: asyncio.Task[None] | None = None
        self.abandoned = False
        super().__init__(hold, clock)

    def fail(self, hold: Hold) -> None:
        """As the base."""
        super().fail(hold)
        self.being_routed = False

    def add(self, message: Message) -> None:
        """Keep what comes behind. Of an abandoned one nothing: it must not be routed here, and
        where no batch comes any more it would be kept for as long as the worker runs."""
        if not self.abandoned:
            self.messages.append(message)

    def abandon(self) -> None:
        """Nothing of it is tried again in this epoch, and nothing kept."""
        self.messages, self.abandoned = [], True

    def take(self) -> MicroBatch:
        """All its messages, to be routed; what is left of them must be put back."""
        self.being_routed = True
        messages, self.messages = self.messages, []
        return MicroBatch(messages, self.epoch, self.group)

    def __str__(self) -> str:
        return "/".join(map(str, self.partition))


class HeldPartitions:
    """Those of one routing step. Whoever calls ``hold``, ``defer`` or ``end`` holds the lock of the
    transactions, so that no two put messages of a partition into order. ``clock``: epoch seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._held: dict[Partition, HeldPartition] = {}

    def of_epoch(self, epoch: int) -> Sequence[HeldPartition]:
        """Those of this epoch: what was held before it is read again, by whoever owns it now."""
        return [held for held in self._held.values() if held.epoch == epoch]

    def every(self) -> Sequence[HeldPartition]:
        """Also those of earlier epochs."""
        return list(self._held.values())

    def hold(
        self, batch: MicroBatch, taken: int, done: RoutingResult
    ) -> tuple[list[Message], Sequence[HeldPartition]]:
        """Take what is held out of a batch: ``taken`` of its messages were routed before, and
        ``done`` became of those behind. Returns the messages without them, and the partitions that
        ``done`` names.

        What the router left in a held partition for want of time is taken out, too. Offset 7 was
        left so, 9 is held: a try that succeeds would else send 9 before 7.
        """
        for partition, hold in done.holds.items():
            if (known := self._held.get(partition)) is not None:
                known.fail(hold)
            else:
                self._held[partition] = HeldPartition(partition, batch, hold, self._clock)
        routed, left = batch.messages[:taken], []
        for message in batch.messages[taken:]:
            if len(routed) < taken + done.taken and not is_held(message, done.holds):
                routed.append(message)
            elif (holder := self._held.get(partition_of(message))) is not None:
                holder.add(message)
            else:
                left.append(message)
        return routed + left, [self._held[partition] for partition in done.holds]

    def defer(self, batch: MicroBatch) -> MicroBatch:
        """The batch without what belongs behind held messages, which is put there."""
        self._forget_before(batch.epoch)
        if not self._held:
            return batch
        going_on = []
        for message in batch.messages:
            if (holder := self._held.get(partition_of(message))) is not None:
                holder.add(message)
            else:
                going_on.append(message)
        return MicroBatch(going_on, batch.epoch, batch.group)

    def end(self, held: HeldPartition) -> None:
        """It is held no longer."""
        if self._held.get(held.partition) is held:
            del self._held[held.partition]

    def _forget_before(self, epoch: int) -> None:
        for held in self.every():
            if held.epoch != epoch:
                self.end(held)
                if held.task is not None:
                    held.task.cancel()  # in no transaction, as our caller holds their lock
