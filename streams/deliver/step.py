"""The delivery step: from a destination's inbox and retry topics to its sink, at least once, in
order per key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from trunkline.connectors.base import Sink
from trunkline.errors import ConfigurationError, DataError, Retryable, Unavailable
from trunkline.headers import TL_OPERATION
from trunkline.kafka.messages import event_of
from trunkline.kafka.poll_loop import MicroBatch, PollListener
from trunkline.masking import without_secrets
from trunkline.schemas.codec import Decode, PrefetchSchemas
from trunkline.schemas.personal import PersonalTexts
from trunkline.streams.admission.controller import EnrichmentAdmission
from trunkline.streams.admission.gate import Gate
from trunkline.streams.deliver.actions import ActionRunner
from trunkline.streams.deliver.backpressure import MAX_OPEN, Backpressure
from trunkline.streams.deliver.broker import Broker
from trunkline.streams.deliver.committer import CommitListener, OffsetCommitter
from trunkline.streams.deliver.enriching import EnrichmentStage
from trunkline.streams.deliver.gauges import DeliveryGauges
from trunkline.streams.deliver.outcomes import OutcomeHandler
from trunkline.streams.deliver.ownership import OwnershipLease
from trunkline.streams.deliver.poison import PoisonDetectors
from trunkline.streams.deliver.recovery import AssignmentRecovery, copartitioned
from trunkline.streams.deliver.schedule import Schedule
from trunkline.streams.deliver.senders import SenderPool
from trunkline.streams.deliver.tracker import OffsetTracker
from trunkline.streams.dlq.halted import HaltDecisions
from trunkline.streams.enrichment.enricher import Enricher
from trunkline.streams.flow.definition import Destination
from trunkline.streams.journal.follower import FollowsCalls
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.metrics import DeliveryMetrics, HasGauges
from trunkline.streams.retry.decisions import RetryDecision, RetryDecisions
from trunkline.streams.retry.halted_keys import HaltedKeys
from trunkline.streams.retry.key_order import KeyOrder
from trunkline.streams.retry.tiers import Tiers
from trunkline.tasks import awaited_cancellation_fails, backoff

log = logging.getLogger(__name__)

DRAIN_TIMEOUT = 30.0
"""Seconds that a revocation waits for deliveries under way, where nobody says another number."""


class DeliveryStep(PollListener, CommitListener, HasGauges):
    """Delivers what is in one destination's topics to one sink. The way of an event::

             poll loop's thread │ event loop
        ┌──▶ 1 intake ── enqueue ──▶ 2 accept ──▶ 3 KeyOrder ◀── due ── Schedule
        │                       │                  │ queues                ▲ hold
        │                       │                  ▼                       │
        │                       │    Gate ──▶ 4 SenderPool ──▶ sink        │
        │                       │                  │ SinkCall              │
        │                       │                  ▼                       │
        │                       │           5 OutcomeHandler ──────────────┘
        │                       │                  │ offsets and records
        │                       │                  ▼
        └─ 7 Backpressure ◀── on_completed ── 6 OffsetCommitter ──▶ Kafka

    1. The consumer reads a micro-batch in its thread and hands it over (``enqueue``).
    2. ``accept`` drops what was completed before a restart, and makes events of messages.
    3. ``KeyOrder`` says which event may be sent now; those go into its key queues. An event whose
       time has not come waits in ``Schedule`` first.
    4. An idle sender takes a batch from the queues, if the gate permits, and calls the sink.
    5. ``OutcomeHandler`` judges each event of the call: delivered, to a retry topic, dead-lettered,
       or held in its place because the destination is down. What that means for others of its key
       says ``KeyOrder``, and ``ActionRunner`` does it.
    6. ``OffsetCommitter`` writes what is completed, with retry records and dead letters, in one
       transaction. The next event is sent meanwhile.
    7. ``Backpressure`` lets the consumer read on.

    ``clock``: epoch seconds; ``random``: numbers from 0 to 1, for jitter. ``enqueue``: brings a
    batch from the consumer's thread to ``accept`` in the event loop, in order. ``decisions``: of
    operators about halted events. ``outcome_listener``: who wants to know what becomes of events.
    ``enrichment``: what is called for the events before the sink, and its breaker. ``drain``:
    seconds that deliveries under way may take when partitions go; then they are cancelled.
    ``max_open``: events that are read and not completed, at the most.
    ``journal``, ``follower``, ``decode_calls``: of a destination with operations, how their calls
    stand, what reads of them besides, and what reads their requests, by name. ``personal``: what of
    an event's data no error may tell.
    """

    open_failure: str = ""
    """Why the sink cannot be opened, since ``open_failed_at`` (the loop's time); "": it is open."""
    open_failed_at: float | None = None
    opened: bool = False
    """Whether the sink is open."""

    def __init__(
        self,
        sink: Sink[Any],
        destination: Destination[Any, Any],
        *,
        broker: Broker,
        gate: Gate,
        enrichment: tuple[Enricher, EnrichmentAdmission] | None = None,
        decode: Decode,
        prefetch_schemas: PrefetchSchemas,
        enqueue: Callable[[MicroBatch], None],
        decisions: HaltDecisions,
        outcome_listener: OutcomeListener,
        metrics: DeliveryMetrics,
        clock: Callable[[], float],
        random: Callable[[], float],
        drain: float = DRAIN_TIMEOUT,
        max_open: int = MAX_OPEN,
        journal: CallJournal | None = None,
        follower: FollowsCalls | None = None,
        decode_calls: Mapping[str, Decode] | None = None,
        personal: PersonalTexts | None = None,
    ) -> None:
        self.name = destination.name
        self._failure: BaseException | None = None
        self.gate = gate
        self._sink, self._decode = sink, decode
        self._journal, self._follower = journal, follower
        self._decode_calls, self._personal = decode_calls or {}, personal
        self._broker, self._metrics = broker, metrics
        self._enqueue = enqueue
        self._inbox = inbox = destination.inbox
        policy = destination.policy
        self._ordered, self._delayed = policy.order == "key", bool(policy.delay)
        self._leaving, self._drain = False, drain

        tiers = Tiers(destination, clock, random)
        self._topics = [inbox, *tiers.topics]
        self.intake = broker.reader(self._topics, max_in_flight=max_open, resume_at=tiers.resume_at)
        self._tracker = OffsetTracker(inbox, clock)
        self._backpressure = Backpressure(self.intake, self._tracker, max_open)
        self._committer = self._made_committer(broker, metrics)
        if journal is not None:
            journal.writer = self._committer
        self._lease = OwnershipLease(self._committer.force_commit)
        self._order = KeyOrder(self._backpressure, tiers.delays, ordered=self._ordered, clock=clock)
        self.detector = PoisonDetectors(self._order.queues.key, clock)
        self.enrichment = enrichment and EnrichmentStage(*enrichment, policy, self.detector)
        self._runner = ActionRunner(
            self._order, tiers, self._committer, decisions, metrics, journal
        )
        self._retry_decisions = RetryDecisions(clock)
        self._schedule = Schedule(
            inbox, tiers, self._order, self._runner, self._retry_decisions, metrics, clock
        )
        self._outcomes = self._made_outcomes(destination, tiers, clock, outcome_listener)
        self._senders = self._made_senders(destination, prefetch_schemas)
        self._committer.is_idle = self._senders.idle.is_set
        self.gauges = DeliveryGauges(self.intake, self._tracker, self._order, metrics)

    def _made_committer(self, broker: Broker, metrics: DeliveryMetrics) -> OffsetCommitter:
        return OffsetCommitter(
            *(self._inbox, self._tracker, broker, self.intake),
            listener=self,
            metrics=metrics,
            urgent="" if self._journal is None else self._journal.topic,
        )

    def _made_outcomes(
        self,
        destination: Destination[Any, Any],
        tiers: Tiers,
        clock: Callable[[], float],
        listener: OutcomeListener,
    ) -> OutcomeHandler:
        return OutcomeHandler(
            destination,
            order=self._order,
            runner=self._runner,
            schedule=self._schedule,
            tiers=tiers,
            committer=self._committer,
            detector=self.detector,
            clock=clock,
            listener=listener,
            journal=self._journal,
            personal=self._personal,
        )

    def _made_senders(
        self, destination: Destination[Any, Any], prefetch_schemas: PrefetchSchemas
    ) -> SenderPool:
        return SenderPool(
            self.name,
            self._sink,
            self._order.queues,
            self.gate,
            self._lease,
            policy=destination.policy,
            prefetch_schemas=prefetch_schemas,
            detector=self.detector.of_sink,
            enrichment=self.enrichment,
            results=self._outcomes,
            metrics=self._metrics,
            on_fatal=self.on_fatal,
        )

    # Life cycle, in the event loop.

    async def start(self) -> None:
        """Open the sink and begin. A system that is down, or is not as the sink needs it, holds the
        start of this destination, and nothing else: ``open_failure`` says why."""
        self._loop = asyncio.get_running_loop()
        await self._open_sink()
        self._schedule.start(self.wake)
        self._senders.start()
        self._committer.start()
        if self._follower is not None and self._journal is not None:
            self._follower.start(self._journal)
        self.intake.start(self)

    async def stop(self, *, within: float | None = None) -> None:
        """Deliver what is under way, commit, leave the group, close the sink. ``within``: seconds
        that what is under way may take, instead of ``drain``."""
        if within is not None:
            self._drain = within
        await self.intake.stop()
        if self._follower is not None:
            await self._follower.stop()
        await self._committer.stop()
        await self._senders.end()
        self.opened = False
        await self._sink.close()
        if self.enrichment is not None:
            await self.enrichment.close()
        self._broker.close()

    async def _open_sink(self) -> None:
        for delay in backoff(0.2, 15.0):
            try:
                if self.enrichment is not None:
                    await self.enrichment.open()
                with awaited_cancellation_fails():
                    await self._sink.open()
            # Also what is wrong with the system, as a table that lacks a column: somebody mends
            # it while the worker runs, and its webhook and other destinations can go on.
            except (Unavailable, Retryable, ConfigurationError) as error:
                told = without_secrets(str(error))
                if self.open_failure != told:
                    log.warning("%s cannot be opened yet and is held: %s", self.name, told)
                self.open_failure = told
                self.open_failed_at = self.open_failed_at or self._loop.time()
                await asyncio.sleep(delay)
            else:
                if self.open_failure:
                    log.info("%s is open", self.name)
                self.open_failure, self.open_failed_at, self.opened = "", None, True
                return

    # What the consumer tells, in its thread.

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Go on from the last commit: how far each topic is, and what waits in retry topics."""
        began = self._loop.time()
        partitions = copartitioned(partitions, len(self._topics))
        found = AssignmentRecovery(consumer, partitions, self._inbox)
        waiting = found.waiting(self._broker.read_pending, self._decode) if self._ordered else ()
        self._order.begin(waiting, found.halted)
        self._tracker.begin(found.progress, found.unread())
        if self._journal is not None:
            calls, numbers = self._journal.topic, {at.partition for at in partitions}
            every = [TopicPartition(calls, number, 0) for number in sorted(numbers)]
            read = self._journal.begin(self._broker.read_pending(every))
            if self._follower is not None:
                self._follower.follow({number: read.get(number, 0) for number in numbers})
        self._backpressure.begin()
        self._leaving = False
        self._lease.begin(began)
        return [TopicPartition(at.topic, at.partition, at.offset) for at in found.commits]

    def on_revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Finish and commit what is under way; what only waits is forgotten."""
        asyncio.run_coroutine_threadsafe(self.leave(lost), self._loop).result()

    def on_batch(self, batch: MicroBatch) -> None:
        """Hand a micro-batch to ``accept``."""
        self._enqueue(batch)

    # What comes in, in the event loop.

    async def accept(self, batch: MicroBatch) -> None:
        """Take a micro-batch in: its events may be sent, or wait."""
        if batch.epoch != self.intake.epoch or self._leaving:
            return
        self._metrics.events_in.inc(len(batch.messages))
        fresh = self._committer.receive(batch.messages)
        # The inbox counts as read up to the end of the batch now, and key order relies on that.
        # Case: the batch has order 2 of a key from a retry topic, and behind it order 1 from the
        # inbox. 2 would be taken for the first of its key, if 1 did not come before it.
        for message in sorted(fresh, key=self._is_of_a_tier):
            self._enter(message)
        if not self._backpressure.reads_on():
            self._runner.run(self._order.spill())
        self._backpressure.on_received()
        self._senders.dispatch()

    def _is_of_a_tier(self, message: Message) -> bool:
        return message.topic() != self._inbox

    def _enter(self, message: Message) -> None:
        try:
            event = event_of(message, self._decoder_of(message), strict=True)
        except DataError as error:
            event = event_of(message, self._decode)
            self._outcomes.dead_letter_unreadable(event, error, message.key())
            return
        if self._delayed or event.topic != self._inbox:
            self._schedule.add(event, message.timestamp()[1] / 1000)
        else:
            self._runner.arrived(event)

    def _decoder_of(self, message: Message) -> Decode:
        """A call of an operation has its request for a value."""
        if not self._decode_calls:
            return self._decode
        named = dict(message.headers() or ()).get(TL_OPERATION)
        name = named.decode(errors="replace") if isinstance(named, bytes) else ""
        return self._decode_calls.get(name, self._decode)

    def wake(self) -> None:
        """Something has changed that may let events through: a timer, a command, a limit."""
        self._senders.dispatch()

    def decide(self, partition: int, id: str, decision: RetryDecision | None) -> None:
        """An operator has decided about events of a partition that wait in retry topics; None: the
        decision is forgotten."""
        self._retry_decisions.put(partition, id, decision)
        self.intake.read_through(self._retry_decisions.ends())
        if decision is not None:
            self._schedule.on_decided()
            self.wake()

    async def leave(self, lost: bool) -> None:
        """Partitions go: nothing new is sent, what is under way ends, and all that is completed
        is committed, unless the partitions are another's already."""
        self._leaving = True
        self._forget()
        if self._follower is not None:
            self._follower.follow({})
        try:
            await asyncio.wait_for(self._senders.idle.wait(), 0 if lost else self._drain)
        except TimeoutError:
            log.warning("deliveries under way are cancelled and will be repeated")
            await self._senders.end()
            self._senders.start()
        self._forget()  # once more: calls that ended meanwhile have put events back
        await self._committer.leave(lost)

    def _forget(self) -> None:
        self._schedule.clear()
        self.detector.clear()
        self._order.begin(())

    # What the committer tells, in the event loop.

    def on_completed(self, count: int) -> None:
        """Events are completed: others may be read in their place."""
        self._backpressure.on_completed(count)

    def on_committed(self, began: float) -> None:
        """Kafka took a commit, so the partitions were still ours when it began."""
        self._lease.renewed(began)

    def on_fatal(self, error: BaseException) -> None:
        """A defect of ours ended a task: the worker must end too, and not stand still."""
        self._failure = error

    # What is asked of outside.

    @property
    def failure(self) -> BaseException | None:
        """A defect that ended a part of it; the worker must end then."""
        return self._failure or (self._follower.failure if self._follower else None)

    @property
    def halted(self) -> HaltedKeys:
        """The keys that wait for a person."""
        return self._order.halted

    @property
    def held(self) -> bool:
        """Whether nothing may be sent just now, of a step that has begun or cannot begin."""
        return bool(self.open_failure) or (
            self.intake.ready and self.gate.permits(self._loop.time()) <= 0
        )

    def refresh(self) -> None:
        """Bring the gauges up to date; called when the metrics are read."""
        self.gauges.refresh()
