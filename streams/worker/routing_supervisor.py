"""What people see of partitions that this worker cannot route for now: metrics, an alert, and a
record in the control topic."""

from __future__ import annotations

import asyncio
from typing import Any

from trunkline.kafka.messages import event_of
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.control.records import ROUTING
from trunkline.streams.control.status import CLOSED, DestinationStatus
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.metrics import RoutingMetrics
from trunkline.streams.route.holding import HeldPartition
from trunkline.streams.route.step import RoutingStep
from trunkline.streams.worker.supervisor import HELD_AFTER, HOLDING, MAX_HELD, MAX_WHY, TICK
from trunkline.tasks import supervised_task
from trunkline.times import iso


class RoutingSupervisor:
    """Tells of a routing step, once a second. For the event loop only."""

    def __init__(
        self,
        step: RoutingStep,
        control: ControlTopic,
        monitor: ConditionMonitor,
        metrics: RoutingMetrics,
    ) -> None:
        self._step = step
        self._monitor = monitor
        self._metrics = metrics
        self._status = DestinationStatus(control, ROUTING)
        self._task: asyncio.Task[None] | None = None
        self._broken: BaseException | None = None

    def start(self) -> None:
        """Begin to tell."""
        self._task = supervised_task(self._run(), "supervise-routing", self._failed)

    async def stop(self) -> None:
        """The worker ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
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
        held = [one for one in self._step.held if one.messages and one.seconds() >= HELD_AFTER]
        held.sort(key=lambda one: one.since)
        oldest = held[0] if held else None
        self._metrics.held_partitions.set(len(held))
        self._metrics.held_seconds.set(oldest.seconds() if oldest else 0.0)
        self._monitor.routing_held(oldest.since if oldest else None, oldest.error if oldest else "")
        self._status.report(
            {
                "state": HOLDING if held else CLOSED,
                "lag": sum(len(one.messages) for one in held),
                "held": [_told(one) for one in held[:MAX_HELD]],
            }
        )

    def _failed(self, failure: BaseException) -> None:
        self._broken = failure


def _told(held: HeldPartition) -> dict[str, Any]:
    """The first event of a partition, for which all others wait."""
    event = event_of(held.messages[0], bytes)
    return {
        "key": event.key,
        "id": event.id,
        "place": f"{event.topic}/{event.partition}/{event.offset}",
        "since": iso(held.since),
        "times": held.times,
        "error": f"{type(held.error).__name__}: {held.error}"[:MAX_WHY],
    }
