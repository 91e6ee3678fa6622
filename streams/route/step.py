"""The routing step on Kafka: one transaction a micro-batch, inbox records and source offsets
together. So each canonical event is routed exactly once, whatever dies in between.

A batch is routed and produced in chunks, while its events are still in the processor's cache:
that takes a third less time than to route all of it first. Nor does it pay to route the next
batch while one commits: measured on two cores, the threads get in each other's way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from trunkline.errors import SCHEMA_UNAVAILABLE
from trunkline.kafka.clients import TRANSACTION_TIMEOUT
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.kafka.poll_loop import MicroBatch, PollListener, PollLoop
from trunkline.logs import about
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.metrics import HasGauges, StepMetrics
from trunkline.streams.route.router import DeadLetterCount, Router, RoutingResult
from trunkline.streams.route.transactions import RoutingTransactions
from trunkline.tasks import backoff

log = logging.getLogger(__name__)

REVOCATION_TIMEOUT = 60.0
"""Seconds that a revocation waits for batches under way; after that another worker repeats them."""

CHUNK_EVENTS = 200
"""Events that are routed, then produced, before the event loop runs anything else."""

CHUNK_SECONDS = 0.2
"""The same in seconds: 200 events of a route that takes 50 ms would hold up everything for 10 s."""

SLOW_CHUNK = 1.0
"""Seconds that a chunk takes, from which on its transaction commits at once: nobody knows what the
next chunk takes, and Kafka aborts a transaction that stays open for too long."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a batch is tried again whose schemas could not be asked for."""


class RoutingListener(Protocol):
    """Whom the routing step tells what it does: the replays, which write beside it."""

    def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """The worker owns these canonical partitions now and no others. Called from the poll
        loop's thread."""

    def on_committed(self, batch: MicroBatch) -> None:
        """The batch is routed and committed. Called in the event loop, by the holder of the
        transactions' lock: nothing else was written since."""


class RoutingStep(PollListener, HasGauges):
    """Routes the batches that a poll loop reads, each in one transaction.

    The way of a batch: ``intake`` reads it in its thread and calls ``on_batch``; ``enqueue`` hands
    it to the event loop; there ``process`` routes it, commits it and tells ``listener``.

    ``timeout``: seconds after which Kafka aborts a transaction. A batch that takes longer than a
    third of that is committed in parts: so routing goes on whatever a route takes.
    """

    def __init__(
        self,
        router: Router,
        intake: PollLoop,
        transactions: RoutingTransactions,
        listener: RoutingListener,
        *,
        enqueue: Callable[[MicroBatch], None],
        metrics: StepMetrics,
        outcome_listener: OutcomeListener,
        timeout: float = TRANSACTION_TIMEOUT,
    ) -> None:
        self.intake = intake
        self._router = router
        self._transactions = transactions
        self._listener = listener
        self._enqueue = enqueue
        self._metrics = metrics
        self._outcome_listener = outcome_listener
        self._timeout = timeout
        self._leaving = False
        self._told_of_deletes: set[str] = set()
        self._each_chunk = False  # commit after each chunk, since a transaction took too long

    # In the poll loop's thread.

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Begin at the committed offsets: routing keeps no state to restore."""
        self._leaving = False
        starts = committed_offsets(consumer, partitions, timeout=60)
        # A replay may write before the first batch brings the group's metadata.
        self.intake.group = consumer.consumer_group_metadata()
        self._listener.on_assigned(frozenset((p.topic, p.partition) for p in partitions))
        return starts

    def on_revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Wait for the batches under way: their commits still belong to this generation."""
        self._leaving = True
        self._listener.on_assigned(frozenset())
        if not lost and not self.intake.wait_idle(REVOCATION_TIMEOUT):
            log.warning("batches under way were given up: another worker repeats them")

    def on_batch(self, batch: MicroBatch) -> None:
        """Hand a batch to ``process``."""
        self._enqueue(batch)

    # In the event loop.

    async def start(self) -> None:
        """Begin to read."""
        self.intake.start(self)

    async def process(self, batch: MicroBatch) -> None:
        """Route a batch and commit it, or see that it is read again.

        1. A batch of an earlier assignment is dropped: its partitions are read again, by whoever
           owns them now.
        2. Routing waits while schemas cannot be asked for, and takes the batch up again.
        3. Where routes are slow, a transaction has a part of the batch. The lock is free between
           two of them, for replays; and if partitions go away, the rest is left to others.
        4. A transaction that failed has written nothing: rewind to the committed offsets.
        """
        waits = backoff(FIRST_PAUSE, LONGEST_PAUSE)
        try:
            while batch.epoch == self.intake.epoch:
                try:
                    async with self._transactions.lock:
                        count = await self._route_and_commit(batch)
                    self.intake.finished(count, batch.epoch)
                    batch = MicroBatch(batch.messages[count:], batch.epoch, batch.group)
                    if not batch.messages:
                        return
                    waits, pause = backoff(FIRST_PAUSE, LONGEST_PAUSE), 0.0
                except SCHEMA_UNAVAILABLE as error:
                    self._outcome_listener.on_held(error)
                    log.warning("routing is held: %s", error)
                    pause = next(waits)
                if self._leaving:
                    # Batches that were read behind this one are in the queue. If the next one
                    # committed, its offset would say that this one is routed, too.
                    self.intake.rewind()
                    return
                await asyncio.sleep(pause)
        except KafkaException as failure:
            log.warning("a routing transaction is repeated: %s", failure)
            self.intake.rewind()
        except BaseException:
            self.intake.rewind()
            raise
        finally:
            self.intake.done(batch)

    async def _route_and_commit(self, batch: MicroBatch) -> int:
        """One transaction: inbox records, dead letters and the offsets behind what is routed.

        Returns how many events of the batch it has: all, or as many at its beginning as were
        routed in the time that a transaction has.
        """
        messages, total, began, routing = batch.messages, RoutingResult(), monotonic(), 0.0
        try:
            async with self._transactions.begin() as transaction:
                while total.taken < len(messages):
                    chunk_began = monotonic()
                    chunk = messages[total.taken : total.taken + CHUNK_EVENTS]
                    total.add(await self._router.route(chunk, seconds=CHUNK_SECONDS))
                    routing += monotonic() - chunk_began
                    transaction.produce(total.drain())
                    await asyncio.sleep(0)  # 5,000 events would hold up deliveries for 0.2 s
                    now = monotonic()
                    slow = now - chunk_began > SLOW_CHUNK or now - began > self._timeout / 3
                    if slow or self._each_chunk:
                        break
                routed = MicroBatch(messages[: total.taken], batch.epoch, batch.group)
                await transaction.commit(_offsets_behind(routed), batch.group)
        except KafkaException:
            self._explain_failure(routing, total.taken)
            raise
        self._each_chunk = self._each_chunk and total.taken < len(messages)
        self._listener.on_committed(routed)
        self._count(routed, total, began)
        return total.taken

    def _explain_failure(self, seconds: float, events: int) -> None:
        """Say so where the routes were too slow for the transaction, and go on in small ones.

        Kafka itself says then that there is a newer producer, and there is none. Chunks that are
        committed one by one leave no transaction open while a route runs, whatever it takes: only
        a route that was fast and then takes as long as that can bring us here.
        """
        if seconds < self._timeout / 2:
            return
        self._each_chunk = True
        log.warning(
            "routes took %.1f s for %d events, and Kafka aborts a transaction after %g s: they are "
            "routed again, in smaller transactions. If this stays so, make the routes faster",
            *(seconds, events, self._timeout),
        )

    def _count(self, batch: MicroBatch, routed: RoutingResult, started: float) -> None:
        metrics = self._metrics
        metrics.events_in.inc(len(batch.messages))
        metrics.batch_seconds.observe(monotonic() - started)
        self._outcome_listener.on_delivered(routed.routed)
        for (dlq, _), dead in routed.dead_letters.items():
            self._outcome_listener.on_dead_lettered(dlq, dead.count, dead.error)
            _log_dead_letters(dlq, dead)
        for inbox, count in routed.dropped_deletes.items():
            metrics.on_dropped_deletes(inbox, count)
            if inbox not in self._told_of_deletes:
                self._told_of_deletes.add(inbox)
                log.warning("deletes are not sent to %s: its sink takes none", inbox)

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        self._metrics.lag.set(self.intake.lag + self.intake.in_flight)
        self._outcome_listener.on_lag(self.intake.oldest_age())

    async def stop(self) -> None:
        """Finish what was read, commit it, leave the group."""
        await self.intake.stop()
        self._transactions.close()


def _log_dead_letters(dlq: str, dead: DeadLetterCount) -> None:
    """One line a batch, queue and class of error: a topic full of them floods no log."""
    event, error = dead.example, dead.error
    what = f"{event!r}: {type(error).__name__}: {error}"
    log.warning("%d dead letters to %s, as %s", dead.count, dlq, what, extra=about(event))


def _offsets_behind(batch: MicroBatch) -> list[TopicPartition]:
    """The offset after the last message of each partition."""
    last: dict[tuple[Any, Any], int] = {}
    for message in batch.messages:
        last[message.topic(), message.partition()] = message.offset()  # type: ignore[assignment]
    return [TopicPartition(topic, partition, at + 1) for (topic, partition), at in last.items()]
