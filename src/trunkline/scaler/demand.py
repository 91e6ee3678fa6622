"""Whether a step's workers must run, and how many are of use: of what is known, at a given time.

No I/O and no clock: the same facts and the same time give the same answer.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trunkline.scaler.holds import NEVER, NO_HOLD, Hold
from trunkline.scaler.measured import FIRST_RATE, WINDOW
from trunkline.streams.admission.maintenance import MaintenanceGate
from trunkline.streams.flow.maintenance import Window

KNOWN_FOR = 120.0
"""Seconds for which what was known last is answered when Kafka cannot be asked; then an error is:
KEDA leaves the replicas as they are. It is never answered that there is nothing."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one step's work, as of ``at`` (epoch seconds).

    ``ready``: by partition, when each event can be tried, sorted; ``unread``: by partition, how
    many more there are at the most. ``hold``: of the destination. ``members``: workers that run.
    ``errands``: something to be done beside events, as a replay. ``rate``: events a second of one
    worker; ``limit``: of all together.
    """

    at: float
    ready: Mapping[int, Sequence[float]] = field(default_factory=dict)
    unread: Mapping[int, int] = field(default_factory=dict)
    hold: Hold = NO_HOLD
    members: int = 0
    errands: bool = False
    rate: float = FIRST_RATE
    limit: float | None = None

    @property
    def first(self) -> float:
        """When the first event can be tried; NEVER without any."""
        return min((times[0] for times in self.ready.values() if times), default=NEVER)


@dataclass(frozen=True, slots=True)
class Demand:
    """``active``: workers must run; ``wake_at``: from when there is something to do, or NEVER;
    ``sendable``: events that can be sent now; ``workers``: how many are of use for them, maybe a
    part of one."""

    active: bool
    wake_at: float
    sendable: int = 0
    workers: float = 0.0


class Calendar:
    """When a destination's maintenance windows let something be sent."""

    def __init__(self, windows: Sequence[Window] = ()) -> None:
        self._at = 0.0
        self._gate = MaintenanceGate(windows, lambda: self._at) if windows else None

    def opens(self, at: float) -> float:
        """The first moment from ``at`` on outside of windows."""
        if self._gate is None or math.isinf(at):
            return at
        self._at = at
        end = self._gate.closed_until(at)
        return at if end is None else end


def demand(facts: Facts, calendar: Calendar, now: float, lead: float) -> Demand:
    """The demand at ``now``; workers are woken ``lead`` seconds before something can be done.

    1. When can the first event be tried: when it is due, nothing holds the destination, and no
       window is open. Before that less ``lead`` nobody need run.
    2. Then every event counts that can be tried now. One worker is of use for each WINDOW seconds
       of work; but no more of them than partitions have work, nor than it takes to use up a limit.
    """
    if facts.errands:
        return Demand(True, now, 0, 1.0)
    wake_at = calendar.opens(max(facts.first, facts.hold.until, now))
    if facts.hold.stay:
        return Demand(True, wake_at)
    if wake_at > now:
        return Demand(wake_at <= now + lead, wake_at)
    counts = {n: _count(facts, n, now) for n in facts.ready}
    sendable = sum(counts.values())
    most = sum(count > 0 for count in counts.values())
    if facts.limit is not None:
        most = min(most, max(1, math.ceil(facts.limit / facts.rate)))
    return Demand(True, now, sendable, min(sendable / (facts.rate * WINDOW), float(most)))


def _count(facts: Facts, partition: int, now: float) -> int:
    ready = bisect_right(facts.ready[partition], now)
    return ready + facts.unread.get(partition, 0) if ready else 0


def together(demands: Iterable[Demand]) -> Demand:
    """Of workers that do several things: the most that one of them asks for."""
    found = list(demands)
    return Demand(
        any(one.active for one in found),
        min((one.wake_at for one in found), default=NEVER),
        sum(one.sendable for one in found),
        max((one.workers for one in found), default=0.0),
    )
