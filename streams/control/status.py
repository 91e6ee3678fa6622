"""How a destination is in each worker: the control records ``status/<destination>/<worker>``.

Only what is out of the ordinary is written: a worker whose destination is closed (all is well) has
no record. Why: with 200 destinations in 10 workers, 2,000 records every 10 seconds would say that
nothing is the matter, and every worker reads them all.
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

REPEAT_INTERVAL = 10.0
"""Seconds after which a state that lasts is written again, with its newest figures."""

SOURCE_REPEAT_INTERVAL = 30.0
"""The same of a source, which tells also that all is well."""

WRITE_INTERVAL = 1.0
"""Seconds between two records at the least, however often the state changes."""

STOP_TIMEOUT = 5.0
"""Seconds that an ending worker tries to remove its record."""

SILENT_AFTER = 25.0
"""Seconds after which a destination's record is overdue: at least two were not written."""

STALE_AFTER = 45.0
"""Seconds after which a record says nothing any more: its worker was killed, or has no Kafka. Who
took over its partitions tells what is so, long before. The clocks of machines may differ by the
rest, before what runs counts as killed; ``trunkline doctor`` tells of such."""

SOURCE_STALE_AFTER = 120.0
"""The same of a source: one record is written over by whoever has its position."""

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
        # Whoever wrote it is no worker of ours that runs: it counts as stale, and is removed.
        return float("inf")


class DestinationStatus:
    """Writes into the control topic how a destination is in this worker. For the event loop only.

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
        """Take over how it is now: ``state``, a word of AdmissionController.state, and any figures,
        as ``lag`` and ``waiting``; when the state began is added as ``since``.

        Call it as often as you like: a change of state is written within a second, and the newest
        figures every 10 seconds for as long as the state is not closed.
        """
        state = status["state"]
        changed = state != self._latest["state"]
        since = iso(self._clock()) if changed else self._latest.get("since")
        self._latest = {"since": since, **status}
        if changed:
            self._changed.set()
        # A container that is restarted has its name and pid again: what was written before it was
        # killed stands under this key, and would be taken for ours also while all is well.
        if self._task is None and (state != CLOSED or self._key in self._control.state):
            self._task = supervised_task(self._keep_written(), f"status {self._key}", self._failed)

    async def stop(self) -> None:
        """Remove the record: this worker ends. Without Kafka it stays, and becomes stale."""
        if self._task is None:
            return
        # First the task, since its next write would bring the record back.
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._put(self._key, None), STOP_TIMEOUT)

    async def _keep_written(self) -> None:
        """Write the state, and again when it changes or lasts; a task that ends once the topic has
        no record any more, since the state is closed.

        1. Write the latest state, or remove the record of one that is closed.
        2. Rest for a second: a breaker that flaps must not write with each call.
        3. End if Kafka has the removal and nothing has changed since; else wait for a change.
        """
        await self._remove_abandoned()
        while True:
            # Before the state is taken: a change during the write sets it again, to be written.
            self._changed.clear()
            latest = self._latest
            value = None if latest["state"] == CLOSED else {**latest, "at": iso(self._clock())}
            written = await self._put(self._key, value)
            await asyncio.sleep(WRITE_INTERVAL)
            if written and value is None and not self._changed.is_set():
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REPEAT_INTERVAL - WRITE_INTERVAL)
        self._task = None

    async def _remove_abandoned(self) -> None:
        """Remove records of workers that were killed: nobody else does."""
        # A copy: the topic changes the state while a removal is awaited.
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
