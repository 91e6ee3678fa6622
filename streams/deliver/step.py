"""The delivery step: from a destination's inbox and tiers to its sink, at least once, in order
per key.

Events are read (``broker``), wait for their time (``retry.delay_queue``) and their turn
(``retry.key_order``), and are sent (``senders``) as far as the gate has room. What the end of a
call means for each of its events says ``outcomes``, and every such end is committed with the
records that it leads to (``committer``): a retry record, a dead letter.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from trunkline.connectors.base import Sink
from trunkline.errors import SCHEMA_UNAVAILABLE, DataError, Retryable, Unavailable
from trunkline.event import Event
from trunkline.kafka.messages import event_of
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.schemas.codec import PrefetchSchemas, nothing_to_learn
from trunkline.streams.admission.gate import Gate
from trunkline.streams.deliver.broker import Broker
from trunkline.streams.deliver.committer import OffsetCommitter
from trunkline.streams.deliver.offsets import MAX_OFFSET_SPAN
from trunkline.streams.deliver.outcomes import OutcomeHandler, Told
from trunkline.streams.deliver.ownership import OwnershipLease
from trunkline.streams.deliver.recovery import AssignmentRecovery, copartitioned
from trunkline.streams.deliver.senders import Events, SenderPool
from trunkline.streams.dlq.halted import HaltDecisions
from trunkline.streams.flow.definition import Destination
from trunkline.streams.metrics import DeliveryMetrics
from trunkline.streams.retry.delay_queue import DelayQueue
from trunkline.streams.retry.key_order import KeyOrder
from trunkline.streams.retry.tiers import Tiers, due_of
from trunkline.tasks import backoff

log = logging.getLogger(__name__)

DRAIN = 30.0
"""Seconds that a revocation waits for deliveries under way; after that they are cancelled."""
ROOM = 10_000
"""Events that are read and not done with, at the most."""


class DeliveryStep:
    """Delivers what is in one destination's topics to one sink.

    ``clock``: epoch seconds; ``chance``: numbers from 0 to 1, for jitter. ``releases``: what
    operators decided about halted events. ``told``: who wants to know what becomes of events.
    """

    enqueue: Callable[[MicroBatch], None]
    """Brings a batch from the intake's thread to ``accept`` in the event loop, in order."""

    def __init__(
        self,
        sink: Sink[Any],
        destination: Destination[Any, Any],
        *,
        decode: Callable[[bytes], Any],
        log: Broker,
        metrics: DeliveryMetrics,
        gate: Gate,
        learn: PrefetchSchemas = nothing_to_learn,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        releases: HaltDecisions | None = None,
        told: Told | None = None,
    ) -> None:
        self.name = destination.name
        self.failure: BaseException | None = None
        self.gate = gate
        self._destination = destination
        self._policy = destination.policy
        self._sink = sink
        self._decode = decode
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._leaving = False
        self._choked = False
        self._woken: dict[int, float] = {}
        self._tiers = Tiers(destination, clock, chance=chance)
        self._parking = DelayQueue(clock, self._wake_later, self._woke)
        self._order = self._make_order()
        self._lease = OwnershipLease(self._confirm)
        self._commits = self._make_commits()
        topics = [destination.inbox, *self._tiers.topics]
        self.intake = log.reader(topics, room=ROOM, pace=self._tiers.resume_at)
        self._outcomes = self._make_outcomes(releases or HaltDecisions(), told)
        self._senders = self._make_senders(learn)

    def _make_order(self) -> KeyOrder:
        return KeyOrder(
            self,
            ordered=self._policy.order == "key",
            shortest_delay=self._tiers.shortest,
            soon=self._tiers.soon,
            halt_recheck=self._tiers.halt_recheck,
            clock=self._clock,
        )

    def _make_commits(self) -> OffsetCommitter:
        return OffsetCommitter(
            self._destination.inbox,
            write=lambda moves, cuts: self._log.write(moves, cuts, self.intake.group),
            metrics=self._metrics,
            released=self._passed,
            taken=self._lease.renewed,
            failed=self._failed,
            clock=self._clock,
        )

    def _make_outcomes(self, decisions: HaltDecisions, told: Told | None) -> OutcomeHandler:
        return OutcomeHandler(
            self._destination,
            order=self._order,
            tiers=self._tiers,
            commits=self._commits,
            decisions=decisions,
            metrics=self._metrics,
            clock=self._clock,
            told=told,
            rest=self._rest,
        )

    def _make_senders(self, learn: PrefetchSchemas) -> SenderPool:
        return SenderPool(
            self.name,
            self._sink,
            self._order.queues,
            self.gate,
            self._lease,
            policy=self._policy,
            learn=learn,
            holds=SCHEMA_UNAVAILABLE,
            concluded=self._outcomes.handle,
            failed=self._failed,
            observe=self._metrics.batch_seconds.observe,
        )

    # The reader's side, in its thread.

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Go on from the last cut: how far each topic is, and what waits in tiers."""
        began = self._loop.time()
        partitions = copartitioned(partitions, 1 + len(self._tiers.topics))
        found = AssignmentRecovery(consumer, partitions, self._destination.inbox)
        ordered = self._policy.order == "key"
        self._order.begin(found.waiting(self._log.read_pending, self._decode) if ordered else ())
        self._commits.assigned(found.progress, found.unread())
        self._leaving = self._choked = False
        self._lease.begin(began)
        return [TopicPartition(at.topic, at.partition, at.offset) for at in found.cuts]

    def on_revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Finish and commit what is under way; what only waits is forgotten."""
        asyncio.run_coroutine_threadsafe(self.leave(lost), self._loop).result()

    def on_batch(self, batch: MicroBatch) -> None:
        """A micro-batch for ``accept``."""
        self.enqueue(batch)

    # The event loop's side.

    async def start(self) -> None:
        """Open the sink and begin. A system that is down holds the start, and nothing else."""
        self._loop = asyncio.get_running_loop()
        await self._open_sink()
        self._senders.start()
        self._commits.start()
        self.intake.start(self)

    async def stop(self) -> None:
        """Deliver what is under way, commit, leave the group, close the sink."""
        await self.intake.stop()
        await self._commits.stop()
        await self._senders.end()
        await self._sink.close()
        self._log.close()

    async def accept(self, batch: MicroBatch) -> None:
        """Take a micro-batch in: its events may be sent, or wait."""
        if batch.epoch != self.intake.epoch or self._leaving:
            return
        self._metrics.events_in.inc(len(batch.messages))
        fresh = self._commits.receive(batch.messages)
        # The inbox counts as read up to there now: so its events must be before those of tiers.
        for message in sorted(fresh, key=self._is_of_a_tier):
            self._enter(message)
        self._make_room()
        self._senders.dispatch()

    def pump(self) -> None:
        """Something changed that may let events through."""
        self._senders.dispatch()

    def _is_of_a_tier(self, message: Message) -> bool:
        return message.topic() != self._destination.inbox

    def _enter(self, message: Message) -> None:
        try:
            event = event_of(message, self._decode, strict=True)
        except DataError as error:
            self._outcomes.dead_letter_unreadable(
                event_of(message, self._decode), error, message.key()
            )
            return
        if event.topic == self._destination.inbox and not self._policy.delay:
            self._outcomes.carry_out(self._order.on_arrival(event))
        else:
            self._park(event, message.timestamp()[1] / 1000)

    def _park(self, event: Event[Any], written: float) -> None:
        """Until it is time. In the inbox nothing overtakes: clocks of several routers differ."""
        wake = self._tiers.wake_at(event, written)
        if event.topic == self._destination.inbox:
            wake = max(wake, self._woken.get(event.partition, 0.0))
            self._woken[event.partition] = wake
        self._parking.add(wake, event)

    def _woke(self, event: Event[Any]) -> None:
        if event.topic == self._destination.inbox:
            self._outcomes.carry_out(self._order.on_arrival(event))
        else:
            self._metrics.retry_lateness.observe(max(0.0, self._clock() - due_of(event)))
            self._outcomes.carry_out(self._order.on_due(event))

    def _wake_later(self, delay: float) -> None:
        self._loop.call_later(delay, self._ripen)

    def _ripen(self) -> None:
        self._parking.expire()
        self._senders.dispatch()

    def _make_room(self) -> None:
        """Nothing that waits for one which is still to be read may keep it from being read."""
        if not self.reads_on():
            self._outcomes.carry_out(self._order.spill())
        # Looked at anew: if nothing is open, no completion would ever end the choke.
        if self._commits.window > MAX_OFFSET_SPAN * 3 // 4 and not self._choked:
            self._choked = True
            self.intake.pause(True)

    def _passed(self, count: int) -> None:
        self.intake.finished(count, self.intake.epoch)
        if self._choked and self._commits.window < MAX_OFFSET_SPAN // 2:
            self._choked = False
            self.intake.pause(False)

    # What key order asks.

    def has_read_up_to(self, partition: int, sequence: int) -> bool:
        """Whether the inbox's partition was read up to this sequence number."""
        return self._commits.has_read(partition, sequence)

    def reads_on(self) -> bool:
        """Whether what is in retry topics is surely read on, whatever waits in memory."""
        return self._commits.open <= ROOM // 2 and self._commits.window <= MAX_OFFSET_SPAN // 2

    def _rest(self, events: Events, delay: float) -> None:
        """The queues of these events are free again after a while; nothing said: now."""
        if delay:
            self._loop.call_later(delay, self._free, events, self.intake.epoch)
        else:
            self._free(events, self.intake.epoch)

    def _free(self, events: Events, epoch: int) -> None:
        if epoch == self.intake.epoch:
            self._outcomes.carry_out(self._order.release(events))
        self._senders.dispatch()

    async def leave(self, lost: bool) -> None:
        """Partitions go: nothing new is sent, what is under way ends, and the cut is committed."""
        self._leaving = True
        self._forget()
        try:
            await asyncio.wait_for(self._senders.idle.wait(), 0 if lost else DRAIN)
        except TimeoutError:
            log.warning("deliveries under way are cancelled and will be repeated")
            await self._senders.end()
            self._senders.start()
        self._forget()
        await self._commits.leave(lost)

    def _forget(self) -> None:
        self._parking.clear()
        self._woken.clear()
        self._order.begin(())

    def _failed(self, failure: BaseException) -> None:
        """A defect of ours ended a task: the worker must end too, and not stand still."""
        self.failure = failure

    async def _open_sink(self) -> None:
        for delay in backoff(0.2, 15.0):
            try:
                await self._sink.open()
                return
            except (Unavailable, Retryable) as error:
                log.warning("the sink cannot be opened yet: %s", error)
                await asyncio.sleep(delay)

    def _confirm(self) -> None:
        """Ask Kafka, by a commit, whether our partitions are still ours."""
        self._commits.force_commit()

    @property
    def held(self) -> bool:
        """Whether nothing may be sent just now, of a step that has begun."""
        return self.intake.ready and self.gate.permits(self._loop.time()) <= 0

    def refresh(self) -> None:
        """Bring the gauges up to date; called when the metrics are read."""
        self._metrics.lag.set(self.lag)
        self._metrics.lag_seconds.set(self.lag_seconds)
        self._metrics.waiting.set(self.waiting)

    @property
    def lag(self) -> int:
        """Events that are not done with."""
        return self.intake.lag + self._commits.open

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest event of the inbox that is neither delivered nor in a tier."""
        return self._commits.oldest_age()

    @property
    def waiting(self) -> int:
        """Events that wait in tiers, or for one that does."""
        return self._order.blocked.count
