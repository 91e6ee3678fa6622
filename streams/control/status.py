"""How a destination is in each worker: the control records ``status/<destination>/<worker>``.

Only what is out of the ordinary is told: a worker whose destination is closed (all is well) has no
record, so workers that have nothing to tell write nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from trunkline.kafka import KafkaUnavailable
from trunkline.streams.control.records import StatusKey
from trunkline.streams.control.topic import ControlTopic
from trunkline.tasks import supervised_task
from trunkline.times import iso

log = logging.getLogger(__name__)

CLOSED = "closed"

REPEAT_INTERVAL = 30.0
"""Seconds after which a state that lasts is told again, with its newest figures."""

PAUSE = 1.0
"""Seconds between two records at the least, however often the state changes."""

STOP_TIMEOUT = 5.0
"""Seconds that an ending worker tries to remove its record."""

STALE = 120.0
"""Seconds after which a record says nothing any more: its worker ended without a word."""

REMOVE_AFTER = 3600.0
"""Seconds after which another worker removes such a record."""


def worker_id() -> str:
    """A name of this process: ``host-pid``."""
    return f"{socket.gethostname()}-{os.getpid()}"


def record_age(value: Mapping[str, Any], now: float) -> float:
    """Seconds since the record was written; infinity if it does not say when."""
    try:
        return now - datetime.fromisoformat(value["at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return float("inf")


class DestinationStatus:
    """Tells in the control topic how a destination is in this worker. For the event loop only.

    ``failure``: an error that nobody foresaw; the worker must end then.
    """

    def __init__(
        self,
        control: ControlTopic,
        destination: str,
        worker: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._destination = destination
        self._key = StatusKey(destination, worker or worker_id()).text
        self._clock = clock
        self._latest: dict[str, Any] = {"state": CLOSED}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def report(self, status: Mapping[str, Any]) -> None:
        """How it is now: ``state`` (closed, open, half-open, ramp, paused, maintenance,
        dead-letter-limit, throttled) and any figures, as ``lag`` and ``waiting``.

        Call it as often as you like: a change of state is told within a second, and while it is
        not closed, the newest figures every 30 seconds. ``since`` is added, when the state began.
        """
        state = status["state"]
        changed = state != self._latest["state"]
        since = iso(self._clock()) if changed else self._latest.get("since")
        self._latest = {"since": since, **status}
        if changed:
            self._changed.set()
        if self._task is None and (state != CLOSED or self._key in self._control.state):
            self._task = supervised_task(self._tell(), f"status {self._key}", self._failed)

    async def stop(self) -> None:
        """Remove the record: this worker ends. Without Kafka it stays, and becomes stale."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._put(self._key, None), STOP_TIMEOUT)

    async def _tell(self) -> None:
        """Lasts until the state is closed again and that is told."""
        await self._sweep()
        while True:
            self._changed.clear()
            told = await self._publish()
            await asyncio.sleep(PAUSE)
            if told == CLOSED and not self._changed.is_set():
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REPEAT_INTERVAL - PAUSE)
        self._task = None

    async def _publish(self) -> str:
        """Write the latest state; returns the state that Kafka has now, "" if that failed."""
        latest = self._latest
        state = str(latest["state"])
        value = None if state == CLOSED else {**latest, "at": iso(self._clock())}
        return state if await self._put(self._key, value) else ""

    async def _sweep(self) -> None:
        """Remove what workers left behind that were killed."""
        for key, value in list(self._control.state.items()):
            name = StatusKey.parse(key)
            ours = name is not None and name.destination == self._destination
            if ours and record_age(value, self._clock()) > REMOVE_AFTER:
                await self._put(key, None)

    async def _put(self, key: str, value: Mapping[str, Any] | None) -> bool:
        try:
            await self._control.put(key, value)
        except KafkaUnavailable as error:
            log.warning("the status is not told: %s", error)
            return False
        return True

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure
