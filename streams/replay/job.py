"""What one worker does of a request: a job for each canonical partition that it routes.

A job works chunk by chunk. A chunk is one transaction of the routing step: records for the inbox,
how far the partition is, and the consumer group's unchanged offset, by which Kafka refuses a worker
that has lost the partition meanwhile.

Three locks stand in a chain for one chunk, and are always taken in this order, so that no two jobs
wait for each other: the partition's (``JobScheduler``: requests about the same dead letters, one
after the other, for a whole job), ``JobContext.chunk_lock`` (one job at a time queues for the next
one), ``RoutingTransactions.lock`` (one transaction at a time, also those of live batches).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import TopicPartition

from trunkline.errors import ROUTING_HOLDS
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import AnyMessage
from trunkline.kafka.offsets import Partition
from trunkline.kafka.range_reader import RangeReader
from trunkline.streams.control.topic import Value, control_record, control_topic
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.request import PartitionProgress, Request
from trunkline.streams.replay.slots import JobSlots
from trunkline.streams.route.transactions import RoutingTransactions
from trunkline.tasks import backoff

log = logging.getLogger(__name__)

T = TypeVar("T")

PROGRESS_INTERVAL = 1.0
"""Seconds after which progress is written even if nothing was to be sent."""


PREPARATIONS = 3
"""How often a chunk is prepared while live events go on, before they wait for it."""


class JobEnded(Exception):
    """This job has to end: it was stopped, or the partition may be another worker's now."""


class Chunk(NamedTuple):
    """The records of one transaction, and the counts that they add to the progress."""

    records: list[ProducerRecord]
    counts: Mapping[str, int]


MakeChunk = Callable[[], Chunk | None]
"""Makes the chunk that was prepared, while nothing is routed; None if what live events were routed
since it was prepared change what is to be sent."""

Prepare = Callable[[], Awaitable[MakeChunk]]
"""Prepares a chunk, as by calling routes; it changes nothing, and may be called again."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What all jobs of a worker share.

    ``make_reader``: a reader of the canonical topics and dead-letter queues. ``read_control``: the
    control topic's state, all of it as of now; blocks.
    """

    flow: str
    transactions: RoutingTransactions
    make_reader: Callable[[], RangeReader]
    read_control: Callable[[], Mapping[str, Value]]
    chunk_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the one job that waits for the transactions' lock or has it. Why: that lock is fair.
    Four jobs in its queue would leave live batches every fifth turn; so they get every second."""
    slots: JobSlots = field(default_factory=JobSlots)

    @property
    def control_topic(self) -> str:
        """The name of the flow's control topic."""
        return control_topic(self.flow).name


class Job:
    """The frame of every job: where the partition's live routing is, stopping, transactions.

    ``partition``: a canonical one that this worker routes. ``epoch``: of the assignment in which
    the job was made; it ends when that does. For the event loop only.
    """

    def __init__(self, request: Request, partition: Partition, context: JobContext) -> None:
        self.request = request
        self.partition = partition
        self.epoch = context.transactions.epoch
        self._context = context
        self._reader = context.make_reader()
        self._live = 0
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopped.set()

    def on_routed(self, message: AnyMessage) -> None:
        """This record of the partition is routed and committed; nothing was written since."""
        self._live = max(self._live, (message.offset() or 0) + 1)

    async def run(self) -> None:
        """Do what is left to do.

        Raises JobEnded; KafkaException and KafkaUnavailable, after which another job must begin
        anew from what is durable.
        """
        async with self._reader:
            committed = await self._reader.position(self.partition)
            # A batch that was routed while Kafka answered is newer than the answer.
            self._live = max(self._live, committed)
            # Only now. Worker A, which had the partition before, wrote a chunk and froze before it
            # was told of the commit. Kafka told the position above only once that transaction was
            # over: so its progress is in the topic by now, or can never be committed. Read before
            # that, it might be missing, and the chunk would be sent twice.
            self._restore(await asyncio.to_thread(self._context.read_control))
            await self._work()

    def _restore(self, state: Mapping[str, Value]) -> None:
        """Take over what is durable; ``state``: of the control topic."""
        raise NotImplementedError

    async def _work(self) -> None:
        raise NotImplementedError

    async def _transact(self, prepare: Prepare) -> Chunk:
        """Write a chunk; returns what it was.

        1. Prepare it while live events go on: a route that waits ten seconds for an answer would
           have all live events of this worker wait as long.
        2. When nothing is routed meanwhile, ask once more: None says that live events have changed
           what is to be sent. Then prepare it again; the last time while they wait, since those of
           a busy key might go on for ever.
        """

        async def write() -> Chunk:
            for left in reversed(range(PREPARATIONS)):
                prepared = await prepare()
                async with self._context.chunk_lock, self._context.transactions.lock:
                    self._check()
                    made = prepared()
                    if made is None and not left:
                        made = (await prepare())()
                    if made is None:
                        continue
                    at = TopicPartition(*self.partition, self._live)
                    await self._context.transactions.write(made.records, at, self.epoch)
                    return made
            raise AssertionError("nothing is routed while the lock is held")

        return await self._retried(write)

    async def _retried(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work``, which is repeated while schemas cannot be asked for, or a route
        says that it cannot tell for now. Meanwhile other jobs have this one's turn."""
        for times, delay in enumerate(backoff(0.1, 5.0), start=1):
            try:
                return await work()
            except ROUTING_HOLDS as error:
                if times & (times - 1) == 0:  # the first, second, fourth, … time
                    log.warning("%s of %s is held: %s", self.request.kind, self.request.id, error)
                async with self._context.slots.lent():
                    await self._sleep(delay)
        raise AssertionError("delays are endless")

    async def _sleep(self, seconds: float) -> None:
        """Sleep so long, or raise JobEnded as soon as the job is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        self._check()

    def _check(self) -> None:
        """Raises JobEnded if the job must do nothing more."""
        if self._stopped.is_set() or self.epoch != self._context.transactions.epoch:
            raise JobEnded


class PartitionJob(Job):
    """A job that sends or discards what its partition has of a request, at a rate.

    ``progress``: how far it is; what is durable of it, it need not do again.
    """

    def __init__(
        self, request: Request, partition: Partition, context: JobContext, rate: RateLimit
    ) -> None:
        super().__init__(request, partition, context)
        self.progress = PartitionProgress()
        self._rate = rate
        self._written_at = time.monotonic()

    def _restore(self, state: Mapping[str, Value]) -> None:
        record = state.get(self.request.progress_key(self.partition))
        self.progress = PartitionProgress.from_record(record)

    async def _work(self) -> None:
        if not self.progress.done:
            await self._send_rest()

    async def _send_rest(self) -> None:
        """Do what is left of the partition, and write that it is done."""
        raise NotImplementedError

    async def _write(self, prepare: Prepare, next: Any, *, done: bool = False) -> None:
        """Write one chunk, prepared as of ``_transact``, and with it the progress, to which it adds
        its counts. ``next``: where to go on then."""

        async def with_progress() -> MakeChunk:
            prepared = await prepare()

            def make() -> Chunk | None:
                if (made := prepared()) is None:
                    return None
                progress = self.progress.moved(next, made.counts, done=done)
                return Chunk([*made.records, self._control_record(progress)], made.counts)

            return make

        _, counts = await self._transact(with_progress)
        self.progress = self.progress.moved(next, counts, done=done)
        self._written_at = time.monotonic()

    def _control_record(self, progress: PartitionProgress) -> ProducerRecord:
        key = self.request.progress_key(self.partition)
        return control_record(self._context.control_topic, key, progress.to_record())

    async def _wait_for(self, count: int) -> None:
        """Wait until so many events may be sent."""
        if pause := self._rate.wait(count, time.monotonic()):
            await self._sleep(pause)

    @property
    def _is_progress_due(self) -> bool:
        """Whether no progress was written for a while."""
        return time.monotonic() - self._written_at > PROGRESS_INTERVAL


async def empty_chunk() -> MakeChunk:
    """Prepare a chunk that only says how far the partition is."""
    return lambda: Chunk([], {})
