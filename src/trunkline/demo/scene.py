"""Everything that must run for the demo, as processes of their own; stopped in any case."""

from __future__ import annotations

import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

import trunkline
from trunkline.access.file import AccessEditor
from trunkline.access.keys import new_key
from trunkline.demo.airport import Airport, make_database
from trunkline.demo.mart import AIRPORT_ROWS, Mart, Table
from trunkline.errors import ConfigurationError
from trunkline.local.ports import free_port
from trunkline.local.process import Child, Command
from trunkline.local.server import reachable_place
from trunkline.local.stack import Endpoints, StackError, inspect

ROOT = Path(trunkline.__file__).parents[2]
FLOW = Path("examples", "airport.py")
TOKEN = os.environ.get("TRUNKLINE_PARAMS_NOTICES_TOKEN", "demo")
"""What the staff's notices come with: the environment's, so that a test can look for it."""
PASSWORD = os.environ.get("PGPASSWORD", "")
"""PostgreSQL's, likewise; the demo's own takes any."""
_MARK = "this is a demo's home"
_SECONDS = 10.0


class Api:
    """An HTTP API of the demo, seen from outside."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def count(self) -> int:
        """How many different messages came."""
        return int(get(f"{self.url}/count"))

    def fail(self, seconds: float) -> None:
        """Answer 503 for so long."""
        body = str(seconds).encode()
        with urllib.request.urlopen(f"{self.url}/outage", body, timeout=_SECONDS):
            pass

    def refused(self) -> int:
        """How many requests came while it failed."""
        return int(get(f"{self.url}/refused"))

    def arrivals(self) -> list[tuple[float, str, dict[str, Any]]]:
        """All messages: the moment, the idempotency key, the body."""
        return [(moment, key, body) for moment, key, body in get(f"{self.url}/arrivals")]


@dataclass
class Scene:
    """What the play needs to know of what runs. ``pages``: the workers' health pages."""

    airport: Airport
    source: Table
    mart: Mart
    operations: Api
    board: Api
    notices: str
    gateway: tuple[str, str]
    """The gateway's URL, and the desk's key."""
    workers: list[Child]
    pages: list[str]

    def check(self) -> None:
        """Raises ProcessError if a worker has ended, with the end of its log."""
        for worker in self.workers:
            if not worker.alive:
                worker.is_ready()

    def stop_workers(self) -> None:
        """Let the workers finish what is under way, then end them."""
        for worker in self.workers:
            worker.request_stop()
        for worker in self.workers:
            worker.stop()


@contextmanager
def scene(home: Path, servers: Endpoints, key: str) -> Iterator[Scene]:
    """The databases and the destinations. The workers come with ``started_workers``. ``key``: the
    desk's, see ``desk_key``."""
    assert servers.postgres is not None
    assert servers.gateway is not None
    with ExitStack() as running:
        ports = [free_port() for _ in range(2)]
        for name, port in zip(("operations", "board"), ports, strict=True):
            _start(running, _receiver(home, name, port)).wait_ready()
        airport = make_database(servers.postgres, "airport")
        mart = make_database(servers.postgres, "mart")
        yield Scene(
            airport=running.enter_context(Airport(airport)),
            source=running.enter_context(Table(airport, AIRPORT_ROWS)),
            mart=running.enter_context(Mart(mart)),
            operations=Api(ports[0]),
            board=Api(ports[1]),
            notices=f"http://127.0.0.1:{free_port()}/notices",
            gateway=(servers.gateway, key),
            workers=[],
            pages=[],
        )


@contextmanager
def started_workers(
    scene: Scene, home: Path, servers: Endpoints, count: int
) -> Iterator[Sequence[Child]]:
    """``trunkline run examples/airport.py`` in so many processes, all of them ready."""
    environment = _environment(scene, servers)
    with ExitStack() as running:
        for number in range(count):
            port = free_port()
            command = _worker(home, f"worker-{number + 1}", port, environment)
            scene.workers.append(_start(running, command))
            scene.pages.append(f"http://127.0.0.1:{port}")
        for worker in scene.workers:
            worker.wait_ready()
        yield scene.workers


def clear(home: Path) -> None:
    """Make the home empty, as each demo begins with nothing.

    Raises StackError while a demo runs on it, ConfigurationError for a folder of something else.
    """
    if inspect(home) is not None:
        raise StackError(f"a demo already runs on {home}; `trunkline down --home {home}` stops it")
    mark = home / "demo"
    if home.exists() and any(home.iterdir()) and not mark.exists():
        raise ConfigurationError(
            f"{home} is not empty and was not made by a demo, which would empty it: "
            "name another folder with --home"
        )
    shutil.rmtree(reachable_place((home / "postgres").absolute()), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    mark.write_text(_MARK, "utf-8")


def desk_key(home: Path) -> tuple[Path, str]:
    """The file of the gateway's clients, and the key of the one that is in it."""
    file, key = home / "access.toml", new_key()
    AccessEditor(file).add_key("desk", key, now=datetime.now(UTC))
    AccessEditor(file).allow("desk", "operations/*")
    return file, key.text


def require_flow() -> None:
    """Raises ConfigurationError where the example is not: outside of a clone."""
    if not (ROOT / FLOW).exists():
        raise ConfigurationError(
            f"there is no {FLOW} in {ROOT}: the demo runs in a clone of Trunkline's repository"
        )


def get(url: str) -> Any:
    """The JSON at a URL. Raises OSError."""
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
        return orjson.loads(answer.read())


def _start(running: ExitStack, command: Command) -> Child:
    child = Child(command)
    running.callback(child.stop)
    return child


def _receiver(home: Path, name: str, port: int) -> Command:
    module = ("-m", "trunkline.demo.receiver", str(port))
    return _command(home, name, module, f"http://127.0.0.1:{port}/count", {})


def _worker(home: Path, name: str, port: int, environment: dict[str, str]) -> Command:
    module = ("-m", "trunkline.cli", "run", str(FLOW), "--port", str(port))
    return _command(home, name, module, f"http://127.0.0.1:{port}/readyz", environment)


def _command(
    home: Path, name: str, arguments: tuple[str, ...], page: str, environment: dict[str, str]
) -> Command:
    return Command(
        name=name,
        arguments=(sys.executable, *arguments),
        log=home / f"{name}.log",
        ready=lambda pid: get(page) is not None,
        cwd=ROOT,
        environment=environment,
        stop_seconds=60,
    )


def _environment(scene: Scene, servers: Endpoints) -> dict[str, str]:
    """The parameters of ``examples/airport.py`` and of the backbone."""
    postgres = str(servers.postgres).rpartition("/")[0]
    if PASSWORD:
        postgres = postgres.replace("@", f":{quote(PASSWORD, safe='')}@")
    return {
        "TRUNKLINE_BOOTSTRAP": servers.bootstrap,
        "TRUNKLINE_REGISTRY": servers.registry,
        "TRUNKLINE_PARAMS_AIRPORT_DSN": f"{postgres}/airport",
        "TRUNKLINE_PARAMS_MART_URL": f"{postgres}/mart",
        "TRUNKLINE_PARAMS_OPERATIONS_URL": scene.operations.url,
        "TRUNKLINE_PARAMS_BOARD_URL": scene.board.url,
        "TRUNKLINE_PARAMS_NOTICES_PORT": scene.notices.split(":")[2].partition("/")[0],
        "TRUNKLINE_PARAMS_NOTICES_TOKEN": TOKEN,
    }
