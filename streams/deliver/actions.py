"""What key order decides is done here: retry records are written, operators' decisions applied."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from trunkline.event import Event
from trunkline.kafka import PartitionRecord
from trunkline.logs import about
from trunkline.streams.deliver.committer import OffsetCommitter
from trunkline.streams.dlq.halted import HaltDecisions, halted_event_of
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.metrics import DeliveryMetrics
from trunkline.streams.retry.key_order import Action, Discard, KeyOrder, RetryLater
from trunkline.streams.retry.tiers import Tiers

log = logging.getLogger(__name__)


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

    def run(self, actions: Iterable[Action]) -> None:
        """Carry out the actions, in their order."""
        for action in actions:
            event = action.event
            if isinstance(action, RetryLater):
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
        return self._journal.waiting(action.event, action.due, action.headers)

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
