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
from time import monotonic
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from trunkline.kafka.clients import TRANSACTION_TIMEOUT
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.kafka.poll_loop import MicroBatch, PollListener, PollLoop
from trunkline.logs import about
from trunkline.schemas.codec import MissingSchemas
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.metrics import HasGauges, StepMetrics
from trunkline.streams.route.first_start import FirstStart
from trunkline.streams.route.holding import LONGEST_PAUSE, HeldPartition, HeldPartitions
from trunkline.streams.route.router import DeadLetterCount, Router, RoutingResult
from trunkline.streams.route.transactions import RoutingTransactions
from trunkline.tasks import supervised_task
from trunkline.times import format_duration

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

PATIENCE = 1.0
"""Seconds that a batch waits for schemas which are not known yet; then what needs them is held, and
all else goes on."""

PROBES = 2
"""Held partitions that are tried at once. Each may keep a thread waiting for the registry."""


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
    it to the event loop; there ``process`` routes it, commits it and tells ``listener``. What
    cannot be routed for now is taken out of its batch, and its partition is held.

    ``failure``: what ends the worker. ``timeout``: seconds after which Kafka aborts a transaction.
    A batch that takes longer than a third of that is committed in parts: so routing goes on
    whatever a route takes.
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
        first_start: FirstStart | None = None,
        timeout: float = TRANSACTION_TIMEOUT,
    ) -> None:
        self.intake = intake
        self._router = router
        self._transactions = transactions
        self._listener = listener
        self._enqueue = enqueue
        self._metrics = metrics
        self._outcome_listener = outcome_listener
        self._first_start = first_start
        self._timeout = timeout
        self._leaving = False
        self._told_of_deletes: set[str] = set()
        self._held = HeldPartitions()
        self._probes = asyncio.Semaphore(PROBES)
        self.failure: BaseException | None = None
        self._each_chunk = False  # commit after each chunk, since a transaction took too long

    # In the poll loop's thread.

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Begin at the committed offsets: routing keeps no state to restore. At its first start it
        commits where it begins."""
        self._leaving = False
        if self._first_start is not None:
            self._first_start.commit(consumer, partitions)
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
        2. Where routes are slow, a transaction has a part of the batch. The lock is free between
           two of them, for replays; and if partitions go away, the rest is left to others.
        3. A transaction that failed has written nothing: rewind to the committed offsets.
        """
        try:
            while batch.messages and batch.epoch == self.intake.epoch:
                batch = await self._route_part(batch)
                if batch.messages and self._leaving:
                    # Batches that were read behind this one are in the queue. If the next one
                    # committed, its offset would say that this one is routed, too.
                    self.intake.rewind()
                    return
                if batch.messages:
                    await asyncio.sleep(0)
        except KafkaException as failure:
            log.warning("a routing transaction is repeated: %s", failure)
            self.intake.rewind()
        except BaseException:
            self.intake.rewind()
            raise
        finally:
            self.intake.done(batch)

    async def _route_part(self, batch: MicroBatch) -> MicroBatch:
        """One transaction for a batch; returns what is left of it then.

        The schemas are asked for before anything waits for us: a registry that hangs holds up
        others for ``PATIENCE``, and not for the ten seconds after which it is given up.
        """
        missing = await self._router.prefetch(batch.messages, PATIENCE)
        left = MicroBatch([], batch.epoch, batch.group)
        async with self._transactions.lock:
            # Again: whoever had the lock may have failed, and rewound to before this batch.
            if batch.epoch != self.intake.epoch:
                return batch
            going_on = self._held.defer(batch)
            if going_on.messages:
                left.messages = await self._route_and_commit(going_on, missing)
        self.intake.finished(len(batch.messages) - len(left.messages), batch.epoch)
        return left

    async def _route_and_commit(self, batch: MicroBatch, missing: MissingSchemas) -> list[Message]:
        """One transaction: inbox records, dead letters and the offsets behind what is routed.

        Returns what is left of the batch: nothing, or what comes behind as much as was routed in
        the time that a transaction has. What cannot be routed for now is held, and not left.
        """
        total, began, routing = RoutingResult(), monotonic(), 0.0
        try:
            async with self._transactions.begin() as transaction:
                while total.taken < len(batch.messages):
                    chunk_began = monotonic()
                    chunk = batch.messages[total.taken : total.taken + CHUNK_EVENTS]
                    done = await self._router.route(chunk, seconds=CHUNK_SECONDS, missing=missing)
                    if done.holds:
                        batch = self._hold(batch, total.taken, done)
                    total.add(done)
                    routing += monotonic() - chunk_began
                    transaction.produce(total.drain())
                    await asyncio.sleep(0)  # 5,000 events would hold up deliveries for 0.2 s
                    now = monotonic()
                    slow = now - chunk_began > SLOW_CHUNK or now - began > self._timeout / 3
                    if slow or self._each_chunk:
                        break
                routed = MicroBatch(batch.messages[: total.taken], batch.epoch, batch.group)
                await transaction.commit(_offsets_behind(routed), batch.group)
        except KafkaException:
            self._explain_failure(routing, total.taken)
            raise
        self._each_chunk = self._each_chunk and total.taken < len(batch.messages)
        self._listener.on_committed(routed)
        self._count(routed, total, began)
        return batch.messages[total.taken :]

    # What is held.

    @property
    def held(self) -> Sequence[HeldPartition]:
        """The partitions that cannot be routed for now."""
        return self._held.of_epoch(self.intake.epoch)

    def _hold(self, batch: MicroBatch, taken: int, done: RoutingResult) -> MicroBatch:
        """The batch without what is held of it, which is tried again by a task for each partition.

        Should the transaction fail, a new epoch begins, in which nothing is held.
        """
        messages, concerned = self._held.hold(batch, taken, done)
        for held in concerned:
            self._tell_of(held)
            if held.task is None:
                name = f"routing of {held}"
                held.task = supervised_task(self._try_again(held), name, self._failed)
        self._pause_held(batch.epoch)
        return MicroBatch(messages, batch.epoch, batch.group)

    def _tell_of(self, held: HeldPartition) -> None:
        self._outcome_listener.on_held(held.error)
        if held.times & (held.times - 1) == 0:  # the first, second, fourth, … time
            what = f"{type(held.error).__name__}: {held.error}"
            log.warning("routing of %s is held, others go on: %s", held, what)

    def _pause_held(self, epoch: int) -> None:
        self.intake.hold(frozenset(held.partition for held in self._held.of_epoch(epoch)), epoch)

    async def _try_again(self, held: HeldPartition) -> None:
        """Route what is held of a partition, as soon as that can be done.

        1. Wait, and look whether its first message can be routed, outside of any transaction: a
           route that waits ten seconds for an answer keeps nobody else waiting.
        2. Then route all of it; if it is held again further on, begin anew.
        3. When partitions go away, end. Nothing of it is committed, so it is read again; and it
           stays held, so that nothing behind it is committed by what is still in the queue.
        """
        try:
            while self._is_ours(held):
                await self._rest(held)
                if not self._is_ours(held):
                    return
                async with self._probes:
                    error = await self._router.probe(held.messages[0])
                if error is not None:
                    held.fail_again(error)
                    self._tell_of(held)
                elif await self._route_held(held):
                    return
        finally:
            held.abandon()

    async def _rest(self, held: HeldPartition) -> None:
        left = held.pause()
        while left > 0 and self._is_ours(held):  # in pieces, or it would keep the messages
            await asyncio.sleep(min(left, LONGEST_PAUSE))
            left -= LONGEST_PAUSE

    def _is_ours(self, held: HeldPartition) -> bool:
        return held.epoch == self.intake.epoch and not self._leaving

    async def _route_held(self, held: HeldPartition) -> bool:
        """Whether nothing of it is left to be tried again."""
        try:
            while self._is_ours(held):
                asked = len(held.messages)
                missing = await self._router.prefetch(held.messages, PATIENCE)
                async with self._transactions.lock:
                    if not self._is_ours(held):
                        break
                    if len(held.messages) > asked:
                        continue  # of those that came meanwhile no schema was asked for
                    held.messages[:0] = await self._route_and_commit(held.take(), missing)
                    if not held.being_routed:
                        return False
                    if not held.messages:
                        self._held.end(held)
                        self._pause_held(held.epoch)
                        waited = format_duration(held.seconds())
                        log.info("routing of %s goes on, it was held for %s", held, waited)
                        break
        except KafkaException as failure:
            log.warning("a routing transaction is repeated: %s", failure)
            self._rewind_from(held)
        except BaseException:
            self._rewind_from(held)
            raise
        return True

    def _rewind_from(self, held: HeldPartition) -> None:
        if held.epoch == self.intake.epoch:
            self.intake.rewind()

    def _failed(self, failure: BaseException) -> None:
        log.error("routing failed", exc_info=failure)
        self.failure = self.failure or failure

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
        if not batch.messages:
            return
        metrics = self._metrics
        metrics.events_in.inc(len(batch.messages))
        metrics.batch_seconds.observe(monotonic() - started)
        self._outcome_listener.on_delivered(routed.routed)
        for (dlq, _), dead in routed.dead_letters.items():
            self._outcome_listener.on_dead_lettered(dlq, dead.count, dead.error)
            _log_dead_letters(dlq, dead)
        if routed.broken:
            self._outcome_listener.on_rules_broken(routed.broken)
        for inbox, count in routed.dropped_deletes.items():
            metrics.on_dropped_deletes(inbox, count)
            if inbox not in self._told_of_deletes:
                self._told_of_deletes.add(inbox)
                log.warning("deletes are not sent to %s: its sink takes none", inbox)

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        waiting = [message for held in self.held for message in held.messages[:1]]
        ages = [time.time() - message.timestamp()[1] / 1000 for message in waiting]
        events = sum(len(held.messages) for held in self.held)
        self._metrics.lag.set(self.intake.lag + self.intake.in_flight + events)
        self._outcome_listener.on_lag(max(self.intake.oldest_age(), *ages, 0.0))

    async def stop(self) -> None:
        """Finish what was read, commit it, leave the group."""
        await self.intake.stop()
        tasks = [held.task for held in self._held.every() if held.task is not None]
        async with self._transactions.lock:  # so none of them is in a transaction
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
