"""What operators decide about events that wait in retry topics: attempt them now, or discard them.

A decision is a control record of ``RetryKey``, about events of one partition. It names each by its
sequence number and how often it had failed, so it is about this wait and no later one: an event
that fails again waits again. It stands for ten minutes, through restarts and rebalances; whatever
nobody has come to by then waits on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trunkline.errors import DataError
from trunkline.event import Event
from trunkline.kafka.offsets import Partition
from trunkline.streams.retry.tiers import failures_of
from trunkline.times import epoch_seconds

RetryAction = Literal["now", "discard"]

LASTS = 600.0
"""Seconds that a decision stands."""

MAX_EVENTS = 5_000
"""Events of one record: some 100 kB."""


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """``events``: sequence number and failed attempts of each; ``ends``: by retry topic, the offset
    behind the last of them; ``at``: when it was decided, ISO 8601."""

    action: RetryAction
    events: Mapping[int, int]
    ends: Mapping[str, int]
    at: str
    by: str = ""
    why: str = ""

    def to_record(self) -> dict[str, Any]:
        """The control record's value."""
        return {
            "action": self.action,
            "events": [[sequence, failures] for sequence, failures in self.events.items()],
            "ends": dict(self.ends),
            "at": self.at,
            "by": self.by,
            "why": self.why,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RetryDecision:
        """The decision of a control record. Raises DataError for a record that is none."""
        try:
            action = record["action"]
            if action not in ("now", "discard"):
                raise ValueError(f"{action!r} is no action")
            epoch_seconds(record["at"])
            return cls(
                action,
                {int(sequence): int(failures) for sequence, failures in record["events"]},
                {str(topic): int(end) for topic, end in record["ends"].items()},
                record["at"],
                str(record.get("by", "")),
                str(record.get("why", "")),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"no decision: {type(error).__name__}: {error}") from error

    def ends_at(self) -> float:
        """Until when it stands, in epoch seconds."""
        return epoch_seconds(self.at) + LASTS


@dataclass(slots=True)
class RetryDecisions:
    """The decisions about one destination that stand. ``clock``: epoch seconds."""

    clock: Callable[[], float]
    _records: dict[tuple[int, str], RetryDecision] = field(default_factory=dict)

    def put(self, partition: int, id: str, decision: RetryDecision | None) -> None:
        """Take a decision over, or forget it. ``partition``: the inbox's."""
        if decision is None or decision.ends_at() <= self.clock():
            self._records.pop((partition, id), None)
        else:
            self._records[partition, id] = decision

    def action(self, event: Event[Any]) -> RetryAction | None:
        """What was decided about an event of a retry topic; of several decisions the newest."""
        if not self._records:
            return None
        found: RetryDecision | None = None
        for (partition, _), decision in self._records.items():
            if partition != event.partition or decision.ends_at() <= self.clock():
                continue
            named = decision.events.get(event.sequence) == failures_of(event)
            if named and (found is None or decision.at >= found.at):
                found = decision
        return None if found is None else found.action

    def ends(self) -> dict[Partition, int]:
        """Up to which offset retry topics are to be read at once, due or not."""
        ends: dict[Partition, int] = {}
        for (partition, _), decision in self._records.items():
            for topic, end in decision.ends.items():
                ends[topic, partition] = max(end, ends.get((topic, partition), 0))
        return ends
