"""The routing step on Kafka: one transaction a micro-batch, inbox records and source offsets
together. So each canonical event is routed exactly once, whatever dies in between.

A batch is routed and produced in chunks, while its events are still in the processor's cache:
that takes a third less time than to route all of it first. Nor does it pay to route the next
batch while one commits: measured on two cores, the threads get in each other's way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from trunkline.errors import SCHEMA_UNAVAILABLE
from trunkline.kafka import LastingProducer, Out, aborting, finish, produce, transact
from trunkline.kafka.offsets import committed_offsets
from trunkline.kafka.poll_loop import MicroBatch, PollLoop
from trunkline.logs import about
from trunkline.streams.metrics import StepMetrics
from trunkline.streams.route.router import DeadLetterCount, Router, RoutingResult

log = logging.getLogger(__name__)

T = TypeVar("T")

DRAIN = 60.0
"""Seconds that a revocation waits for batches under way; after that they are repeated."""

DEPTH = 2
"""Batches under way: one in its transaction, one read meanwhile. What arrives then makes the next
batch larger, so that a slow transaction never leads to many small ones."""

CHUNK = 200
"""Events that are routed, then produced, before the event loop gets its turn."""


class RoutingListener(Protocol):
    """Somebody who writes to inboxes beside what is routed, in the step's own transactions."""

    def on_assigned(self, partitions: frozenset[tuple[str, int]]) -> None:
        """These partitions, and no others, are the worker's now. From the intake's thread."""

    def on_committed(self, batch: MicroBatch) -> None:
        """This batch is committed. In the event loop, before anything else is written."""


class RoutingStep:
    """Routes what an intake reads. Who holds ``turn`` writes: a batch, or ``beside``."""

    enqueue: Callable[[MicroBatch], None]
    """Brings a batch from the intake's thread to ``process`` in the event loop, in order."""

    def __init__(
        self,
        router: Router,
        topics: list[str],
        *,
        make_consumer: Callable[[], Consumer],
        make_producer: Callable[[], Producer],
        metrics: StepMetrics,
        batch: int = 5000,
    ) -> None:
        self._router = router
        self._producer = LastingProducer(make_producer)
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="route-commit")
        self._leaving = False
        self.turn = asyncio.Lock()
        self.beside: RoutingListener | None = None
        self.intake = PollLoop(make_consumer, topics, batch=batch, depth=DEPTH)

    # The intake's side, in its thread.

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Routing begins at the committed offsets: nothing to restore."""
        self._leaving = False
        starts = committed_offsets(consumer, partitions, timeout=60)
        self.intake.group = consumer.consumer_group_metadata()
        self._tell_owned(partitions)
        return starts

    def on_revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Wait for the batches under way: their commits still belong to this generation."""
        self._leaving = True
        self._tell_owned([])
        if not lost and not self.intake.wait_idle(DRAIN):
            log.warning("batches under way were given up: another worker repeats them")

    def on_batch(self, batch: MicroBatch) -> None:
        """A micro-batch for ``process``."""
        self.enqueue(batch)

    # The event loop's side.

    async def start(self) -> None:
        """Begin to read."""
        self.intake.start(self)

    async def process(self, batch: MicroBatch) -> None:
        """Route a batch in one transaction. One that fails is read and routed again."""
        try:
            await self._routed(batch)
        except KafkaException as failure:
            self._repeat(failure)
        except BaseException:
            self.intake.rewind()
            raise
        finally:
            self.intake.done(batch)

    async def _routed(self, batch: MicroBatch) -> None:
        """Until the batch is committed, or is to become someone else's."""
        delay = 0.1
        while batch.epoch == self.intake.epoch:
            try:
                async with self.turn:
                    await self._write(batch)
                return
            except SCHEMA_UNAVAILABLE as error:
                self._metrics.error(error)
                log.warning("routing is held: %s", error)
                if self._leaving:
                    self.intake.rewind()  # what was read behind it must not be committed, either
                    return
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def _write(self, batch: MicroBatch) -> None:
        """Route and produce, chunk by chunk, and commit."""
        started, total = time.monotonic(), RoutingResult()
        producer = await self._in_thread(self._producer.ready)
        producer.begin_transaction()
        with aborting(producer):
            for start in range(0, len(batch.messages), CHUNK):
                total.add(await self._router.route(batch.messages[start : start + CHUNK]))
                produce(producer, total.drain())
                await asyncio.sleep(0)
            await self._in_thread(finish, producer, _ends(batch), batch.group)
        if self.beside is not None:
            self.beside.on_committed(batch)
        self._count(batch, total, started)

    async def write(self, records: Sequence[Out], at: TopicPartition, epoch: int) -> None:
        """Other records than routed ones, in one transaction; for the holder of ``turn``.

        ``at``: where the group stands in a partition of ours. It is committed again, unchanged, so
        that Kafka refuses a worker that has lost the partition. Raises KafkaException.
        """
        group = self.intake.group  # before the epoch: never one that is newer than it
        if epoch != self.intake.epoch:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        producer = await self._in_thread(self._producer.ready)
        try:
            await self._in_thread(transact, producer, records, [at], group)
        except KafkaException as failure:
            self._metrics.transaction_failures.inc()
            self._producer.failed(failure)
            raise

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _tell_owned(self, partitions: list[TopicPartition]) -> None:
        if self.beside is not None:
            self.beside.on_assigned(frozenset((p.topic, p.partition) for p in partitions))

    def _repeat(self, failure: KafkaException) -> None:
        self._metrics.transaction_failures.inc()
        log.warning("a routing transaction is repeated: %s", failure)
        self._producer.failed(failure)
        self.intake.rewind()

    def _count(self, batch: MicroBatch, routed: RoutingResult, started: float) -> None:
        metrics = self._metrics
        metrics.events_in.inc(len(batch.messages))
        metrics.events_out.inc(routed.routed)
        metrics.batch_seconds.observe(time.monotonic() - started)
        for (dlq, _), deaths in routed.dead_letters.items():
            metrics.dead_lettered(deaths.count, deaths.error, queue=dlq)
            metrics.error(deaths.error, deaths.count)
            _tell(dlq, deaths)

    def refresh(self) -> None:
        """Bring the gauges up to date; called when the metrics are read."""
        self._metrics.lag.set(self.intake.lag)
        self._metrics.set_lag(self.intake.oldest_age())

    async def stop(self) -> None:
        """Finish what was read, commit it, leave the group."""
        await self.intake.stop()
        self._thread.shutdown()


def _tell(dlq: str, deaths: DeadLetterCount) -> None:
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
