"""``trunkline run`` as a process: its steps, its signals, its workers and its log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from engine_kit import PATIENCE, Kit, headers_of, order
from trunkline.local.ports import free_port

FLOW = """
from collections.abc import Sequence
from pathlib import Path

from trunkline import Event, Flow, Params, Rejected
from trunkline.connectors.base import Sink
from trunkline.schemas.commerce import Order


class Env(Params):
    file: str


flow = Flow("{name}", Env)
orders = flow.existing_topic("{name}.orders", Order)


class Lines(Sink[Order]):
    type = Order

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        if events[0].data["status"] == "refused":
            raise Rejected("by the book")
        with self._file.open("a") as file:
            file.write(events[0].id + "\\n")


@flow.destination
def lines(env: Env) -> Lines:
    return Lines(env.file)


@flow.route(orders, to=lines)
def every(order: Event[Order]) -> Order:
    return order.data
"""


FILE = "TRUNKLINE_PARAMS_FILE"
"""The flow's parameter ``file``, as a variable."""


class Project:
    """A flow in a folder of its own, and what runs of it."""

    def __init__(self, kit: Kit, folder: Path, name: str) -> None:
        self.kit, self.folder, self.name = kit, folder, name
        self.file = folder / "delivered"
        (folder / "flow.py").write_text(FLOW.replace("{name}", name))
        self._environment = {
            **os.environ,
            "TRUNKLINE_BOOTSTRAP": kit.backbone.bootstrap,
            "TRUNKLINE_REGISTRY": kit.backbone.registry,
            "TRUNKLINE_PARTITIONS": "2",
        }

    @property
    def delivered(self) -> list[str]:
        return self.file.read_text().split() if self.file.exists() else []

    @property
    def log(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    @contextmanager
    def run(self, *options: str, **parameters: str) -> Iterator[subprocess.Popen[bytes]]:
        """``trunkline run``; its standard error goes to ``log``. Killed at the end, if need be."""
        command = [sys.executable, "-m", "trunkline", "run", "flow.py", *options]
        environment = {**self._environment, FILE: str(self.file), **parameters}
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)
        children: list[psutil.Process] = []
        try:
            yield process
            children = psutil.Process(process.pid).children() if process.poll() is None else []
        finally:
            for left in [process, *children]:
                left.kill()
            process.wait()

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit code after a SIGTERM; no process may be left."""
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        code = process.wait(PATIENCE)
        until(lambda: not any(is_running(child) for child in children), "every process ended")
        return code


def until(happened: Callable[[], object], what: str) -> None:
    """Wait until it has happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not in {PATIENCE:.0f} s: {what}"
        time.sleep(0.05)


def is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def free_ports() -> int:
    """The first of two free ports in a row."""
    while True:
        port = free_port()
        used = {c.laddr.port for c in psutil.net_connections() if c.laddr}
        if port + 1 not in used:
            return port


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


@pytest.fixture
def project(kit: Kit, tmp_path: Path, topic: Callable[[str], str]) -> Project:
    return Project(kit, tmp_path, topic("run"))


def test_it_creates_what_is_missing_delivers_and_ends_in_order(project: Project) -> None:
    """One worker with its pages; the log is JSON, and a line about an event names it."""
    port = free_port()
    with project.run("--port", str(port)) as process:
        until(lambda: is_ready(port), "the worker is ready")
        refused = project.kit.event("k", "bad", order(status="refused"))
        project.kit.produce(f"{project.name}.orders", [refused, project.kit.event("k", "good")])
        until(lambda: project.delivered == ["good"], "delivered")
        assert project.end(process) == 0
    trace_id = dict(refused[2])["traceparent"].decode().split("-")[1]
    about = [line for line in project.log if line.get("event_id") == "bad"]
    assert [(line["level"], line["trace_id"]) for line in about] == [("error", trace_id)]
    assert "by the book" in about[0]["message"]
    assert not [line for line in project.log if line["logger"].startswith(("faust", "mode"))]
    assert not [line for line in project.log if "Starting..." in line["message"]]
    assert "committed" in project.log[-1]["message"]


def test_only_the_steps_that_are_asked_for(project: Project) -> None:
    port = free_port()
    with project.run("--only", "route", "--port", str(port)) as process:
        until(lambda: is_ready(port), "the worker is ready")
        project.kit.produce(f"{project.name}.orders", [project.kit.event("k", "1")])
        until(lambda: project.kit.read(f"{project.name}.lines.inbox"), "routed")
        assert project.end(process) == 0
    (message,) = project.kit.read(f"{project.name}.lines.inbox")
    assert headers_of(message)["ce_id"] == "1"
    assert project.delivered == []


def test_several_workers_have_pages_of_their_own_and_end_together(project: Project) -> None:
    port = free_ports()
    with project.run("--workers", "2", "--port", str(port)) as process:
        until(lambda: is_ready(port) and is_ready(port + 1), "both workers are ready")
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        workers[0].kill()
        until(lambda: len(psutil.Process(process.pid).children()) == 2, "another worker")
        project.kit.produce(
            f"{project.name}.orders", [project.kit.event(f"k{n}", f"{n}") for n in range(20)]
        )
        until(lambda: len(set(project.delivered)) == 20, "all delivered")
        assert project.end(process) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_parent_leaves_no_worker(project: Project) -> None:
    port = free_ports()
    with project.run("--workers", "2", "--port", str(port)) as process:
        until(lambda: is_ready(port) and is_ready(port + 1), "both workers are ready")
        workers = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not any(map(is_running, workers)), "the workers ended")
    assert len([line for line in project.log if "committed" in line["message"]]) == 2


def test_a_missing_parameter_stops_the_start_by_its_name(project: Project) -> None:
    environment = {name: value for name, value in os.environ.items() if name != FILE}
    command = [sys.executable, "-m", "trunkline", "run", "flow.py"]
    ended = subprocess.run(
        command,
        check=False,
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert f"parameter 'file' is missing: set {FILE} or file in [params]" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_step_is_named(project: Project) -> None:
    with project.run("--only", "rout") as process:
        assert process.wait(PATIENCE) == 1
    assert "--only rout: the steps are source, route, deliver" in (
        project.folder / "log"
    ).read_text().replace("\n", " ")


def test_an_idle_worker_is_small(project: Project) -> None:
    port = free_port()
    with project.run("--port", str(port)) as process:
        until(lambda: is_ready(port), "the worker is ready")
        assert psutil.Process(process.pid).memory_info().rss < 250_000_000
