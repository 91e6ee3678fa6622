"""The commits of one destination: how far each partition is, and the dead letters on the way.

A cut is taken in the event loop, where nothing completes meanwhile, and written in a thread,
while deliveries go on. Dead letters and the cut that counts them as completed are one
transaction. So is a cut alone: the consumer is not for two threads, and a producer can commit for
its group.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException, Message, Producer, TopicPartition

from trunkline.event import Event
from trunkline.kafka import LastingProducer, Out, transact
from trunkline.streams.deadletter import dead_letter
from trunkline.streams.metrics import StepMetrics
from trunkline.streams.progress import Progress
from trunkline.streams.tasks import watched

log = logging.getLogger(__name__)

INTERVAL = 0.2
"""Seconds between commits while events complete."""
EVERY = 2000
"""Completed events after which a commit does not wait for the interval."""


class Commits:
    """What one worker has completed of one inbox, and its commits."""

    def __init__(
        self,
        inbox: str,
        dlq: str,
        *,
        make_producer: Callable[[], Producer],
        metrics: StepMetrics,
        released: Callable[[int], None],
        group: Callable[[], Any],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._inbox = inbox
        self._dlq = dlq
        self._producer = LastingProducer(make_producer)
        self._metrics = metrics
        self._released = released
        self._group = group
        self._failed_for_good = failed
        self._progress: dict[int, Progress] = {}
        self._written: dict[int, deque[tuple[int, int]]] = {}
        self._dead: list[Out] = []
        self._completed = 0
        self._passed = 0
        self._dirty = asyncio.Event()
        self._full = asyncio.Event()
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"commit-{inbox}")
        self._task: asyncio.Task[None] | None = None

    def assigned(self, progress: dict[int, Progress]) -> None:
        """Begin with these partitions. From the intake's thread, while nothing is under way."""
        self._progress = progress
        self._written = {partition: deque() for partition in progress}

    def start(self) -> None:
        """Begin to commit."""
        self._task = watched(self._run(), f"commit-{self._inbox}", self._failed_for_good)

    async def stop(self) -> None:
        """End. ``leave`` has committed everything before."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown()

    def receive(self, messages: Sequence[Message]) -> list[Message]:
        """Note what was read; returns what was not completed before a restart."""
        fresh = []
        for message in messages:
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            progress = self._progress[partition]
            before = progress.open
            if progress.receive(offset):
                fresh.append(message)
            self._pass(before + 1 - progress.open)
            self._mark(partition, message)
        return fresh

    def _mark(self, partition: int, message: Message) -> None:
        """Remember when about every hundredth message was written, for the age of the oldest."""
        marks, offset = self._written[partition], message.offset() or 0
        if not marks or offset >= marks[-1][0] + 100:
            marks.append((offset, message.timestamp()[1]))

    def completed(self, event: Event[Any]) -> None:
        """The event is delivered."""
        progress = self._progress.get(event.partition)
        if progress is None:  # its partition went away: someone else delivers it again
            return
        self._pass(progress.complete(event.offset))
        self._completed += 1
        self._dirty.set()
        if self._completed >= EVERY:
            self._full.set()

    def dead(self, event: Event[Any], error: BaseException, raw_key: bytes | None = None) -> None:
        """The event is dead-lettered: written and counted as completed together."""
        if event.partition not in self._progress:  # someone else gets it again
            return
        self._dead.append(
            dead_letter(
                self._dlq,
                key=event.key.encode() if raw_key is None else raw_key,
                value=event.value,
                headers=event.headers,
                came_from=f"{event.topic}/{event.partition}/{event.offset}",
                stage="deliver",
                error=error,
            )
        )
        self.completed(event)

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
        self._progress, self._written, self._dead = {}, {}, []
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
            changed = {number: p for number, p in self._progress.items() if p.changed}
            dead, self._dead = self._dead, []
            if not changed:
                return
            cuts = [self._cut(number, progress) for number, progress in changed.items()]
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._thread, self._write, cuts, dead, self._group())
            except KafkaException as failure:
                self._failed(failure, changed, dead)

    def _cut(self, number: int, progress: Progress) -> TopicPartition:
        offset, metadata = progress.cut()
        marks = self._written[number]
        while len(marks) > 1 and marks[1][0] <= offset:
            marks.popleft()
        return TopicPartition(self._inbox, number, offset, metadata)

    def _failed(
        self, failure: KafkaException, changed: dict[int, Progress], dead: list[Out]
    ) -> None:
        self._metrics.transaction_failures.inc()
        if not all(self._progress.get(number) is progress for number, progress in changed.items()):
            log.warning("a commit of %s came too late, others deliver again", self._inbox)
            return  # above all, its dead letters are theirs to write now
        log.warning("a commit of %s is repeated: %s", self._inbox, failure)
        for progress in changed.values():
            progress.changed = True
        self._dead = dead + self._dead
        self._dirty.set()

    def _write(self, cuts: list[TopicPartition], dead: list[Out], group: Any) -> None:
        producer = self._producer.ready()
        try:
            transact(producer, dead, cuts, group)
        except KafkaException as failure:
            self._producer.failed(failure)
            raise

    @property
    def open(self) -> int:
        """Events that were read and are not behind the prefix."""
        return sum(progress.open for progress in self._progress.values())

    def oldest_age(self) -> float:
        """Seconds since the oldest open event was written, to a micro-batch; 0 if none is open."""
        oldest = [
            self._written[number][0][1]
            for number, progress in self._progress.items()
            if progress.open and self._written[number]
        ]
        return max(0.0, time.time() - min(oldest) / 1000) if oldest else 0.0
