"""What the end of a call means for each of its events: delivered, to a tier, to the dead-letter
queue, or held in place because the destination is down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from typing import Any

from trunkline.errors import DataError, DeliveryError, PartialFailure, Rejected, Unavailable
from trunkline.event import Event, replaced
from trunkline.headers import (
    TL_ATTEMPT,
    TL_ERROR,
    TL_ERROR_CLASS,
    TL_FIRST_FAILED_AT,
    TL_HALTED,
    TL_ORIGIN,
    TL_SEQ,
)
from trunkline.kafka import Move
from trunkline.logs import about
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.deliver.committer import OffsetCommitter
from trunkline.streams.deliver.senders import Events, SinkCall
from trunkline.streams.dlq.envelope import dead_letter
from trunkline.streams.dlq.halted import HaltDecisions, halted_event_of
from trunkline.streams.flow.definition import Destination
from trunkline.streams.metrics import DeliveryMetrics
from trunkline.streams.retry.key_order import Action, Discard, KeyOrder, RetryLater
from trunkline.streams.retry.tiers import Tiers, failures_of
from trunkline.times import iso_rounded_up

log = logging.getLogger(__name__)

HOLD_BACKOFF = 0.2
"""Seconds that a lane rests after the destination was found down, or a schema was not to be had;
how long nothing at all is sent is the gate's affair."""
MAX_ERROR_CHARS = 500
"""Characters of an error that go with an event to its tier; a dead letter has it whole."""
LOG_INTERVAL = 30.0
"""Seconds until it is said again that deliveries are held."""


class Told:
    """Who wants to know what becomes of events; each call is about one call of the sink."""

    def delivered(self, count: int) -> None:
        """So many events were delivered."""

    def dead_lettered(self, event: Event[Any], error: Exception) -> None:
        """An event was dead-lettered."""


class OutcomeHandler:
    """Concludes the calls of one destination. ``rest``: frees the lanes of events, later."""

    def __init__(
        self,
        destination: Destination[Any, Any],
        *,
        order: KeyOrder,
        tiers: Tiers,
        commits: OffsetCommitter,
        decisions: HaltDecisions,
        metrics: DeliveryMetrics,
        clock: Callable[[], float],
        told: Told | None,
        rest: Callable[[Events, float], None],
    ) -> None:
        self._destination = destination
        self._policy = destination.policy
        self._classifier = ErrorClassifier(destination.policy)
        self._order = order
        self._queues = order.queues
        self._tiers = tiers
        self._commits = commits
        self._decisions = decisions
        self._metrics = metrics
        self._clock = clock
        self._told = told or Told()
        self._rest = rest
        self._said = 0.0

    def handle(self, call: SinkCall) -> None:
        """A call is over."""
        for event, reason in call.unreadable:
            self._dead_letter(event, reason)
        held: Events = []
        if call.held is not None:
            self._hold_back(call.held)
            held = call.batch
        elif call.failure is None:
            self._delivered(call.sent)
        else:
            held = self._handle_failures(call.sent, _failures(call))
        self._free(call.batch, held)

    def dead_letter_unreadable(
        self, event: Event[Any], error: DataError, raw_key: bytes | None
    ) -> None:
        """An event that is none: to the dead-letter queue, its key as it is."""
        self._commits.completed(event, self._dead_letter_record(event, error, 0, raw_key=raw_key))
        self._count_dead(event, error)

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Do what key order wants to be done, in this order."""
        for action in actions:
            event = action.event
            if isinstance(action, RetryLater):
                record = self._tiers.retry_record(event, action.due, action.headers)
                self._metrics.retried(record[0])
                self._commits.completed(event, record)
            elif isinstance(action, Discard):
                log.warning("%r is discarded, as was decided", event, extra=about(event))
                self._commits.completed(event)
            else:
                self.carry_out(self._order.on_decision(event, self._decision(event)))

    def _decision(self, event: Event[Any]) -> str:
        """What an operator decided about a halted event. The decision stands until what comes of
        it is committed: a worker that dies before leaves it to the next."""
        halted = halted_event_of(event, event.partition)
        if decision := self._decisions.decision(halted):
            self._commits.once_committed(event, partial(self._decisions.on_applied, halted))
        return decision

    def _handle_failures(self, events: Events, failures: Mapping[int, Exception]) -> Events:
        """Each failed event by its own error; returns those that are held in place.

        Once an event of a key must wait, the later ones of its key in this call wait behind it,
        even if they were applied: the newest state comes last.
        """
        moved: set[Hashable] = set()
        held: dict[Hashable, Events] = {}
        delivered: Events = []
        for index, event in enumerate(events):
            failure, key = failures.get(index), self._queues.key(event)
            if key in held:
                held[key].append(event)
            elif key in moved:
                self.carry_out(self._order.on_superseded(event))
            elif failure is None:
                delivered.append(event)
                self._order.on_done(event)
            elif self._is_held(failure):
                held[key] = [event]
            elif self._failed(event, failure):
                moved.add(key)
        self._finish(delivered)
        return [event for lane in held.values() for event in lane]

    def _is_held(self, failure: Exception) -> bool:
        """Whether the failure is an outage, which burns no attempt."""
        down = isinstance(self._classifier.classify(failure), Unavailable)
        if down and self._policy.outage == "hold":
            self._hold_back(failure)
            return True
        return False

    def _failed(self, event: Event[Any], failure: Exception) -> bool:
        """To a tier or to its end; whether the later ones of its key must stay behind."""
        error, failures = self._classifier.classify(failure), failures_of(event) + 1
        if isinstance(error, Rejected):
            return self._dead_letter_or_halt(event, failure, failures)
        self._say_why(event, failure, failures)
        if self._tiers.exhausted(failures):
            return self._dead_letter_or_halt(event, failure, failures)
        self._metrics.error(failure)
        due = self._tiers.due(failures, getattr(error, "after", None))
        history = self._history(event, failure, failures)
        headers = {TL_ORIGIN: "retry", TL_HALTED: "", **history}
        self.carry_out(self._order.on_retry(event, due, headers))
        return True

    def _dead_letter_or_halt(self, event: Event[Any], failure: Exception, failures: int) -> bool:
        """To the dead-letter queue; whether that halts the key."""
        if self._policy.on_dead == "continue":
            self._dead_letter(event, failure, failures)
            return False
        self._commits.add(event, self._dead_letter_record(event, failure, failures, halted=True))
        history = self._history(event, failure, failures)
        self.carry_out(self._order.on_halt(event, history))
        self._count_dead(event, failure)
        return True

    def _dead_letter(self, event: Event[Any], failure: Exception, failures: int = 0) -> None:
        self._commits.completed(event, self._dead_letter_record(event, failure, failures))
        self._order.on_done(event)
        self._count_dead(event, failure)

    def _dead_letter_record(
        self,
        event: Event[Any],
        failure: Exception,
        failures: int,
        *,
        raw_key: bytes | None = None,
        halted: bool = False,
    ) -> Move:
        topic, key, value, headers = dead_letter(
            self._destination.dlq,
            key=event.key.encode() if raw_key is None else raw_key,
            value=event.value,
            headers=event.headers,
            came_from=f"{event.topic}/{event.partition}/{event.offset}",
            stage="deliver",
            error=failure,
            attempts=failures or failures_of(event),
            flow_version=self._destination.flow.version,
            at=self._clock(),
        )
        if halted:
            sequence = str(event.sequence).encode()
            headers = replaced(headers, {TL_HALTED: b"1", TL_SEQ: sequence})
        return topic, event.partition, key, value, headers, int(self._clock() * 1000)

    def _history(self, event: Event[Any], failure: Exception, failures: int) -> dict[str, str]:
        return {
            TL_ATTEMPT: str(failures),
            TL_FIRST_FAILED_AT: event.header(TL_FIRST_FAILED_AT) or iso_rounded_up(self._clock()),
            TL_ERROR_CLASS: type(failure).__name__,
            TL_ERROR: str(failure)[:MAX_ERROR_CHARS],
        }

    def _say_why(self, event: Event[Any], failure: Exception, failures: int) -> None:
        if not isinstance(failure, DeliveryError):
            log.error("%r failed in an unforeseen way", event, exc_info=failure, extra=about(event))
        elif failures == 1:
            log.warning("%r is retried: %s", event, failure, extra=about(event))

    def _hold_back(self, reason: Exception) -> None:
        self._metrics.error(reason)
        if self._clock() >= self._said + LOG_INTERVAL:
            self._said = self._clock()
            log.warning("deliveries are held: %s", reason)

    def _count_dead(self, event: Event[Any], failure: Exception) -> None:
        self._metrics.error(failure)
        self._metrics.dead_letters.inc()
        log.error("%r is dead-lettered: %s", event, failure, extra=about(event))
        self._told.dead_lettered(event, failure)

    def _delivered(self, events: Events) -> None:
        for event in events:
            self._order.on_done(event)
        self._finish(events)

    def _finish(self, events: Events) -> None:
        for event in events:
            self._commits.completed(event)
        self._metrics.events_out.inc(len(events))
        self._told.delivered(len(events))

    def _free(self, batch: Events, held: Events) -> None:
        """The lanes are free again; those that hold something rest for a moment."""
        keys = {self._queues.key(event) for event in held}
        if held:
            self._queues.requeue(held)
            self._rest(held, HOLD_BACKOFF)
        self._rest([event for event in batch if self._queues.key(event) not in keys], 0.0)


def _failures(call: SinkCall) -> Mapping[int, Exception]:
    """The error of each failed event, by its index in what was sent."""
    failure = call.failure
    assert failure is not None
    if isinstance(failure, PartialFailure) and failure.failures.keys() <= {*range(len(call.sent))}:
        return failure.failures
    return dict.fromkeys(range(len(call.sent)), failure)
