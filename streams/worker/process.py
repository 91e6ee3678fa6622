"""One worker process of a flow: its steps, started and stopped in the right order."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from trunkline import kafka
from trunkline.errors import RegistryUnavailable
from trunkline.kafka.poll_loop import STUCK, PollLoop
from trunkline.masking import without_secrets
from trunkline.params import Backbone, Params
from trunkline.streams.alerts.settings import AlertSettings
from trunkline.streams.deliver.backpressure import MAX_OPEN
from trunkline.streams.deliver.step import DRAIN_TIMEOUT, DeliveryStep
from trunkline.streams.flow.definition import Flow
from trunkline.streams.metrics import HasGauges, Metrics
from trunkline.streams.plan.orphans import require_drained_tiers
from trunkline.streams.plan.topics import required_topics
from trunkline.streams.publish.publishers import published_by, publishers_topic
from trunkline.streams.publish.push_step import PushStep
from trunkline.streams.publish.source_group import SourceGroup
from trunkline.streams.publish.source_step import SourceStep
from trunkline.streams.replay.step import ReplayStep
from trunkline.streams.route.step import RoutingStep
from trunkline.streams.tracing.setup import traces_of
from trunkline.streams.worker.access import AccessMonitor
from trunkline.streams.worker.assembly import Assembly, Step
from trunkline.streams.worker.faust_app import FlowApp
from trunkline.streams.worker.shared import Shared
from trunkline.tasks import backoff, supervised_task, working_for

log = logging.getLogger(__name__)

ROLES = ("source", "route", "deliver")
JSON = "application/json"

WATCH_INTERVAL = 1.0
"""Seconds between two looks at gauges and failures."""

FAILURE_INTERVAL = 0.25
"""As ``WATCH_INTERVAL``, of failures, where a flow has its process for itself."""

THROWN_OUT = 0.6
"""Seconds that the end may take once Kafka lets no consumer of this worker go on: another one has
its partitions, and what is under way is repeated there."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds before Kafka and the registry are asked again that could not be reached."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker runs. ``roles``: which steps. ``port``: of the health pages, None for none.
    ``drain``: seconds after which deliveries under way are cancelled when partitions go; or when it
    stops, counted from the begin of its end, so that the steps before them take of it, too.
    ``max_open``: events of a destination that are read and not completed, at the most."""

    roles: Collection[str] = ROLES
    host: str = "127.0.0.1"
    port: int | None = None
    batch: int = 5000
    drain: float = DRAIN_TIMEOUT
    max_open: int = MAX_OPEN


class Worker:
    """The steps of one flow in this process.

    ``run`` returns after ``stop`` was asked for and everything under way is finished and
    committed, and raises what a step could not go on from. ``shared``: what it has in common with
    the other flows of the process. ``leave``: ends the process at once where an orderly end takes
    too long; nothing does without it. ``ending_since``: when its end began, in the loop's time.
    """

    def __init__(
        self,
        flow: Flow[Any],
        env: Params,
        backbone: Backbone,
        options: Options | None = None,
        alerts: AlertSettings | None = None,
        shared: Shared | None = None,
        leave: Callable[[int], object] | None = None,
    ) -> None:
        self._shared = shared
        self._leave = leave
        self._flow = flow
        self._env = env
        self._backbone = backbone
        self._options = options or Options()
        self._alerts = alerts or AlertSettings()
        self._metrics = shared.metrics if shared else Metrics()
        self._assembly: Assembly | None = None
        self._traces = shared.traces if shared else traces_of(backbone, self._metrics)
        rounds = shared.access if shared else None
        self._access = AccessMonitor(flow, self._options.roles, backbone, rounds)
        self.ending_since: float | None = None
        self._was_ready = False
        self._waits = ""  # why the start does not go on
        self._steps: list[Step] = []
        self._starting: list[asyncio.Task[None]] = []
        self._begun: list[Step] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set, or something fails that nothing here can go on from.

        1. Serve the pages: they tell also of a worker that waits for Kafka.
        2. Wait for Kafka and the registry; create what topics are missing, build the steps.
        3. Begin in a task: a step may wait for its system for hours, and ``stop`` must not.
        4. Look at gauges and failures, once a second, until it is time to end.
        5. End in order: steps, then what they share, then queues and pages.
        """
        options = self._options
        app = FlowApp(self._flow.name, self._metrics, host=options.host, port=options.port)
        self._pages(app)
        try:
            await app.start()
            await self._wait_for_kafka(app, stop)
            self._access.start()
            await app.start_agents()
            self._starting = [supervised_task(self._begin(app), "start", app.fail)]
            await self._watch(stop, app)
        finally:
            self.ending_since = asyncio.get_running_loop().time()
            self._access.stop()
            await self._stop_steps(within=self._time_to_end(app))
            if self._assembly is not None:
                await self._assembly.end()
            if self._traces is not None and self._shared is None:
                await asyncio.to_thread(self._traces.close)
            await app.stop()
        if app.failed.done():
            raise app.failed.result()

    async def _begin(self, app: FlowApp) -> None:
        """Start what the steps share, then the steps, side by side.

        What operators command comes first: a destination that somebody paused must not send for
        the second that the control topic takes.
        """
        if self._assembly is None:  # the worker was stopped before it could start
            return
        await self._assembly.begin()
        await asyncio.gather(*(self._start(step, app) for step in self._steps))

    async def _start(self, step: Step, app: FlowApp) -> None:
        """Start one step; what it cannot go on from ends the worker, which raises it.

        Nothing is routed before the tables have caught up: what a route looks up is never older
        than what this worker, or one before it, has looked up already.
        """
        try:
            tables = self._assembly and self._assembly.tables
            if tables and isinstance(step, RoutingStep | ReplayStep):
                await tables.caught_up()
            with working_for(*_part_of(step)):
                await step.start()
            self._begun.append(step)
        except Exception as failure:  # noqa: BLE001 - it ends the worker
            app.fail(failure)

    def _time_to_end(self, app: FlowApp) -> float:
        """Seconds that what is under way may take at the end; next to none once Kafka has given it
        to another worker. A client that hangs must not keep the process then, either."""
        failure = app.failed.result() if app.failed.done() else None
        if not isinstance(failure, kafka.KafkaFatal):
            return self._options.drain
        if self._leave is not None:
            timer = threading.Timer(THROWN_OUT, self._leave, (1,))
            timer.daemon = True
            timer.start()
        return 0.0

    async def _stop_steps(self, within: float) -> None:
        """Stop sources, then replays and routing, then all deliveries side by side, so that nothing
        new comes to a step that ends. Deliveries take as long as their slowest call of a sink, but
        no longer than ``within`` allows since the end began: SIGKILL counts from there, too."""
        for starting in self._starting:
            starting.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        # One after the other, 40 destinations of which each finishes a call of 30 s would take 20
        # minutes, and Kubernetes kills after its grace period.
        deliveries = [step for step in self._steps if isinstance(step, DeliveryStep)]
        for step in self._steps:
            if step not in deliveries:
                await step.stop()
        since = asyncio.get_running_loop().time() - (self.ending_since or 0.0)
        left = max(0.0, within - since)
        await asyncio.gather(*(step.stop(within=left) for step in deliveries))

    async def _watch(self, stop: asyncio.Event, app: FlowApp) -> None:
        stopped, loop = asyncio.ensure_future(stop.wait()), asyncio.get_running_loop()
        pause, refreshed = WATCH_INTERVAL if self._shared else FAILURE_INTERVAL, 0.0
        while not stopped.done() and not app.failed.done():
            ends: set[asyncio.Future[Any]] = {stopped, app.failed}
            await asyncio.wait(ends, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for failure in self._failures():
                app.fail(failure)
            if loop.time() - refreshed >= WATCH_INTERVAL:
                refreshed = loop.time()
                self.refresh()
                self._log_readiness()
        stopped.cancel()

    def _log_readiness(self) -> None:
        """Say when the worker becomes ready, and when it is not any more."""
        status, body, _ = self._readiness()
        ready = status == 200
        if ready == self._was_ready:
            return
        self._was_ready = ready
        host, port = self._options.host, self._options.port
        if ready:
            pages = f"; health pages at http://{host}:{port}" if port else ""
            log.info("%s is ready: %s%s", self._flow.name, ", ".join(self._options.roles), pages)
        else:
            log.warning("%s is not ready: %s", self._flow.name, body.decode())

    async def _wait_for_kafka(self, app: FlowApp, stop: asyncio.Event) -> None:
        """Make topics, schemas and steps; while Kafka or the registry cannot be reached, again."""
        for pause in backoff(FIRST_PAUSE, LONGEST_PAUSE):
            if stop.is_set():
                return
            try:
                # In threads, as both block: the pages must answer while Kafka is waited for.
                await asyncio.to_thread(self._ensure_topics)
                self._steps = await asyncio.to_thread(self._assembled, app)
                self._waits = ""
                return
            except (kafka.KafkaUnavailable, RegistryUnavailable) as error:
                self._waits = without_secrets(str(error))
                log.warning("the start waits: %s", error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)

    def _ensure_topics(self) -> None:
        # What is there stays as it is: an operator may have given it more partitions.
        specs = required_topics(self._flow, self._backbone.partitions)
        # Where topics are made by hand a flow starts without this one, too: it only warns.
        if "source" in self._options.roles and published_by(self._flow) and self._backbone.create:
            specs.append(publishers_topic())
        names = [spec.name for spec in specs]
        there = kafka.existing_topics(kafka.admin(self._backbone), expected=names)
        file = os.path.relpath(self._flow.place.file)
        made = kafka.ensure_topics(self._backbone, specs, there, flow=file)
        if made:
            log.info("created topics: %s", ", ".join(made))
        if "deliver" in self._options.roles:
            require_drained_tiers(self._backbone, self._flow, there)

    def _assembled(self, app: FlowApp) -> list[Step]:
        if self._assembly is None:
            self._assembly = Assembly(
                *(self._flow, self._env, self._backbone, app, self._metrics, self._alerts),
                drain=self._options.drain,
                max_open=self._options.max_open,
                clients=self._shared.control if self._shared else None,
                traces=self._traces,
            )
        return self._assembly.steps(self._options.roles, batch=self._options.batch)

    def _reason(self) -> str:
        """What keeps this worker from its work, and is for a person to mend; "" if nothing."""
        stuck = [intake.name for intake in self._intakes() if intake.stuck]
        told = f"nothing was polled for {STUCK:.0f} s: {', '.join(stuck)}" if stuck else ""
        forbidden = next(filter(None, (getattr(s, "forbidden", "") for s in self._steps)), "")
        return self._waits or self._access.reason or forbidden or told

    def _failures(self) -> list[BaseException]:
        parts: list[object] = [self._access, *self._steps, *self._intakes()]
        parts += self._assembly.parts if self._assembly is not None else []
        found = [getattr(part, "failure", None) for part in parts]
        return [failure for failure in found if failure is not None]

    def _intakes(self) -> list[PollLoop | SourceGroup]:
        # Sources have one between them.
        found = dict.fromkeys(getattr(step, "intake", None) for step in self._steps)
        return [intake for intake in found if isinstance(intake, PollLoop | SourceGroup)]

    def _pages(self, app: FlowApp) -> None:
        # 200 whatever is down: a restart of the worker mends no system.
        app.page("/healthz", lambda: (200, b'{"status":"ok"}', JSON))
        app.page("/readyz", self._readiness)
        app.metrics_page(self.refresh)

    def refresh(self) -> None:
        """Bring the gauges of the steps up to date."""
        for step in self._steps:
            if isinstance(step, HasGauges):
                step.refresh()

    def _readiness(self) -> tuple[int, bytes, str]:
        body = self.readiness()
        return (200 if body["ready"] else 503), orjson.dumps(body), JSON

    def readiness(self) -> dict[str, Any]:
        """What the page says: ``ready``, ``held``, and a ``reason`` that is for a person to mend.

        Ready when every consumer has joined its group, with or without partitions; but for those
        of destinations that are down already: that is no reason to take a worker out of service."""
        deliveries = [step for step in self._steps if isinstance(step, DeliveryStep)]
        down = [delivery for delivery in deliveries if delivery.open_failure]
        awaited = [step for step in self._steps if step not in down]
        # Before Kafka was reached there are no steps yet, and all() of none is true.
        ready = bool(self._starting) and all(step in self._begun for step in awaited)
        down_intakes = [delivery.intake for delivery in down]
        ready = ready and all(i.ready for i in self._intakes() if i not in down_intakes)
        reason = self._reason()
        ready = ready and self._access.seen and not reason
        sending = [step for step in self._steps if isinstance(step, DeliveryStep | SourceStep)]
        held = [step.name for step in sending if step.held]
        for routing in self._steps:
            if isinstance(routing, RoutingStep):
                held += map(str, routing.held)
        body: dict[str, Any] = {"ready": ready, "held": held}
        if reason:
            body["reason"] = reason
        if self._assembly is not None and self._assembly.tables is not None:
            body["reading"] = self._assembly.tables.behind
        return body


def _part_of(step: Step) -> tuple[str, str]:
    """Whose work a step is, for its log lines."""
    if isinstance(step, DeliveryStep):
        return "destination", step.name
    if isinstance(step, SourceStep | PushStep):
        return "source", step.name
    return "step", "route" if isinstance(step, RoutingStep | ReplayStep) else "table"
