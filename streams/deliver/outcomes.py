"""What the end of a call means for each of its events: delivered, to a tier, to the dead-letter
queue, or held in place because the destination is down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any

from trunkline.errors import (
    SCHEMA_UNAVAILABLE,
    DataError,
    DeliveryError,
    Rejected,
    Unavailable,
)
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
from trunkline.kafka import PartitionRecord
from trunkline.logs import LineBudget, about
from trunkline.masking import without_secrets
from trunkline.schemas.personal import PersonalTexts, hide_in
from trunkline.streams.deliver.actions import ActionRunner
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.deliver.committer import OffsetCommitter
from trunkline.streams.deliver.poison import PoisonDetectors
from trunkline.streams.deliver.schedule import Schedule
from trunkline.streams.deliver.sink_call import Events, SinkCall
from trunkline.streams.dlq.envelope import dead_letter
from trunkline.streams.flow.definition import Destination
from trunkline.streams.journal.doubt import InDoubt
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.listener import OutcomeListener, broken_by
from trunkline.streams.retry.key_order import KeyOrder
from trunkline.streams.retry.tiers import Tiers, failures_of
from trunkline.times import iso_rounded_up

log = logging.getLogger(__name__)

MAX_ERROR_CHARS = 500
"""Characters of an error that go with an event to its tier; a dead letter has it whole."""
POISON = (
    "%r found the destination unavailable %d times while others were answered, so that counts as "
    "a failed attempt of this event: %s"
)
LOG_INTERVAL = 30.0
"""Seconds until it is said again that deliveries are held."""


class OutcomeHandler:
    """Judges the calls of one destination's sink, event by event. ``clock``: epoch seconds;
    ``personal``: what of an event's data no error may tell, if there is any."""

    def __init__(
        self,
        destination: Destination[Any, Any],
        *,
        order: KeyOrder,
        runner: ActionRunner,
        schedule: Schedule,
        tiers: Tiers,
        committer: OffsetCommitter,
        detector: PoisonDetectors,
        clock: Callable[[], float],
        listener: OutcomeListener,
        journal: CallJournal | None = None,
        personal: PersonalTexts | None = None,
    ) -> None:
        self._destination = destination
        self._personal = personal
        self._policy = destination.policy
        self._classifier = ErrorClassifier(destination.policy)
        self._order = order
        self._runner = runner
        self._schedule = schedule
        self._tiers = tiers
        self._committer = committer
        self._detector = detector
        self._clock = clock
        self._listener = listener
        self._journal = journal
        self._held_logged_at = 0.0
        self._budget = LineBudget(clock)

    def handle(self, call: SinkCall) -> None:
        """Judge a call that is over.

        1. What could not be read, or is not taken (a delete), is dead-lettered.
        2. If nothing could be read at all, or the destination is down, events are held in place.
        3. What was delivered is completed, and the next of its key may go.
        4. What failed goes to a retry topic, or is dead-lettered.
        5. The keys of the batch are free again; those of held events after a while. What was not
           tried is put back before that.
        """
        for event, reason in call.unreadable:
            self._dead_letter(event, reason)
        held: Events = []
        if call.held is not None:
            self._hold_back(call.held)
            held = call.batch
        elif call.delivered:
            for event in call.sent:
                self._order.on_done(event)
            self._finish(call.sent)
        else:
            held = self._handle_failures(call)
        self._free(call.batch, held)

    def dead_letter_unreadable(
        self, event: Event[Any], error: DataError, raw_key: bytes | None
    ) -> None:
        """Dead-letter a record that is no event, since its key is not UTF-8. ``raw_key``: the
        key's bytes, which the dead letter keeps; ``event`` shows them with replacements."""
        record = self._dead_letter_record(event, error, 0, raw_key=raw_key)
        self._committer.complete((event,), record)
        self._note_dead_letter(event, error)

    def _handle_failures(self, call: SinkCall) -> Events:
        """Judge each event by its own error. Returns those that are held in place.

        Once an event of a key must wait, the later ones of its key in this call wait behind it,
        even if they were applied; see ``KeyOrder.on_superseded``.
        """
        failures, unread = call.failures(), {event for event, _ in call.unreadable}
        dropped, untried = set(call.dropped), set(call.untried)
        moved: set[Hashable] = set()
        held: dict[Hashable, Events] = {}
        delivered: Events = []
        again: Events = []
        for event in call.batch:
            failure, key = failures.get(event), self._order.queues.key(event)
            if failure is not None and self._personal is not None:
                failure = self._hidden(event, failure)
            if event in unread:
                continue
            if key in held:
                held[key].append(event)
            elif key in moved:
                self._runner.run(self._order.on_superseded(event))
            elif event in untried:
                again.append(event)
            elif event in dropped:
                self._drop(event)
            elif failure is None:
                delivered.append(event)
                self._order.on_done(event)
            elif self._is_held(event, failure):
                held[key] = [event]
            elif self._conclude(event, failure):
                moved.add(key)
        self._finish(delivered)
        self._order.queues.requeue(again)
        return [event for queue in held.values() for event in queue]

    def _hidden(self, event: Event[Any], failure: Exception) -> Exception:
        """What a sink raised, without what is personal in the event: systems answer with what they
        were sent, and errors go to logs, headers and alerts."""
        assert self._personal is not None
        try:
            data = event.data
        except (DataError, *SCHEMA_UNAVAILABLE):  # the sink has not read it either
            return failure
        return hide_in(failure, self._personal(data))

    def _drop(self, event: Event[Any]) -> None:
        """The enrichment returned nothing: the event is done with, and nobody gets it."""
        self._detector.forget(event)
        self._order.on_done(event)
        self._committer.complete((event,))

    def _is_held(self, event: Event[Any], failure: Exception) -> bool:
        """Whether the failure is an outage, which burns no attempt, and not the event's own."""
        down = isinstance(self._classifier.classify(failure), Unavailable)
        if not down or self._policy.outage == "tiers":
            return False
        if not self._detector.blames(event):
            self._hold_back(failure)
            return True
        if (held := self._detector.forget(event)) is not None:
            log.warning(POISON, event, held.times, _told(failure), extra=about(event))
        return False

    def _conclude(self, event: Event[Any], failure: Exception) -> bool:
        """``_failed``; where that fails itself, the event ends, and not the worker with all its
        destinations, which would meet the event again after each restart."""
        # Of an event that its sink held before, and that cannot be enriched now: it leaves.
        self._detector.forget(event)
        try:
            return self._failed(event, failure)
        except Exception as defect:
            log.error("%r: its failure cannot be handled", event, exc_info=defect)
            self._dead_letter(event, defect)
            return False

    def _failed(self, event: Event[Any], failure: Exception) -> bool:
        """To a tier or to its end; whether the later ones of its key must stay behind."""
        error, failures = self._classifier.classify(failure), failures_of(event) + 1
        if isinstance(error, Rejected):
            if self._journal is not None and self._journal.is_refusal(event, failure):
                record = self._journal.refused(event, failure, failures)
                self._committer.complete((event,), record)
                self._order.on_done(event)
                return False
            return self._dead_letter_or_halt(event, failure, failures)
        self._say_why(event, failure, failures)
        if self._tiers.exhausted(failures):
            return self._dead_letter_or_halt(event, failure, failures)
        self._listener.on_retried(failure)
        due = self._tiers.due(failures, getattr(error, "after", None))
        history = self._history(event, failure, failures)
        headers = {TL_ORIGIN: "retry", TL_HALTED: "", **history}
        self._runner.run(self._order.on_retry(event, due, headers))
        return True

    def _dead_letter_or_halt(self, event: Event[Any], failure: Exception, failures: int) -> bool:
        """To the dead-letter queue; whether that halts the key."""
        # What is in doubt waits for a person in the journal, who must not be asked in two places.
        if self._policy.on_dead == "continue" or isinstance(failure, InDoubt):
            self._dead_letter(event, failure, failures)
            return False
        self._committer.add(event, self._dead_letter_record(event, failure, failures, halted=True))
        history = self._history(event, failure, failures)
        self._runner.run(self._order.on_halt(event, history))
        self._note_dead_letter(event, failure)
        return True

    def _dead_letter(self, event: Event[Any], failure: Exception, failures: int = 0) -> None:
        record = self._dead_letter_record(event, failure, failures)
        told: tuple[PartitionRecord, ...] = ()
        if self._journal is not None:
            told = self._journal.dead(event, failure, failures or failures_of(event))
        self._committer.complete((event,), record, *told)
        self._order.on_done(event)
        self._note_dead_letter(event, failure)

    def _dead_letter_record(
        self,
        event: Event[Any],
        failure: Exception,
        failures: int,
        *,
        raw_key: bytes | None = None,
        halted: bool = False,
    ) -> PartitionRecord:
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
        now = int(self._clock() * 1000)
        return PartitionRecord(topic, event.partition, key, value, headers, now)

    def _history(self, event: Event[Any], failure: Exception, failures: int) -> dict[str, str]:
        return {
            TL_ATTEMPT: str(failures),
            TL_FIRST_FAILED_AT: event.header(TL_FIRST_FAILED_AT) or iso_rounded_up(self._clock()),
            TL_ERROR_CLASS: type(failure).__name__,
            TL_ERROR: without_secrets(str(failure))[:MAX_ERROR_CHARS],
        }

    def _say_why(self, event: Event[Any], failure: Exception, failures: int) -> None:
        kind = f"{self._destination.name}: {type(failure).__name__}, retried"
        if not isinstance(failure, DeliveryError):
            if self._budget.allows(log, kind):
                what = "%r failed in an unforeseen way"
                log.error(what, event, exc_info=failure, extra=about(event))
        elif failures == 1 and self._budget.allows(log, kind):
            log.warning("%r is retried: %s", event, _told(failure), extra=about(event))

    def _hold_back(self, reason: Exception) -> None:
        self._listener.on_held(reason)
        if self._clock() >= self._held_logged_at + LOG_INTERVAL:
            self._held_logged_at = self._clock()
            log.warning("%s: deliveries are held: %s", self._destination.name, _told(reason))

    def _note_dead_letter(self, event: Event[Any], failure: Exception) -> None:
        kind = f"{self._destination.name}: {type(failure).__name__}, dead-lettered"
        if self._budget.allows(log, kind):
            log.error("%r is dead-lettered: %s", event, _told(failure), extra=about(event))
        self._listener.on_dead_lettered(self._destination.dlq, 1, failure)
        if broken := broken_by(failure):
            self._listener.on_rules_broken(dict.fromkeys(broken, 1))

    def _finish(self, delivered: Events) -> None:
        if not delivered:
            return
        told = () if self._journal is None else self._journal.finished(delivered)
        self._committer.complete(delivered, *told)
        self._listener.on_delivered(len(delivered))

    def _free(self, batch: Events, held: Events) -> None:
        """Free the keys of a call; those of which events are held rest for a while."""
        free = batch
        if held:
            queues, detector = self._order.queues, self._detector
            resting = {queues.key(event) for event in held}
            queues.requeue(held, alone=frozenset(filter(detector.suspects, resting)))
            rests: dict[float, Events] = {}
            for event in held:
                rests.setdefault(detector.rest(queues.key(event)), []).append(event)
            for seconds, events in rests.items():
                self._schedule.hold(events, seconds)
            free = [event for event in batch if queues.key(event) not in resting]
        self._runner.run(self._order.release(free))


def _told(failure: Exception) -> str:
    """An error with its notes, which say where it comes from."""
    return " ".join([str(failure), *(f"({note})" for note in getattr(failure, "__notes__", ()))])
