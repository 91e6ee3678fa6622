"""One flow of a process that runs several: started, held when it fails, tried again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from trunkline.errors import ConfigurationError
from trunkline.kafka import KafkaUnavailable
from trunkline.masking import without_secrets
from trunkline.params import Backbone, Params
from trunkline.streams.alerts.settings import AlertSettings
from trunkline.streams.flow.definition import Flow
from trunkline.streams.worker.process import Options, Worker
from trunkline.streams.worker.shared import Shared
from trunkline.tasks import FLOW, backoff
from trunkline.times import iso

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a flow that is held is tried again; each time twice as many."""
WELL_AFTER = 300.0
"""Seconds that a flow has to run for its next failure to count as a new one."""
STEADY_AFTER = 10.0
"""Seconds that a flow which was held has to be ready before people are told that it runs. A source
that its system refuses fails just after all consumers have joined their groups: told at once, the
flow would be held and well in turns, and nobody be alerted."""
SETTLED_AFTER = 60.0
"""Seconds after which a flow that is not ready is no more one that is just starting."""
MAX_REASON = 2_000
"""Characters of a reason that people are shown."""


class Prepared(NamedTuple):
    """A flow with what it runs with."""

    flow: Flow[Any]
    params: Params
    backbone: Backbone
    alerts: AlertSettings


class HostedFlow:
    """A flow's life in a process of several. For the event loop only.

    ``prepare``: loads the flow and finds its parameters; blocks; raises ConfigurationError. It is
    called before each try, so that a flow starts by itself once its file, its parameters or its
    system are mended. ``target``: its file or module, by which people know it until it has a name.
    ``reason``: why it is held, "" if it is not; ``tries``: how often it was started.
    """

    def __init__(
        self, target: str, prepare: Callable[[], Prepared], options: Options, shared: Shared
    ) -> None:
        self.name = target
        self.reason = ""
        self._prepare = prepare
        self._options = options
        self._shared = shared
        self._worker: Worker | None = None
        self._began = time.monotonic()
        self.tries = 0
        self._again_at: float | None = None
        self._ready_since: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop``. Whatever ends the flow before holds it, and it is tried again; only
        what is the process's own trouble is raised.

        1. Load it anew, and run it: in a context of its own, so that log lines name the flow.
        2. If that fails, say why, and rest: a second, then twice as long, up to a minute.
        """
        pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while not stop.is_set():
            self._began, self.tries, self._again_at = time.monotonic(), self.tries + 1, None
            try:
                await self._run_once(stop)
                return
            except MemoryError:  # of the process, and so of all its flows
                raise
            except Exception as failure:  # noqa: BLE001 - told, and tried again
                if time.monotonic() - self._began > WELL_AFTER:
                    pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
                pause = next(pauses)
                self._hold(failure, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    @property
    def ready(self) -> bool:
        """Whether it runs, and all its consumers have joined their groups."""
        return self._worker is not None and bool(self._worker.readiness()["ready"])

    @property
    def starting(self) -> bool:
        """Whether it is in its first minute, and may become ready yet."""
        recent = time.monotonic() - self._began < SETTLED_AFTER
        return recent and not self.reason and not self.ready

    @property
    def status(self) -> dict[str, Any]:
        """What ``/readyz`` says of it."""
        if self.reason or self._worker is None:
            body: dict[str, Any] = {
                "ready": self.ready,
                "reason": self.reason or "it is being loaded",
            }
        else:
            body = self._worker.readiness()
        if self._again_at is not None:
            body |= {"tries": self.tries, "again_at": iso(self._again_at)}
        return body

    def look(self) -> None:
        """See whether it is held no more; called once a second."""
        if not self.reason or not self.ready:
            self._ready_since = None
            return
        self._ready_since = self._ready_since or time.monotonic()
        if time.monotonic() - self._ready_since >= STEADY_AFTER:
            log.warning("%s is held no more: it runs", self.name)
            self.reason = ""
            self._shared.metrics.flow_held.labels(self.name).set(0)

    def refresh(self) -> None:
        """Bring its gauges up to date."""
        if self._worker is not None:
            self._worker.refresh()

    @property
    def ending_for(self) -> float:
        """Seconds since its end began that has not come yet; 0 while it runs, or rests."""
        since = None if self._worker is None else self._worker.ending_since
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    async def _run_once(self, stop: asyncio.Event) -> None:
        # Beside the event loop: a flow's file may do anything, and pages and other flows go on.
        prepared = await asyncio.to_thread(self._prepare)
        self._named(prepared.flow.name)
        if prepared.backbone != self._shared.asked:
            raise ConfigurationError(
                "the environment's addresses or settings have changed, and the other flows of this "
                "process run with those from before: start it again"
            )
        worker = Worker(
            *(prepared.flow, prepared.params, self._shared.backbone),
            self._options,
            prepared.alerts,
            self._shared,
        )
        self._worker = worker
        try:
            await worker.run(stop)
        finally:
            self._worker = None

    def _named(self, name: str) -> None:
        """The flow could be loaded, maybe for the first time, or under another name than before."""
        metrics = self._shared.metrics
        if name != self.name:
            metrics.forget_gauges(self.name)
        self.name = name
        FLOW.set(name)
        metrics.flow_held.labels(name).set(bool(self.reason))

    def _hold(self, failure: Exception, pause: float) -> None:
        known = isinstance(failure, ConfigurationError | KafkaUnavailable)
        said = str(failure) if known else f"{type(failure).__name__}: {failure}"
        # What nobody foresaw may quote anything, and everybody can read the page.
        shown = said if known else f"{type(failure).__name__}; the log says more"
        self.reason, self._again_at = without_secrets(shown)[:MAX_REASON], time.time() + pause
        if not FLOW.get():
            FLOW.set(self.name)
        # What a person has to mend needs no traceback, least of all at each try.
        log.error(
            "the flow is held, others run; again in %.0f s: %s",
            pause,
            said[:MAX_REASON],
            exc_info=None if known else failure,
        )
        self._shared.metrics.forget_gauges(self.name)
        self._shared.metrics.flow_held.labels(self.name).set(1)
