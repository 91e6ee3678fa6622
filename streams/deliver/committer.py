"""The commits of one destination: how far each partition of its inbox and its tiers is, and the
moves and dead letters on the way.

A cut is taken in the event loop, where nothing completes meanwhile, and written while deliveries
go on. All partitions that changed, and the records that their completed events became, are one
transaction: so an event is moved or dead-lettered exactly once, and what a crash repeats is the
newest that a key was given, in order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from trunkline.event import Event
from trunkline.kafka import Move
from trunkline.kafka.offsets import Partition
from trunkline.streams.deliver.offsets import PartitionOffsets
from trunkline.streams.metrics import StepMetrics
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

INTERVAL = 0.2
"""Seconds between commits while events complete."""
EVERY = 2000
"""Completed events after which a commit does not wait for the interval."""

Write = Callable[[list[Move], list[TopicPartition]], Awaitable[None]]
"""Writes records and a group's offsets, all or nothing. Raises KafkaException."""


class OffsetCommitter:
    """What one worker has completed of one destination's topics, and its commits.

    ``released``: told how many events are behind the prefix, in portions. ``taken``: told when a
    commit that Kafka took began, by the event loop's time. ``clock``: epoch seconds.
    """

    def __init__(
        self,
        inbox: str,
        *,
        write: Write,
        metrics: StepMetrics,
        released: Callable[[int], None],
        taken: Callable[[float], None],
        failed: Callable[[BaseException], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inbox = inbox
        self._write = write
        self._metrics = metrics
        self._released = released
        self._taken = taken
        self._failed_for_good = failed
        self._clock = clock
        self._progress: dict[Partition, PartitionOffsets] = {}
        self._unread: dict[int, range] = {}
        self._written: dict[Partition, deque[tuple[int, int]]] = {}
        self._moves: list[Move] = []
        self._awaited: dict[tuple[str, int, int], Callable[[], None]] = {}
        self._after: list[Callable[[], None]] = []  # awaited ones, completed but not committed
        self._completed = 0
        self._passed = 0
        self._dirty = asyncio.Event()
        self._full = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def assigned(
        self, progress: dict[Partition, PartitionOffsets], unread: dict[int, range]
    ) -> None:
        """Begin with these partitions. ``unread``: which offsets of the inbox's partitions are
        still to be read, if it matters. From the intake's thread, while nothing is under way."""
        self._progress = progress
        self._unread = unread
        self._written = {place: deque() for place in progress if place[0] == self._inbox}

    def start(self) -> None:
        """Begin to commit."""
        self._task = supervised_task(self._run(), f"commit-{self._inbox}", self._failed_for_good)

    async def stop(self) -> None:
        """End. ``leave`` has committed everything before."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def receive(self, messages: Sequence[Message]) -> list[Message]:
        """Note what was read; returns what was not completed before a restart."""
        fresh = []
        for message in messages:
            place, offset = (message.topic(), message.partition()), message.offset()
            progress = self._progress[place]  # type: ignore[index]
            before = progress.incomplete
            if progress.receive(offset):  # type: ignore[arg-type]
                fresh.append(message)
            self._pass(before + 1 - progress.incomplete)
            if place[0] == self._inbox:
                self._note_timestamp(place, message)  # type: ignore[arg-type]
        return fresh

    def _note_timestamp(self, place: Partition, message: Message) -> None:
        """Remember when about every hundredth message was written, for the age of the oldest."""
        marks, offset = self._written[place], message.offset() or 0
        if not marks or offset >= marks[-1][0] + 100:
            marks.append((offset, message.timestamp()[1]))

    def completed(self, event: Event[Any], *records: Move) -> None:
        """The event is done with here, and became these records (a dead letter, a move). They are
        written with the cut that counts it as completed."""
        progress = self._progress.get((event.topic, event.partition))
        if progress is None:  # its partition went away: someone else gets it again
            return
        self._moves += records
        place = (event.topic, event.partition, event.offset)
        if self._awaited and place in self._awaited:
            self._after.append(self._awaited.pop(place))
        self._pass(progress.complete(event.offset))
        self._completed += 1
        self._dirty.set()
        if self._completed >= EVERY:
            self._full.set()

    def has_read(self, partition: int, offset: int) -> bool:
        """Whether the inbox was read up to there, in this assignment or one before; or never will
        be, since the offset is not there any more."""
        progress = self._progress.get((self._inbox, partition))
        if progress is None:
            return False
        return progress.end > offset or offset not in self._unread.get(partition, ())

    def once_committed(self, event: Event[Any], call: Callable[[], None]) -> None:
        """Call this when a commit counts the event as completed; never, if its partition goes
        away before."""
        self._awaited[event.topic, event.partition, event.offset] = call

    def add(self, event: Event[Any], record: Move) -> None:
        """A record that is written with the event's completion, which comes at once."""
        if (event.topic, event.partition) in self._progress:
            self._moves.append(record)

    def _pass(self, count: int) -> None:
        """So many events are behind the prefix now: room for others, told in portions."""
        self._passed += count
        if self._passed >= EVERY // 8:
            self._tell_room()

    def _tell_room(self) -> None:
        if self._passed:
            self._released(self._passed)
            self._passed = 0

    async def leave(self, lost: bool) -> None:
        """Commit what is completed, unless the partitions are already another's; forget them."""
        if not lost:
            await self.commit()
        self._progress, self._written, self._moves = {}, {}, []
        self._awaited, self._after = {}, []
        self._completed = self._passed = 0

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            with suppress(TimeoutError):  # few events: commit them all the same
                await asyncio.wait_for(self._full.wait(), INTERVAL)
            await self.commit()

    async def commit(self) -> None:
        """One commit of everything completed so far; a failed one is part of the next."""
        async with self._lock:
            self._dirty.clear()
            self._full.clear()
            self._completed = 0
            self._tell_room()
            changed = {place: p for place, p in self._progress.items() if p.changed}
            if not changed:
                return
            moves, self._moves = self._moves, []
            after, self._after = self._after, []
            cuts = [self._cut(place, progress) for place, progress in changed.items()]
            began = asyncio.get_running_loop().time()
            try:
                await self._write(moves, cuts)
            except KafkaException as failure:
                self._failed(failure, changed, moves, after)
                return
            self._taken(began)
            for call in after:
                call()

    def force_commit(self) -> None:
        """Commit at once, also where nothing has changed: to hear whether Kafka takes it."""
        for progress in self._progress.values():
            progress.changed = True
        self._dirty.set()
        self._full.set()

    def _cut(self, place: Partition, progress: PartitionOffsets) -> TopicPartition:
        offset, metadata = progress.to_commit()
        marks = self._written.get(place, deque())
        while len(marks) > 1 and marks[1][0] <= offset:
            marks.popleft()
        return TopicPartition(*place, offset, metadata)

    def _failed(
        self,
        failure: KafkaException,
        changed: dict[Partition, PartitionOffsets],
        moves: list[Move],
        after: list[Callable[[], None]],
    ) -> None:
        self._metrics.transaction_failures.inc()
        if not all(self._progress.get(place) is progress for place, progress in changed.items()):
            log.warning("a commit of %s came too late, others deliver again", self._inbox)
            return  # above all, its moves and dead letters are theirs to write now
        log.warning("a commit of %s is repeated: %s", self._inbox, failure)
        for progress in changed.values():
            progress.changed = True
        self._moves = moves + self._moves
        self._after = after + self._after
        self._dirty.set()

    @property
    def open(self) -> int:
        """Events that were read and are not behind the prefix."""
        return sum(progress.incomplete for progress in self._progress.values())

    @property
    def window(self) -> int:
        """How many offsets lie between a prefix and the newest event read, at the most."""
        return max((progress.window for progress in self._progress.values()), default=0)

    def oldest_age(self) -> float:
        """Seconds since the oldest open event of the inbox was written, to a micro-batch; 0 if
        none is open."""
        oldest = [
            marks[0][1]
            for place, marks in self._written.items()
            if marks and self._progress[place].incomplete
        ]
        return max(0.0, self._clock() - min(oldest) / 1000) if oldest else 0.0
