"""What a running stack leaves in its home for other programs: a held lock, and ``stack.json``."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from trunkline.errors import TrunklineError
from trunkline.local.process import POLL_SECONDS


class StackError(TrunklineError):
    """The stack cannot start, or does not stay up."""


@dataclass(frozen=True)
class Endpoints:
    """Where the servers of a stack listen; None: not part of it."""

    bootstrap: str
    registry: str
    postgres: str | None = None
    mariadb: str | None = None
    gateway: str | None = None


@dataclass(frozen=True)
class Status:
    """One server, now. ``state``: ``waiting``, ``starting`` or ``up``."""

    name: str
    state: str
    address: str
    pid: int | None = None
    restarts: int = 0


@dataclass(frozen=True)
class Running:
    """A stack that another process supervises."""

    pid: int
    ready: bool
    endpoints: Endpoints
    servers: tuple[Status, ...]


def publish(home: Path, endpoints: Endpoints, servers: Sequence[Status]) -> None:
    """Write what ``inspect`` reads; ready means that all servers are up."""
    ready = all(server.state == "up" for server in servers)
    state = Running(os.getpid(), ready, endpoints, tuple(servers))
    new = home / "stack.json.new"
    new.write_text(json.dumps(asdict(state), indent=1), "utf-8")
    new.replace(home / "stack.json")


def withdraw(home: Path) -> None:
    """Take back what ``publish`` wrote, if anything: ``inspect`` then finds no stack."""
    (home / "stack.json").unlink(missing_ok=True)


def inspect(home: Path) -> Running | None:
    """The stack that runs on this home, ready or not; None: there is none."""
    if not _is_held(home):
        return None
    try:
        state = json.loads((home / "stack.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    servers = tuple(Status(**server) for server in state["servers"])
    return Running(state["pid"], state["ready"], Endpoints(**state["endpoints"]), servers)


def running(home: Path) -> Endpoints | None:
    """The endpoints of the stack that runs on this home, if all its servers are up."""
    found = inspect(home)
    return found.endpoints if found and found.ready else None


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold the lock of a home. Raises StackError if another stack holds it."""
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "lock", "a") as lock:
        deadline = time.monotonic() + 1  # whoever just looks holds it for an instant
        while not _try_lock(lock.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise StackError(f"a stack already runs on {home}; see `trunkline servers`")
            time.sleep(POLL_SECONDS)
        yield


def _is_held(home: Path) -> bool:
    try:
        with open(home / "lock") as lock:
            return not _try_lock(lock.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
