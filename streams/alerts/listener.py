"""What steps tell goes to the monitors whose destination, source or routing it concerns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.listener import OutcomeListener


class AlertListener(OutcomeListener):
    """Tells ``monitor`` what a step tells. ``monitors_by_queue``: whom the dead letters of which
    queue concern instead: what a route of a destination refuses is the destination's trouble."""

    def __init__(
        self,
        monitor: ConditionMonitor,
        monitors_by_queue: Mapping[str, ConditionMonitor] | None = None,
    ) -> None:
        self._monitor = monitor
        self._by_queue = monitors_by_queue or {}

    def on_dead_lettered(self, queue: str, count: int, error: Exception) -> None:
        """Whom the queue concerns counts them."""
        self._by_queue.get(queue, self._monitor).dead_lettered(count, error)

    def on_lag(self, seconds: float) -> None:
        """The step is late."""
        self._monitor.lag(seconds)

    def on_at_risk(self, warnings: Sequence[str]) -> None:
        """Something threatens the source, or nothing does."""
        self._monitor.at_risk(warnings)

    def on_held(self, error: Exception) -> None:
        """Why the step is late, should it be."""
        self._monitor.held(error)
