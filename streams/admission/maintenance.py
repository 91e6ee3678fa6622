"""Maintenance windows: times when a destination is known to be down and is sent nothing.

A window starts at a time of its zone's wall clock and lasts for its duration in real time. When
clocks change, starts are those of Debian's cron, which cronsim computes: one in the hour that is
missing comes when that hour would have begun, one in the hour that is repeated comes once, in the
first of both. Only a cron expression with ``*`` for its hours or minutes runs on real time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from trunkline.streams.admission.gate import NEVER, OnOffGate
from trunkline.streams.flow.maintenance import Window

_CHAIN = 100
"""How many windows in a row, without a gap, are looked through for their end. "daily 00:00 12h" and
"daily 12:00 12h" together never end: then the answer is the end of the hundredth, weeks away, and
asked for again when it comes."""


class MaintenanceGate(OnOffGate):
    """The maintenance windows of a destination: a Gate that is closed within any of them.

    Calls that are under way when a window begins just end. ``clock``: returns the time in epoch
    seconds; windows are of that clock, and the time of ``now`` is only for waiting.
    """

    def __init__(self, windows: Sequence[Window], clock: Callable[[], float]) -> None:
        self._windows = tuple(windows)
        self._clock = clock
        self._until: float | None = None  # the last answer of the calendar, and from when to
        self._valid = (0.0, 0.0)  # when it holds, in epoch seconds

    def closed_until(self, now: float) -> float | None:
        """When the window ends, on the clock of ``now``, windows that follow it without a gap
        included; None outside of windows."""
        at = self._clock()
        since, until = self._valid
        # The gate is asked for every batch, and the calendar of two windows takes half a
        # millisecond. The beginning is compared, too: a clock that is set back may leave the window
        # that it was in.
        if not since <= at < until:
            self._ask_calendar(at)
        return None if self._until is None else now + self._until - at

    def _ask_calendar(self, now: float) -> None:
        at = datetime.fromtimestamp(now, UTC)
        end = self._end(at)
        self._until = end.timestamp() if end else None
        change = end or min((w.next_start(at) for w in self._windows), default=None)
        self._valid = (now, change.timestamp() if change else NEVER)

    def _end(self, at: datetime) -> datetime | None:
        """When the windows end that ``at`` is in; None outside.

        A window that begins before the last one ends, or just then, prolongs it.
        """
        end = None
        for _ in range(_CHAIN):
            later = [stop for w in self._windows if (stop := w.current(end or at))]
            if not later:
                break
            end = max(later)
        return end
