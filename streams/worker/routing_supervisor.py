"""What people see of partitions that this worker cannot route for now: metrics, an alert, and a
record in the control topic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from trunkline.kafka.messages import event_of
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.control.records import ROUTING
from trunkline.streams.control.status import CLOSED, DestinationStatus
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.metrics import RoutingMetrics
from trunkline.streams.route.holding import HeldPartition
from trunkline.streams.route.step import RoutingStep
from trunkline.streams.worker.held_since import HeldSince
from trunkline.streams.worker.supervisor import HELD_AFTER, HOLDING, MAX_HELD, MAX_WHY, TICK
from trunkline.tasks import supervised_task, working_for
from trunkline.times import iso


class RoutingSupervisor:
    """Tells of a routing step, once a second. For the event loop only. ``clock``: epoch seconds."""

    def __init__(
        self,
        step: RoutingStep,
        control: ControlTopic,
        monitor: ConditionMonitor,
        metrics: RoutingMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._step = step
        self._monitor = monitor
        self._metrics = metrics
        self._status = DestinationStatus(control, ROUTING)
        self._since = HeldSince(control)
        self._task: asyncio.Task[None] | None = None
        self._broken: BaseException | None = None

    def start(self) -> None:
        """Begin to tell."""
        self._since.start()
        with working_for("step", "route"):
            self._task = supervised_task(self._run(), "supervise-routing", self._failed)

    async def stop(self) -> None:
        """The worker ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._since.stop()
        await self._status.stop()

    @property
    def failure(self) -> BaseException | None:
        """An error that nobody foresaw: the worker must end."""
        return self._broken or self._status.failure

    async def _run(self) -> None:
        while True:
            self.publish_status()
            await asyncio.sleep(TICK)

    def publish_status(self) -> None:
        """Tell how it is now: what is held for a moment only concerns nobody."""
        waiting = [(self._since.of(one), one) for one in self._step.held if one.messages]
        held = [(since, one) for since, one in waiting if self._clock() - since >= HELD_AFTER]
        held.sort(key=lambda one: one[0])
        since, error = (held[0][0], held[0][1].error) if held else (None, "")
        self._metrics.held_partitions.set(len(held))
        self._metrics.held_seconds.set(0.0 if since is None else self._clock() - since)
        self._monitor.routing_held(since, error)
        self._status.report(
            {
                "state": HOLDING if held else CLOSED,
                "lag": sum(len(one.messages) for _, one in held),
                "held": [_told(one, since) for since, one in held[:MAX_HELD]],
            }
        )

    def _failed(self, failure: BaseException) -> None:
        self._broken = failure


def _told(held: HeldPartition, since: float) -> dict[str, Any]:
    """The first event of a partition, for which all others wait."""
    event = event_of(held.messages[0], bytes)
    return {
        "key": event.key,
        "id": event.id,
        "place": f"{event.topic}/{event.partition}/{event.offset}",
        "since": iso(since),
        "times": held.times,
        "error": f"{type(held.error).__name__}: {held.error}"[:MAX_WHY],
    }
