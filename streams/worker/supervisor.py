"""What people see of a destination in this worker, and what they command it.

Commands come from the control topic; how the destination is goes to the metrics, to the alerts
and, if it is out of the ordinary, into the control topic.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from trunkline.kafka import KafkaUnavailable
from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.control.records import HaltKey, OverrideKey
from trunkline.streams.control.status import CLOSED, DestinationStatus
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.deliver.step import DeliveryStep
from trunkline.streams.dlq.halted import HaltDecisions, HaltedEvent
from trunkline.streams.metrics import DeliveryMetrics
from trunkline.streams.worker.retry_decisions import RetryDecisionFollower
from trunkline.tasks import supervised_task, working_for
from trunkline.times import format_duration, iso

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks."""
CANNOT_OPEN = "cannot-open"
"""The state of a destination whose sink cannot be opened: its system is down, or not as needed."""
HOLDING = "holding"
"""The state of a destination that is up, and of which some events are held."""
HALTED = "halted"
"""The state of a destination that is up, and of which some keys wait for a person."""
BEHIND = "behind"
"""The state of a destination that is up, and too far behind for calls of an operation."""
HELD_AFTER = 5.0
"""Seconds after which a held event is told of. Single calls fail and succeed again all the time."""
MAX_HELD = 5
"""Held events, and halted keys, that the control topic takes, of each worker."""
MAX_WHY = 1_000
"""Characters of the reason that the control topic takes."""
_STATES = {"half-open": 1, "slow-start": 1, "open": 2, CANNOT_OPEN: 2}


class ControlledHaltDecisions(HaltDecisions):
    """What was decided about halted events: the control records of ``HaltKey``. A delivery
    step's ``HaltDecisions``."""

    def __init__(self, control: ControlTopic, destination: str) -> None:
        self._control = control
        self._destination = destination
        self._tasks: set[asyncio.Task[None]] = set()

    def decision(self, halted: HaltedEvent) -> str:
        """``retry``, ``discard``, or "" if nothing is decided."""
        key = HaltKey(self._destination, *halted).text
        return str(self._control.state.get(key, {}).get("action", ""))

    def on_applied(self, halted: HaltedEvent) -> None:
        """What came of the decision is committed: it is no more needed."""
        task = asyncio.create_task(self._remove(HaltKey(self._destination, *halted).text))
        # The event loop itself holds a task weakly: it might be collected before it has run.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remove(self, key: str) -> None:
        try:
            await self._control.put(key, None)
        except KafkaUnavailable as error:  # about a dead letter that is over: no harm
            log.warning("the decision %s stays in the control topic: %s", key, error)


class DestinationSupervisor:
    """Binds one destination's step in this worker to what operators command and see.
    ``max_backlog``: seconds of its oldest event beyond which gateways must know, 0 for none."""

    def __init__(
        self,
        admission: AdmissionController,
        control: ControlTopic,
        monitor: ConditionMonitor,
        metrics: DeliveryMetrics,
        step: DeliveryStep,
        *,
        clock: Callable[[], float],
        max_backlog: float = 0.0,
    ) -> None:
        self._broken: BaseException | None = None
        self._admission = admission
        self._control = control
        self._monitor = monitor
        self._metrics = metrics
        self._key = OverrideKey(step.name).text
        self._destination = step.name
        self._step = step
        self._clock = clock
        self._max_backlog = max_backlog
        self._status = DestinationStatus(control, step.name, clock=clock)
        self._retries = RetryDecisionFollower(control, step, clock)
        self._task: asyncio.Task[None] | None = None
        self._down_since: float | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Obey commands, and look at the step every second."""
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = self._control.subscribe(self._key, self._commanded)
        self._retries.start()
        with working_for("destination", self._destination):
            self._task = supervised_task(
                self._run(), f"supervise-{self._destination}", self._failed
            )

    async def stop(self) -> None:
        """The worker ends."""
        self._unsubscribe()
        await self._retries.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # Last: the task above reports each second, and would write the record again.
        await self._status.stop()

    @property
    def failure(self) -> BaseException | None:
        """An error that nobody foresaw: the worker must end."""
        return self._broken or self._status.failure

    def _commanded(self, key: str, value: Mapping[str, Any] | None) -> None:
        if key != self._key:  # another's, whose name begins like ours
            return
        command = OverrideRecord.of(value)
        # A pause that is over stands in the control topic as "auto": no news at a start.
        if value is not None and not command.state == self._admission.manual.state == "auto":
            with working_for("destination", self._destination):
                log.warning("%s: %s, says %s", self._destination, command.state, command.by)
        self._admission.override(command.state, command.ends_at)
        self._step.wake()

    async def _run(self) -> None:
        while True:
            self.publish_status()
            self._retries.expire()
            await asyncio.sleep(TICK)

    def publish_status(self) -> None:
        """Tell how it is now."""
        gauges, limit = self._step.gauges, self._admission.dead_letter_limit
        state, since = self._state_and_since()
        # The breaker counts in the loop's time, which means nothing to people and other machines.
        open_for = 0.0 if since is None else self._loop.time() - since
        tripped = state == "dead-letter-limit"
        self._monitor.breaker_open(None if since is None else self._clock() - open_for)
        # What waits because somebody wanted it so is late, but nobody's alarm.
        planned = state in ("paused", "maintenance")
        self._monitor.lag(0.0 if planned else gauges.lag_seconds)
        self._monitor.dead_letter_limit_tripped(tripped, (limit and limit.newest_error) or "")
        self._metrics.breaker_state.set(_STATES.get(state, 0))
        self._metrics.breaker_open_seconds.set(open_for)
        self._metrics.dead_letter_limit_tripped.set(tripped)
        self._log_outage(state)
        held, halted = self._held(), self._step.halted
        if state == CLOSED:
            state = HOLDING if held else HALTED if halted else self._backlog_state()
        self._status.report(
            {
                "state": state,
                "until": self._until(),
                "lag": gauges.lag,
                "oldest": round(gauges.lag_seconds, 1),
                "waiting": gauges.waiting,
                "why": self._why()[:MAX_WHY] or None,
                "held": held,
                "halted_keys": len(halted),
                "halted": [asdict(one) for one in halted.first(MAX_HELD)],
            }
        )
        self._step.wake()  # a command's end, or a window's, may have come

    def _backlog_state(self) -> str:
        late = 0.0 < self._max_backlog < self._step.gauges.lag_seconds
        return BEHIND if late else CLOSED

    def _log_outage(self, state: str) -> None:
        """Say once that it is down, and once that it is up again: not each time it is probed."""
        if state in ("open", "half-open") and self._down_since is None:
            self._down_since = self._clock()
            log.warning("%s: its system is down, and its events wait", self._destination)
        elif state == CLOSED and self._down_since is not None:
            lasted = format_duration(self._clock() - self._down_since)
            log.warning("%s: its system is up again, after %s", self._destination, lasted)
            self._down_since = None

    def _state_and_since(self) -> tuple[str, float | None]:
        """How it is, and since when it is down, in the loop's time; None: it is not."""
        if self._step.open_failure:
            return CANNOT_OPEN, self._step.open_failed_at
        state = self._admission.state(self._loop.time())
        # Without anything to send a breaker stays open until an event comes that can be its probe:
        # nobody waits meanwhile, so nobody is woken.
        down = state in ("open", "half-open") and self._step.gauges.lag
        return state, self._admission.opened_at if down else None

    def _why(self) -> str:
        """What is known of why it is not as it should be, beyond the state; "" for nothing."""
        step, enrichment = self._step, self._admission.enrichment
        if step.open_failure or step.enrichment is None or enrichment is None:
            return step.open_failure
        return step.enrichment.trouble if enrichment.is_in_trouble(self._loop.time()) else ""

    def _held(self) -> list[dict[str, Any]]:
        """The events that find the destination unavailable again and again, the oldest first."""
        latest = self._clock() - HELD_AFTER
        return [
            {
                "key": held.event.key,
                "id": held.event.id,
                "place": f"{held.event.topic}/{held.event.partition}/{held.event.offset}",
                "since": iso(held.since),
                "times": held.times,
                "error": held.error,
            }
            for held in self._step.detector.held(MAX_HELD)
            if held.since <= latest
        ]

    def _until(self) -> str | None:
        """When it goes on by itself, if that is known and not a matter of moments."""
        now = self._loop.time()
        at = self._admission.closed_until(now)
        return iso(self._clock() + at - now) if at is not None and at > now + TICK else None

    def _failed(self, failure: BaseException) -> None:
        self._broken = failure
