"""What key order decides is done here: retry records are written, operators' decisions applied."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from trunkline.event import Event
from trunkline.headers import TL_ATTEMPT
from trunkline.kafka import PartitionRecord
from trunkline.logs import about
from trunkline.streams.deliver.committer import OffsetCommitter
from trunkline.streams.dlq.halted import HaltDecisions, halted_event_of
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.journal.record import moment_of
from trunkline.streams.metrics import DeliveryMetrics
from trunkline.streams.retry.key_order import Action, Discard, KeyOrder, RetryLater
from trunkline.streams.retry.tiers import Tiers

log = logging.getLogger(__name__)


KEPT = 1_000
"""Failed events that are remembered beside those that block their keys now."""


class _Failed(NamedTuple):
    """An event that was attempted and waits. ``sequence``: by which its key is blocked."""

    sequence: int
    id: str
    attempts: str


class ActionRunner:
    """Carries out the actions of one destination's ``KeyOrder``."""

    def __init__(
        self,
        order: KeyOrder,
        tiers: Tiers,
        committer: OffsetCommitter,
        decisions: HaltDecisions,
        metrics: DeliveryMetrics,
        journal: CallJournal | None = None,
    ) -> None:
        self._order = order
        self._tiers = tiers
        self._committer = committer
        self._decisions = decisions
        self._metrics = metrics
        self._journal = journal
        self._failed: dict[str, _Failed] = {}

    def arrived(self, event: Event[Any]) -> None:
        """An event of the inbox was read: it may be sent, or waits for its turn. Of a call that
        waits in memory the journal tells behind what."""
        actions = self._order.on_arrival(event)
        self.run(actions)
        if self._journal is None or actions or not self._journal.is_call(event):
            return
        if behind := self._behind(event):
            due = self._order.blocked.due(event.key)
            self._journal.tell_behind(event, due, behind)

    def run(self, actions: Iterable[Action]) -> None:
        """Carry out the actions, in their order."""
        for action in actions:
            event = action.event
            if isinstance(action, RetryLater):
                self._note_failure(action)
                record = self._tiers.retry_record(event, action.due, action.headers)
                self._metrics.retried(record[0])
                self._committer.complete((event,), record, *self._told_of(action))
            elif isinstance(action, Discard):
                log.warning("%r is discarded, as was decided", event, extra=about(event))
                self._committer.complete((event,), *self._told_of(action))
            else:
                self.run(self._order.on_decision(event, self._decision(event)))

    def _told_of(self, action: RetryLater | Discard) -> tuple[PartitionRecord, ...]:
        """What the journal says, if the event is a call of an operation."""
        if self._journal is None:
            return ()
        if isinstance(action, Discard):
            return self._journal.discarded(action.event)
        behind = self._behind(action.event)
        return self._journal.waiting(action.event, action.due, action.headers, behind)

    def _note_failure(self, action: RetryLater) -> None:
        """Remember what a call of the same key waits behind, to be told of it."""
        if self._journal is None or TL_ATTEMPT not in action.headers:
            return
        event, attempts = action.event, action.headers[TL_ATTEMPT]
        self._failed[event.key] = _Failed(event.sequence, event.id, attempts)
        if len(self._failed) > 2 * len(self._order.blocked) + KEPT:
            first = self._order.blocked.first
            kept = {key: one for key, one in self._failed.items() if first(key) == one.sequence}
            self._failed = kept

    def _behind(self, event: Event[Any]) -> str:
        """What an event waits behind, in words; "" for nothing. After a restart the event that
        blocks the key is not known by its id until it fails again."""
        blocked, key = self._order.blocked, event.key
        first = blocked.first(key)
        if first is None or first >= event.sequence:
            return ""
        failed, due = self._failed.get(key), blocked.due(key)
        known = failed is not None and failed.sequence == first
        what = "an earlier event of the same entity"
        if failed is not None and known:
            what = f"event {failed.id[:100]}, whose attempt {failed.attempts} failed"
        return f"{what}, due {moment_of(due)}" if due else what

    def _decision(self, event: Event[Any]) -> str:
        """What an operator decided about a halted event.

        The decision stays in the control topic until what comes of it is committed: a worker that
        dies before leaves it to the next one.
        """
        halted = halted_event_of(event, event.partition)
        if decision := self._decisions.decision(halted):
            applied = partial(self._decisions.on_applied, halted)
            self._committer.once_committed(event, applied)
        return decision
