"""One worker process of several flows: a small one costs a few threads then, and no process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from trunkline.streams.worker.faust_app import FlowApp
from trunkline.streams.worker.hosted_flow import HostedFlow
from trunkline.streams.worker.process import JSON, WATCH_INTERVAL, Options
from trunkline.streams.worker.shared import Shared
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

THREADS_A_FLOW = 4
"""That wait for others to end when all flows stop at once; fewer would let them wait in turns."""
COLLECT_EVERY = 60.0
"""Seconds between two collections of what failed flows leave: each stops everything for 0.1 s."""
END_PATIENCE = 60.0
"""Seconds beyond the time to drain that the end of a flow which has failed may take."""


class Host:
    """Runs flows side by side, in one event loop, behind one port of pages.

    A flow that cannot start, or fails, is held and tried again, and all others run. ``run`` returns
    after ``stop`` was asked for and everything under way in all flows is finished and committed;
    it raises what no flow can go on from, as a port that is taken.
    """

    def __init__(
        self,
        flows: Sequence[HostedFlow],
        options: Options,
        shared: Shared,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._flows = flows
        self._options = options
        self._shared = shared
        self._leave = leave
        self._patience = options.drain + END_PATIENCE
        self._was_ready = False
        self._collected_at, self._collected_tries = 0.0, len(flows)

    async def run(self, stop: asyncio.Event) -> None:
        """1. Serve the pages. 2. Run each flow in a task. 3. Look at all of them once a second,
        until ``stop`` is set or the process itself is in trouble. 4. End them, side by side."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(
            ThreadPoolExecutor(THREADS_A_FLOW * len(self._flows), thread_name_prefix="flows")
        )
        app, end = self._pages(), asyncio.Event()
        asked = asyncio.create_task(stop.wait())
        tasks: list[asyncio.Task[None]] = []
        stuck: list[str] = []
        try:
            await app.start()
            tasks += [supervised_task(f.run(end), f"flow {f.name}", app.fail) for f in self._flows]
            ends: set[asyncio.Future[Any]] = {asked, app.failed}
            while not asked.done() and not app.failed.done() and not (stuck := self._stuck):
                await asyncio.wait(
                    ends, timeout=WATCH_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                self._look()
            end.set()
            await asyncio.wait(tasks, timeout=self._patience if stuck else None)
            if stuck:
                self._give_up(stuck)
        finally:
            ended: list[asyncio.Task[Any]] = [*tasks, asked]
            for task in ended:
                task.cancel()
            await asyncio.gather(*ended, return_exceptions=True)
            if self._shared.traces is not None:
                await asyncio.to_thread(self._shared.traces.close)
            await app.stop()
        if app.failed.done():
            raise app.failed.result()

    @property
    def _stuck(self) -> list[str]:
        """The flows that have failed and do not end."""
        return [flow.name for flow in self._flows if flow.ending_for > self._patience]

    def _give_up(self, stuck: list[str]) -> None:
        """End the process, at once, after the other flows have ended well.

        A flow that has failed and does not end keeps its partitions, and nobody else gets them. An
        orderly exit would wait for ever for a thread that hangs in a client.
        """
        names = ", ".join(stuck)
        log.critical("%s failed and cannot be ended: the process ends instead", names)
        self._leave(1)

    def _look(self) -> None:
        for flow in self._flows:
            flow.look()
        self._log_readiness()
        self._collect()

    def _collect(self) -> None:
        """Free what flows that have failed left behind, as producers with their threads.

        A worker hardly ever collects garbage by itself (``cli/run.py``), which suits those that
        make none.
        """
        tries, now = sum(flow.tries for flow in self._flows), time.monotonic()
        if tries > self._collected_tries and now - self._collected_at > COLLECT_EVERY:
            self._collected_at, self._collected_tries = now, tries
            gc.collect()

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """The status and the body of ``/readyz``: ready while a flow is, and none is just starting.

        One flow of fifty that is held must not take the other 49 out of service; and a new process
        must not take the place of an old one before its flows run. When nothing runs it is not
        ready, whatever the reasons are.
        """
        ready = self._ready
        held = sorted(f.name for f in self._flows if f.reason)
        flows = {f.name: f.status for f in self._flows}
        body = {"ready": ready, "held_flows": held, "flows": flows}
        return (200 if ready else 503), body

    @property
    def _ready(self) -> bool:
        return any(f.ready for f in self._flows) and not any(f.starting for f in self._flows)

    def _pages(self) -> FlowApp:
        options = self._options
        app = FlowApp("host", self._shared.metrics, host=options.host, port=options.port)
        # 200 whatever is down: a restart of the worker mends no system.
        app.page("/healthz", lambda: (200, b'{"status":"ok"}', JSON))
        app.page("/readyz", self._readiness_page)
        app.metrics_page(self._refresh)
        return app

    def _readiness_page(self) -> tuple[int, bytes, str]:
        status, body = self.readiness()
        return status, orjson.dumps(body), JSON

    def _refresh(self) -> None:
        for flow in self._flows:
            flow.refresh()

    def _log_readiness(self) -> None:
        if (ready := self._ready) == self._was_ready:
            return
        self._was_ready = ready
        count = sum(bool(flow.reason) for flow in self._flows)
        held = f", {count} held" if count else ""
        running = sum(flow.ready for flow in self._flows)
        pages = f"; health pages at http://{self._options.host}:{self._options.port}"
        said = f"{running} of {len(self._flows)} flows run{held}"
        if ready:
            log.info("ready: %s%s", said, pages if self._options.port else "")
        else:
            log.warning("not ready: %s", said)
