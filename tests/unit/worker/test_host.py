"""A process of several flows: what fails holds one of them, and how the process stands then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from trunkline import ConfigurationError, Flow, Params
from trunkline.logs import JsonFormatter, TextFormatter
from trunkline.params import Backbone
from trunkline.streams.alerts.settings import AlertSettings
from trunkline.streams.deliver.backpressure import MAX_OPEN
from trunkline.streams.worker import hosted_flow
from trunkline.streams.worker.host import Host
from trunkline.streams.worker.hosted_flow import HostedFlow, Prepared
from trunkline.streams.worker.process import Options
from trunkline.streams.worker.shared import Shared, fetch_share, open_share
from trunkline.tasks import inheriting

BACKBONE = Backbone(bootstrap="127.0.0.1:1")
log = logging.getLogger("trunkline.test")


class Steps:
    """What the workers of a test do, by their flows' names; a worker begins with the next one."""

    def __init__(self) -> None:
        self.of: dict[str, list[Callable[[FakeWorker], Coroutine[Any, Any, None]]]] = {}
        self.running: dict[str, FakeWorker] = {}


class FakeWorker:
    """A worker without Kafka."""

    steps: Steps

    def __init__(self, flow: Flow[Any], *arguments: object) -> None:
        self.flow = flow
        self.is_ready = False
        self.ending_since: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self.steps.running[self.flow.name] = self
        does = self.steps.of.get(self.flow.name, [])
        await (does.pop(0) if does else runs)(self)

    def readiness(self) -> dict[str, Any]:
        return {"ready": self.is_ready, "held": []}

    def refresh(self) -> None:
        pass


async def runs(worker: FakeWorker) -> None:
    worker.is_ready = True
    await worker.stop.wait()


async def is_starting(worker: FakeWorker) -> None:
    await worker.stop.wait()


async def breaks(worker: FakeWorker) -> None:
    raise RuntimeError("no such thing")


async def is_refused(worker: FakeWorker) -> None:
    raise ConfigurationError("the table is not there: make it")


async def never_ends(worker: FakeWorker) -> None:
    worker.ending_since = asyncio.get_running_loop().time() - 1000
    await asyncio.Event().wait()


async def takes_all_memory(worker: FakeWorker) -> None:
    raise MemoryError


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    FakeWorker.steps = Steps()
    monkeypatch.setattr(hosted_flow, "Worker", FakeWorker)
    monkeypatch.setattr(hosted_flow, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(hosted_flow, "STEADY_AFTER", 0.0)
    monkeypatch.setattr("trunkline.streams.worker.host.WATCH_INTERVAL", 0.01)
    return FakeWorker.steps


class Scene:
    """A host of flows ``orders`` and ``crm``, and how it stands."""

    def __init__(self, *more: str) -> None:
        self.shared = Shared(BACKBONE, 2)
        self.flows = [self._flow(name) for name in ("orders", "crm", *more)]
        self.left: list[int] = []
        self.host = Host(self.flows, Options(drain=0.0), self.shared, self.left.append)
        self.stop = asyncio.Event()

    def _flow(self, name: str) -> HostedFlow:
        prepared = Prepared(Flow(name, Params), Params(), BACKBONE, AlertSettings())
        return HostedFlow(f"flows/{name}.py", lambda: prepared, Options(), self.shared)

    def held(self, flow: str) -> float:
        """The metric."""
        value = self.shared.metrics.registry.get_sample_value("trunkline_flow_held", {"flow": flow})
        return value or 0.0

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110 - of a scene without an event for it
                await asyncio.sleep(0.005)

    def play(self, script: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
        async def inside() -> None:
            running = asyncio.create_task(self.host.run(self.stop))
            await script(self)
            self.stop.set()
            await running

        asyncio.run(inside())


def test_what_fails_is_held_and_the_others_run(
    steps: Steps, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_flow, "FIRST_PAUSE", 60.0)
    steps.of["crm"] = [is_refused]

    async def script(scene: Scene) -> None:
        await scene.until(lambda: scene.host.readiness()[0] == 200)
        _, body = scene.host.readiness()
        assert body["held_flows"] == ["crm"]
        assert body["flows"]["orders"] == {"ready": True, "held": []}
        crm = body["flows"]["crm"]
        assert (crm["ready"], crm["tries"]) == (False, 1)
        assert crm["reason"] == "the table is not there: make it"
        assert crm["again_at"]
        assert (scene.held("crm"), scene.held("orders")) == (1, 0)

    Scene().play(script)
    said = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    again = "the flow is held, others run; again in 60 s: the table is not there: make it"
    assert said == [again]


def test_it_is_tried_again_with_longer_pauses_and_runs_when_it_is_mended(
    steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    steps.of["crm"] = [breaks, breaks, is_refused]

    async def script(scene: Scene) -> None:
        await scene.until(lambda: scene.host.readiness()[1]["flows"].get("crm", {}).get("ready"))
        await scene.until(lambda: not scene.host.readiness()[1]["held_flows"])
        assert scene.held("crm") == 0
        assert scene.host.readiness()[0] == 200

    Scene().play(script)
    pauses = [float(r.args[0]) for r in caplog.records if r.levelname == "ERROR" and r.args]  # type: ignore[index,arg-type]
    assert pauses == [0.01, 0.02, 0.04]
    traced = [bool(r.exc_info) for r in caplog.records if r.levelname == "ERROR"]
    assert traced == [True, True, False]  # what a person must mend needs no traceback
    assert "crm is held no more: it runs" in caplog.messages


def test_a_flow_that_is_ready_for_a_moment_only_stays_held(
    steps: Steps, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that its system refuses, after all consumers have joined their groups."""
    monkeypatch.setattr(hosted_flow, "STEADY_AFTER", 60.0)
    caplog.set_level("WARNING")

    async def is_ready_and_refused(worker: FakeWorker) -> None:
        worker.is_ready = True
        await asyncio.sleep(0.05)
        raise ConfigurationError("no such slot")

    steps.of["crm"] = [is_ready_and_refused] * 3

    async def script(scene: Scene) -> None:
        await scene.until(lambda: scene.flows[1].tries == 4 and scene.flows[1].ready)
        await asyncio.sleep(0.05)
        assert scene.host.readiness()[1]["held_flows"] == ["crm"]
        assert scene.host.readiness()[1]["flows"]["crm"]["ready"]
        assert scene.held("crm") == 1

    Scene().play(script)
    assert not [line for line in caplog.messages if "held no more" in line]


def test_a_process_is_not_ready_while_a_flow_starts_or_none_runs(steps: Steps) -> None:
    steps.of["crm"] = [is_starting]

    async def starting(scene: Scene) -> None:
        await scene.until(lambda: scene.flows[0].ready)
        assert scene.host.readiness()[0] == 503
        scene.flows[1]._began -= hosted_flow.SETTLED_AFTER  # it does not become ready: told alone
        assert scene.host.readiness()[0] == 200
        steps.running["orders"].is_ready = False
        assert scene.host.readiness()[0] == 503

    Scene().play(starting)


def test_a_flow_that_fails_and_does_not_end_ends_the_process(
    steps: Steps, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients keep its partitions: no other worker would get them."""
    monkeypatch.setattr("trunkline.streams.worker.host.END_PATIENCE", 0.1)
    steps.of["crm"] = [never_ends]
    scene = Scene()

    async def script(scene: Scene) -> None:
        await scene.until(lambda: scene.left)

    scene.play(script)
    assert scene.left == [1]
    assert steps.running["orders"].stop.is_set()  # the others were ended before
    assert "crm failed and cannot be ended: the process ends instead" in caplog.messages


def test_what_is_the_processs_own_trouble_ends_it(steps: Steps) -> None:
    steps.of["crm"] = [takes_all_memory]

    async def script(scene: Scene) -> None:
        await scene.until(
            lambda: "orders" in steps.running and steps.running["orders"].stop.is_set()
        )

    with pytest.raises(MemoryError):
        Scene().play(script)


def test_another_backbone_than_that_of_the_others_is_refused(steps: Steps) -> None:
    async def script(scene: Scene) -> None:
        await scene.until(lambda: scene.flows[1].reason)
        assert "start it again" in scene.flows[1].reason

    scene = Scene()
    other = Backbone(bootstrap="127.0.0.1:2")
    prepared = Prepared(Flow("crm", Params), Params(), other, AlertSettings())
    scene.flows[1]._prepare = lambda: prepared
    scene.play(script)


def test_each_line_names_its_flow_also_from_a_thread(
    steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[tuple[str, str]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((JsonFormatter().format(record), TextFormatter().format(record)))

    async def speaks(worker: FakeWorker) -> None:
        log.warning("from %s", worker.flow.name)
        await asyncio.to_thread(log.warning, "pool of %s", worker.flow.name)
        work = inheriting(lambda: log.warning("thread of %s", worker.flow.name))
        await asyncio.get_running_loop().run_in_executor(None, work)
        await runs(worker)

    steps.of = {"orders": [speaks], "crm": [speaks]}
    log.addHandler(handler := Lines())
    try:

        async def script(scene: Scene) -> None:
            await scene.until(lambda: scene.host.readiness()[0] == 200)

        Scene().play(script)
    finally:
        log.removeHandler(handler)
    assert len(lines) == 6
    for line, text in lines:
        name = "orders" if "orders" in line else "crm"
        assert f'"flow":"{name}"' in line
        assert f" {name} [" in text


def test_memory_is_divided_and_no_flow_gets_more_than_alone() -> None:
    assert open_share(2) == MAX_OPEN
    assert open_share(50) == 2_000
    assert open_share(1_000) == 500
    assert fetch_share(BACKBONE, 50).kafka == {"queued.max.messages.kbytes": "1024"}
    own = Backbone(kafka={"queued.max.messages.kbytes": "4096"})
    assert fetch_share(own, 50).kafka["queued.max.messages.kbytes"] == "4096"
