"""One supervised child process: started, probed, stopped, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trunkline.errors import TrunklineError
from trunkline.local import disk

LAUNCHER = str(Path(__file__).with_name("launch.py"))
POLL_SECONDS = 0.05


class ProcessError(TrunklineError):
    """A child process did not start, or does not stay up; the message has the end of its log."""


@dataclass(frozen=True)
class Command:
    """How to run a server.

    ``ready`` answers whether the server serves; it may raise OSError for "not yet".
    ``stop`` asks the server for an orderly end; ``death`` is what it gets when the supervisor dies.
    ``user``: whom it becomes (needs root), or "" to stay.
    """

    name: str
    arguments: tuple[str, ...]
    log: Path
    ready: Callable[[int], bool]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    stop: signal.Signals = signal.SIGTERM
    death: signal.Signals = signal.SIGKILL
    ready_seconds: float = 90.0
    stop_seconds: float = 20.0


class Child:
    """A running server. On Linux it dies with the *thread* that made it: keep that one alive."""

    def __init__(self, command: Command) -> None:
        """Start it; does not wait. Raises OSError if it cannot be started at all."""
        self.command = command
        self._process = _spawn(command)
        self._deadline = time.monotonic() + command.ready_seconds

    @property
    def pid(self) -> int:
        """Its process id, and that of its group; it stays the same when the child has ended."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet; asking takes note of an end, and leaves no zombie."""
        return self._process.poll() is None

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = self._process.poll()
        if code is None:
            return "is running"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def is_ready(self) -> bool:
        """Whether it serves now. Raises ProcessError if it ended, or takes too long to start."""
        if not self.alive:
            raise ProcessError(f"{self.command.name} {self.ending} at start{ending(self.command)}")
        if time.monotonic() > self._deadline:
            seconds = self.command.ready_seconds
            raise ProcessError(
                f"{self.command.name} is not ready after {seconds:.0f} s{ending(self.command)}"
            )
        try:
            return self.command.ready(self.pid)
        except OSError:
            return False

    def wait_ready(self) -> None:
        """Block until it serves. Raises ProcessError as ``is_ready``."""
        while not self.is_ready():
            time.sleep(POLL_SECONDS)

    def request_stop(self) -> None:
        """Ask for an orderly end; does not wait."""
        if self.alive:
            self._process.send_signal(self.command.stop)

    def stop(self) -> None:
        """End it and all of its process group: orderly, then by SIGKILL."""
        self.request_stop()
        try:
            self._process.wait(self.command.stop_seconds)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._process.wait()

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def run(command: Command, seconds: float = 120.0) -> None:
    """Run a preparation to its end, as the same user. Raises ProcessError if it fails."""
    process = _spawn(command)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise ProcessError(
            f"{command.name} failed (exit code {process.returncode}){ending(command)}"
        )


def ending(command: Command, lines: int = 15) -> str:
    """The end of a failed command's log, for a message about it."""
    last = command.log.read_text("utf-8", "replace").splitlines()[-lines:]
    return f".{disk.hint(command.cwd)} Its log {command.log} ends:\n" + "\n".join(last)


def dying_with_us(arguments: Sequence[str], death: signal.Signals, *, user: str = "") -> list[str]:
    """The command line of a child that gets ``death`` when the thread that starts it ends, even
    by ``kill -9`` of the process. On Linux; elsewhere it is just started. ``user``: as Command's.
    """
    options = (str(os.getpid()), str(int(death)), user)
    return [sys.executable, "-I", "-S", LAUNCHER, *options, *arguments]


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with open(command.log, "ab") as log:
        return subprocess.Popen(
            dying_with_us(command.arguments, command.death, user=command.user),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=command.cwd,
            env={**os.environ, **command.environment},
            start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor alone
        )
