"""One worker's part in a replay: what one canonical partition has to send, chunk by chunk.

Each chunk is one transaction of the routing step, in its turn: records for the inbox, how far the
partition is, and the group's unchanged offset, by which Kafka fences a worker that has lost the
partition. A job knows its partition's live position: it asks Kafka for it once and hears of every
batch that is routed from before that question on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import Message, TopicPartition

from trunkline.errors import SCHEMA_UNAVAILABLE
from trunkline.kafka import Out
from trunkline.kafka.offsets import Partition
from trunkline.kafka.range_reader import RangeReader
from trunkline.streams.control import topic as control
from trunkline.streams.replay.request import PartitionProgress, Request
from trunkline.streams.route.transactions import RoutingTransactions
from trunkline.tasks import backoff

log = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK = 200
"""Most events of one transaction: live batches wait for it, and are up to 25 times as large."""
BEHIND = 1.0
"""Seconds that a slow transaction may be behind its rate and catch up."""
TOLD = 1.0
"""Seconds after which progress is written even if nothing was to be sent."""


class JobEnded(Exception):
    """This job has to end: it was stopped, or the partition may be another worker's now."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What all jobs of a worker share.

    ``past``: makes a reader of the group's topics. ``durable``: the
    control topic's state, all of it as of now; blocks. ``chunks``: one job at a time asks for the
    turn, so that every second one is for a live batch.
    """

    flow: str
    transactions: RoutingTransactions
    past: Callable[[], RangeReader]
    durable: Callable[[], Mapping[str, control.Value]]
    chunks: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def control(self) -> str:
        """The flow's control topic."""
        return control.topic_of(self.flow).name


class RateLimit:
    """Keeps to a rate. ``rate``: events a second as of now, or None for no limit."""

    def __init__(self, rate: Callable[[], float | None]) -> None:
        self._rate = rate
        self._next = 0.0

    @property
    def chunk(self) -> int:
        """How many events to send at once: about two chunks a second."""
        rate = self._rate()
        return CHUNK if rate is None else max(1, min(CHUNK, int(rate / 2)))

    def wait(self, count: int, now: float) -> float:
        """Seconds to wait before so many events are sent."""
        rate = self._rate()
        start = max(now - BEHIND, self._next or now)
        self._next = start + (count / rate if rate else 0.0)
        return max(0.0, start - now)


class Job:
    """The frame of every job. ``share``: events a second that this partition may send.

    ``run`` raises Over; KafkaException and KafkaUnavailable, after which another job must begin
    anew from what is durable.
    """

    def __init__(
        self,
        request: Request,
        place: Partition,
        desk: JobContext,
        share: Callable[[], float | None],
    ) -> None:
        self.request = request
        self.place = place
        self.epoch = desk.transactions.epoch
        self.progress = PartitionProgress()
        self._desk = desk
        self._past = desk.past()
        self._pace = RateLimit(share)
        self._position = 0
        self._stopped = asyncio.Event()
        self._progress_written_at = time.monotonic()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopped.set()

    def on_routed(self, message: Message) -> None:
        """This record of the partition is routed and committed."""
        self._position = max(self._position, (message.offset() or 0) + 1)

    async def run(self) -> None:
        """Do what is left to do."""
        async with self._past:
            committed = await self._past.position(self.place)
            self._position = max(self._position, committed)  # more may have been heard meanwhile
            # Only now: whatever another worker wrote for this partition is in the topic by now, or
            # can never be committed.
            self._restore(await asyncio.to_thread(self._desk.durable))
            if not self.progress.done:
                await self._work()

    def _restore(self, state: Mapping[str, control.Value]) -> None:
        self.progress = PartitionProgress.from_record(
            state.get(self.request.progress_key(self.place))
        )

    async def _work(self) -> None:
        raise NotImplementedError

    async def _write(
        self,
        make: Callable[[], Awaitable[tuple[list[Out], Mapping[str, int]]]],
        next: Any,
        *,
        done: bool = False,
    ) -> None:
        """One chunk: what ``make`` gives, records and what was counted, and the progress."""
        progress = self.progress

        async def whole() -> list[Out]:
            nonlocal progress
            records, counts = await make()
            progress = self.progress.moved(next, counts, done=done)
            key = self.request.progress_key(self.place)
            return [*records, control.record(self._desk.control, key, progress.to_record())]

        await self._transact(whole)
        self.progress = progress
        self._progress_written_at = time.monotonic()

    async def _transact(self, make: Callable[[], Awaitable[list[Out]]]) -> None:
        """Write in our turn what ``make``, called in our turn, gives."""

        async def turn() -> None:
            async with self._desk.chunks, self._desk.transactions.lock:
                self._check()
                records = await make()
                at = TopicPartition(*self.place, self._position)
                await self._desk.transactions.write(records, at, self.epoch)

        await self._holding(turn)

    async def _holding(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, again and again while schemas cannot be asked for."""
        for delay in backoff(0.1, 5.0):
            try:
                return await work()
            except SCHEMA_UNAVAILABLE as error:
                log.warning("%s of %s is held: %s", self.request.kind, self.request.id, error)
                await self._rest(delay)
        raise AssertionError("delays are endless")

    async def _wait_for(self, count: int) -> None:
        """Keep to the rate."""
        if pause := self._pace.wait(count, time.monotonic()):
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        self._check()

    def _check(self) -> None:
        """Raises Over if there is nothing more to do for this job."""
        if self._stopped.is_set() or self.epoch != self._desk.transactions.epoch:
            raise JobEnded

    @property
    def _late(self) -> bool:
        """Whether nothing was told for a while."""
        return time.monotonic() - self._progress_written_at > TOLD


async def empty_chunk() -> tuple[list[Out], Mapping[str, int]]:
    """A chunk that only tells of progress."""
    return [], {}
