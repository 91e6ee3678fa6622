"""The routing step on Kafka: one transaction a micro-batch, inbox records and source offsets
together. So each canonical event is routed exactly once, whatever dies in between.

While a transaction commits in a thread, the next batch is already decoded and routed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from trunkline.kafka import reusable, transact
from trunkline.logs import about
from trunkline.streams.intake import Intake, MicroBatch
from trunkline.streams.metrics import StepMetrics
from trunkline.streams.routing import HOLDS, Deaths, Routed, Router

log = logging.getLogger(__name__)

DRAIN = 60.0
"""Seconds that a revocation waits for batches under way; after that they are repeated."""

DEPTH = 2
"""Batches under way: one in its transaction, one decoded and routed meanwhile. What arrives then
makes the next batch larger, so that a slow transaction never leads to many small ones."""


class RoutingStep:
    """Routes what an intake reads."""

    hand_over: Callable[[MicroBatch], None]
    """Brings a batch from the intake's thread to ``process`` in the event loop, in order."""

    def __init__(
        self,
        router: Router,
        topics: list[str],
        *,
        make_consumer: Callable[[], Consumer],
        make_producer: Callable[[], Producer],
        metrics: StepMetrics,
        batch: int = 2000,
    ) -> None:
        self._router = router
        self._make_producer = make_producer
        self._producer: Producer | None = None
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="route-commit")
        self._committing: asyncio.Future[None] | None = None
        self._leaving = False
        self.intake = Intake(make_consumer, topics, self, batch=batch, depth=DEPTH)

    # The intake's side, in its thread.

    def assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Routing begins at the committed offsets: nothing to restore."""
        self._leaving = False

    def revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Wait for the batches under way: their commits still belong to this generation."""
        self._leaving = True
        if not lost and not self.intake.wait_idle(DRAIN):
            log.warning("batches under way were given up: another worker repeats them")

    def received(self, batch: MicroBatch) -> None:
        """A micro-batch for ``process``."""
        self.hand_over(batch)

    # The event loop's side.

    async def start(self) -> None:
        """Begin to read."""
        self.intake.start()

    async def process(self, batch: MicroBatch) -> None:
        """Route a batch and begin its transaction; the one before is committed then."""
        started = time.monotonic()
        try:
            routed = await self._routed(batch)
            await self.settle()
        except BaseException:
            self.intake.done(batch)
            self.intake.rewind()
            raise
        if routed is None or batch.epoch != self.intake.epoch:
            self.intake.done(batch)
            return
        self._committing = asyncio.get_running_loop().run_in_executor(
            self._thread, self._commit, batch, routed, started
        )

    async def settle(self) -> None:
        """Wait for the transaction under way."""
        if self._committing is not None:
            await self._committing
            self._committing = None

    async def _routed(self, batch: MicroBatch) -> Routed | None:
        """The batch's records; None when it is, or is to become, someone else's."""
        delay = 0.1
        while batch.epoch == self.intake.epoch:
            try:
                return await self._router.route(batch.messages)
            except HOLDS as error:
                self._metrics.error(error)
                log.warning("routing is held: %s", error)
                if self._leaving:
                    self.intake.rewind()  # what was read behind it must not be committed, either
                    return None
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
        return None

    def _commit(self, batch: MicroBatch, routed: Routed, started: float) -> None:
        """One transaction, in the commit thread. A failed one is read and routed again."""
        try:
            transact(self._ready_producer(), routed.records, _ends(batch), batch.group)
            self._count(batch, routed, started)
        except KafkaException as failure:
            self._metrics.transaction_failures.inc()
            log.warning("a routing transaction is repeated: %s", failure)
            if not reusable(failure):
                self._producer = None
            self.intake.rewind()
        except Exception as failure:  # a defect: the worker must end, and not stand still
            self.intake.failure = failure
            raise
        finally:
            self.intake.done(batch)

    def _ready_producer(self) -> Producer:
        if self._producer is None:
            producer = self._make_producer()
            producer.init_transactions(60)
            self._producer = producer
        return self._producer

    def _count(self, batch: MicroBatch, routed: Routed, started: float) -> None:
        metrics = self._metrics
        metrics.events_in.inc(len(batch.messages))
        metrics.events_out.inc(routed.routed)
        metrics.batch_seconds.observe(time.monotonic() - started)
        for (dlq, _), deaths in routed.deaths.items():
            metrics.dead_letters.inc(deaths.count)
            metrics.error(deaths.error, deaths.count)
            _tell(dlq, deaths)

    def refresh(self) -> None:
        """Bring the gauges up to date; called when the metrics are read."""
        self._metrics.lag.set(self.intake.lag)
        self._metrics.lag_seconds.set(self.intake.oldest_age())

    async def stop(self) -> None:
        """Finish what was read, commit it, leave the group."""
        await asyncio.to_thread(self.intake.stop)
        await self.settle()
        self._thread.shutdown()


def _tell(dlq: str, deaths: Deaths) -> None:
    """One line a batch, queue and class of error: a topic full of them floods no log."""
    event, error = deaths.example, deaths.error
    what = f"{event!r}: {type(error).__name__}: {error}"
    log.warning("%d dead letters to %s, as %s", deaths.count, dlq, what, extra=about(event))


def _ends(batch: MicroBatch) -> list[TopicPartition]:
    """The offset after the last message of each partition."""
    last: dict[tuple[Any, Any], int] = {}
    for message in batch.messages:
        last[message.topic(), message.partition()] = message.offset()  # type: ignore[assignment]
    return [TopicPartition(topic, partition, at + 1) for (topic, partition), at in last.items()]
