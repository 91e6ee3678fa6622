"""What people see of a source, and what they command it.

Commands come from the control topic. How a source is goes there too: one record a source, from the
worker that has its position, written when it changes and every 30 seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from math import inf
from typing import Any, Literal, get_args

from trunkline.connectors.base import SnapshotRequest
from trunkline.kafka import KafkaUnavailable
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.streams.control.records import SnapshotKey, SourceKey
from trunkline.streams.control.status import SOURCE_REPEAT_INTERVAL, STOP_TIMEOUT, worker_id
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.publish.push_step import PushStep
from trunkline.streams.publish.source_lag import SourceStatus
from trunkline.streams.publish.source_step import SourceStep
from trunkline.tasks import supervised_task, working_for
from trunkline.times import iso

log = logging.getLogger(__name__)

_OPEN = Literal["running", "paused", "stopped"]
"""What an operator wants of a snapshot."""
TICK = 1.0
"""Seconds between two looks."""
RATE_OVER = 60
"""Looks over which the rate is told: a minute."""
MAX_ERROR = 2_000
"""Characters of an error that the control topic takes."""


class SourceSupervisor:
    """Binds one source's step in this worker to what operators command and see. For the event loop
    only. ``failure``: an error that nobody foresaw; the worker must end then."""

    def __init__(
        self,
        step: SourceStep | PushStep,
        control: ControlTopic,
        worker: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._step = step
        self._control = control
        self._worker = worker or worker_id()
        self._clock = clock
        self._command = SourceKey(step.name, "command").text
        self._reset = SourceKey(step.name, "reset").text
        self._status = SourceKey(step.name, "status").text
        self._asked: dict[str, SnapshotRequest] = {}
        self._written: SourceStatus | None = None
        self._written_at = self._since = 0.0
        self._read: deque[tuple[float, int]] = deque(maxlen=RATE_OVER + 1)
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Obey commands; tell every second whether anything has changed."""
        prefix = SourceKey.prefix(self._step.name)
        self._unsubscribe = self._control.subscribe(prefix, self._commanded)
        name = f"supervise-source-{self._step.name}"
        with working_for("source", self._step.name):
            self._task = supervised_task(self._run(), name, self._failed)

    async def stop(self) -> None:
        """The worker ends. What stopped the source stays to be read, until one runs again."""
        self._unsubscribe()
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        status = self._step.status
        ours = self._control.state.get(self._status, {}).get("worker") == self._worker
        with suppress(TimeoutError):
            if status is not None and status.state == "stopped":
                await asyncio.wait_for(self._tell(status), STOP_TIMEOUT)
            elif ours or self._written is not None:
                await asyncio.wait_for(self._put(None), STOP_TIMEOUT)

    def _commanded(self, key: str, value: Mapping[str, Any] | None) -> None:
        if key == self._command:
            command = OverrideRecord.of(value)
            # As of a destination: that a pause is over is no news at a start.
            paused = self._step.status is not None and self._step.status.state == "paused"
            if value is not None and (command.state != "auto" or paused):
                self._tell_of(command.state, command.by)
            self._step.pause(command.ends_at if command.state == "paused" else -inf)
            if command.state != "paused":
                self._step.allow()
        elif (asked := SnapshotKey.parse(key)) is not None:
            self._requested(asked.id, value)
        elif key == self._reset and value is not None and isinstance(self._step, SourceStep):
            self._tell_of("reset", str(value.get("by")))
            self._step.restart()

    def _tell_of(self, what: str, by: str) -> None:
        with working_for("source", self._step.name):  # it is the control topic's reader that calls
            log.warning("source %s: %s, says %s", self._step.name, what, by)

    def _requested(self, id: str, value: Mapping[str, Any] | None) -> None:
        """Hand on what is asked for; what is done, failed or not understood is not."""
        if not isinstance(self._step, SourceStep):
            return
        self._asked.pop(id, None)
        if value is not None and value.get("state") in get_args(_OPEN):
            where = str(value.get("where") or "")
            self._asked[id] = SnapshotRequest(id, str(value.get("table")), where, value["state"])
        self._step.request_snapshots(list(self._asked.values()))

    async def _run(self) -> None:
        while True:
            self._read.append((self._clock(), self._step.read_records))
            await self._publish_status(self._step.status)
            if isinstance(self._step, SourceStep) and self._step.status is not None:
                await self._settle_snapshots(self._step)
            await asyncio.sleep(TICK)

    async def _publish_status(self, status: SourceStatus | None) -> None:
        """Tell how it is now, if that is another than before, or was told long ago."""
        before, now = self._written, self._clock()
        if status is None:  # another worker has it, and tells
            self._written = None
            return
        changed = before is None or _essence(before) != _essence(status)
        if changed or now - self._written_at >= SOURCE_REPEAT_INTERVAL:
            if before is None or before.state != status.state:
                self._since = now
            await self._tell(status)

    async def _settle_snapshots(self, step: SourceStep) -> None:
        """What is over: the record of one that is done or stopped goes, of one that failed it says
        why."""
        for id, asked in list(self._asked.items()):
            key, state = SnapshotKey(self._step.name, id).text, step.snapshots.get(id)
            if step.takes_snapshots is False:
                state = {"error": "this kind of source reads no snapshots on demand"}
            if state is not None and state.get("error"):
                await self._put(
                    {
                        **self._control.state.get(key, {}),
                        "state": "failed",
                        "error": state["error"][:MAX_ERROR],
                    },
                    key,
                )
            elif (state or {}).get("done") or (asked.state == "stopped" and state is None):
                await self._put(None, key)

    async def _tell(self, status: SourceStatus) -> None:
        late = status.late_since
        told = await self._put(
            {
                "state": status.state,
                "since": iso(self._since or self._clock()),
                "error": status.error[:MAX_ERROR] or None,
                "late_since": None if late is None else iso(late),
                "rate": self._rate(),
                "gauges": [asdict(one) for one in status.gauges],
                "worker": self._worker,
                "at": iso(self._clock()),
            }
        )
        if told:
            self._written, self._written_at = status, self._clock()

    def _rate(self) -> float:
        """Records a second in the last minute, or since this worker began."""
        if not self._read:  # it ends before it has looked
            return 0.0
        (begin, before), (end, count) = self._read[0], self._read[-1]
        return (count - before) / (end - begin) if end > begin else 0.0

    async def _put(self, value: Mapping[str, Any] | None, key: str = "") -> bool:
        try:
            await self._control.put(key or self._status, value)
        except KafkaUnavailable as error:
            log.warning("the status of source %s is not told: %s", self._step.name, error)
            return False
        return True

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure


def _essence(status: SourceStatus) -> tuple[object, ...]:
    """What is told at once when it is another: numbers can wait for the next time."""
    return status.state, status.error, [(one.name, bool(one.warning)) for one in status.gauges]
