"""Supervision, with a small real server: what happens when it is killed once, and all the time."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from trunkline.local.process import Command, ProcessError
from trunkline.local.server import Server
from trunkline.local.state import Status
from trunkline.local.supervisor import RESTARTS, Supervisor

SERVE = "import os, pathlib, time; pathlib.Path('serving').write_text(str(os.getpid()));"


class Sleeper(Server):
    """Serves when it has written its pid; ``then``: what it does next."""

    name = "sleeper"
    bundle = address = ""
    then = "time.sleep(600)"

    def prepare(self) -> None:
        (self.home / "prepared").touch()

    def command(self) -> Command:
        program = (sys.executable, "-S", "-c", SERVE + self.then)
        return Command(self.name, program, self.log, self._is_ready, self.home)

    def _is_ready(self, pid: int) -> bool:
        return (self.home / "serving").read_text() == str(pid)


class Running:
    """A supervisor in a thread of its own, and what it told us."""

    def __init__(self, server: Server) -> None:
        self.told: list[str] = []
        self.seen: list[list[Status]] = []
        self.error: ProcessError | None = None
        self.stopping, self.settled = threading.Event(), threading.Event()
        self.supervisor = Supervisor([server], self._see, self.told.append)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    @property
    def status(self) -> Status:
        return self.supervisor.status()[0]

    def _see(self, now: Sequence[Status]) -> None:
        self.seen.append(list(now))

    def _run(self) -> None:
        try:
            self.supervisor.run(self.stopping, self.settled)
        except ProcessError as error:
            self.error = error

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()


@pytest.fixture
def watch() -> Iterator[Callable[[Server], Running]]:
    started: list[Running] = []

    def start(server: Server) -> Running:
        started.append(Running(server))
        return started[-1]

    yield start
    for running in started:
        running.stop()


def test_it_prepares_starts_and_stops(watch: Callable[[Server], Running], tmp_path: Path) -> None:
    running = watch(Sleeper(tmp_path, 0))
    assert running.settled.wait(30)
    assert (tmp_path / "prepared").exists()
    assert [seen[0].state for seen in running.seen] == ["starting", "up"]
    running.stop()
    assert running.status.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(running.status.pid, 0)


def test_a_killed_server_is_started_again(
    watch: Callable[[Server], Running], tmp_path: Path
) -> None:
    running = watch(Sleeper(tmp_path, 0))
    assert running.settled.wait(30)
    killed = running.status.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while (running.status.restarts, running.status.state) != (1, "up"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert running.status.pid != killed
    assert "sleeper was killed by SIGKILL: starting it again with the same data" in running.told


def test_one_that_always_dies_is_given_up(
    watch: Callable[[Server], Running], tmp_path: Path
) -> None:
    class Dying(Sleeper):
        then = "time.sleep(0.2); raise SystemExit('no longer')"

    running = watch(Dying(tmp_path, 0))
    running.thread.join(60)
    assert running.error is not None
    assert f"after {RESTARTS} restarts: giving up" in str(running.error)
    assert "no longer" in str(running.error)
    assert running.status.restarts == RESTARTS


def test_a_server_starts_when_those_that_it_needs_are_up(tmp_path: Path) -> None:
    class Needs(Sleeper):
        name = "needs"
        after = ("sleeper",)

        def command(self) -> Command:
            assert (tmp_path / "one" / "serving").exists(), "the other one is up"
            return super().command()

    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    seen: list[list[str]] = []
    stopping, settled = threading.Event(), threading.Event()
    supervisor = Supervisor(
        [Needs(homes[1], 0), Sleeper(homes[0], 0)],
        lambda now: seen.append([one.state for one in now]),
        lambda text: None,
    )
    thread = threading.Thread(target=supervisor.run, args=(stopping, settled))
    thread.start()
    try:
        assert settled.wait(30)
    finally:
        stopping.set()
        thread.join()
    assert seen[0] == ["waiting", "starting"]
    assert seen[-1] == ["up", "up"]
