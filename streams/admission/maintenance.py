"""Maintenance windows: times when a destination is known to be down and is sent nothing.

A window starts at a time of its zone's wall clock and lasts for its duration in real time. When
clocks change, starts are those of Debian's cron, which cronsim computes: one in the hour that is
missing comes when that hour would have begun, one in the hour that is repeated comes once, in the
first of both. Only a cron expression with ``*`` for its hours or minutes runs on real time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from trunkline.streams.admission.gate import OnOffGate
from trunkline.streams.flow.maintenance import Window

_CHAIN = 100  # how many windows in a row, without a gap, are looked through for their end


class MaintenanceGate(OnOffGate):
    """The maintenance windows of a destination: a Gate that is shut within any of them.

    Calls that are under way when one begins just end. ``wall``: returns the time in epoch
    seconds; windows are of that time, and the clock of ``now`` is only for waiting.
    """

    def __init__(self, windows: Sequence[Window], wall: Callable[[], float]) -> None:
        self._windows = tuple(windows)
        self._wall = wall
        self._until: float | None = None
        self._valid = (0.0, 0.0)

    @property
    def until(self) -> float | None:
        """When the window ends that it is in, in epoch seconds, windows that follow without a gap
        included; None outside."""
        self._look(self._wall())
        return self._until

    def closed_until(self, now: float) -> float | None:
        """When the window ends, on the clock of ``now``."""
        wall = self._wall()
        self._look(wall)
        return None if self._until is None else now + self._until - wall

    def _look(self, wall: float) -> None:
        """Ask the calendar, unless the last answer still holds: it is asked for every batch."""
        since, until = self._valid
        if since <= wall < until:
            return
        at = datetime.fromtimestamp(wall, UTC)
        end = self._end(at)
        self._until = end.timestamp() if end else None
        change = end or min((w.next_start(at) for w in self._windows), default=None)
        self._valid = (wall, change.timestamp() if change else float("inf"))

    def _end(self, at: datetime) -> datetime | None:
        """The end of all windows that ``at`` is in, one within or right after the other."""
        end = None
        for _ in range(_CHAIN):
            later = [stop for w in self._windows if (stop := w.current(end or at))]
            if not later:
                break
            end = max(later)
        return end
