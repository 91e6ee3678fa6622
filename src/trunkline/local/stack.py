"""The local stack: Kafka, the schema registry and, on request, databases, as one thing.

    with Stack(Path(".trunkline"), postgres=True) as stack:
        print(stack.endpoints.bootstrap)

One thread starts, watches and stops the servers, because the kernel ends a child with the thread
that made it. A server that dies is started again on its data. While the stack runs it holds a lock
on its home, and ``stack.json`` there tells other programs where the servers are.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from trunkline.local import artifacts
from trunkline.local.disk import full_disk_explained
from trunkline.local.kafka import Kafka
from trunkline.local.ports import free_port, require_free
from trunkline.local.postgres import Postgres
from trunkline.local.process import POLL_SECONDS, Child, ProcessError, ending
from trunkline.local.registry import Registry
from trunkline.local.server import Server
from trunkline.local.state import (
    Endpoints,
    Running,
    StackError,
    Status,
    held,
    inspect,
    publish,
    running,
    withdraw,
)

__all__ = ["Endpoints", "Running", "Stack", "StackError", "Status", "inspect", "running"]

RESTARTS, RESTARTS_SECONDS = 5, 600.0
WATCH_SECONDS = 0.25


@dataclass
class _Member:
    server: Server
    child: Child | None = None
    up: bool = False
    restarts: int = 0
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS + 1))

    @property
    def is_dead(self) -> bool:
        """It ran and ended; one that ended at its first start is an error of its own."""
        return self.child is not None and not self.child.alive and (self.up or self.restarts > 0)

    @property
    def is_hopeless(self) -> bool:
        return len(self.deaths) > RESTARTS and self.deaths[-1] - self.deaths[0] < RESTARTS_SECONDS

    @property
    def status(self) -> Status:
        state = "waiting" if self.child is None else "up" if self.up else "starting"
        pid = self.child.pid if self.child else None
        return Status(self.server.name, state, self.server.address, pid, self.restarts)


class Stack:
    """Real servers with their data under ``home``; a context manager.

    A port of 0 means any free one. ``report`` is told, in words, what happens to a server. A stack
    starts once; to start it again, make another one on the same home.
    """

    def __init__(
        self,
        home: Path,
        *,
        kafka_port: int = 9092,
        registry_port: int = 8081,
        postgres: bool = False,
        postgres_port: int = 5432,
        mariadb: bool = False,
        mariadb_port: int = 3306,
        kafka_heap: str = "512m",
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.home = home.absolute()
        kafka = Kafka(self.home, kafka_port or free_port(), kafka_heap)
        servers: list[Server] = [kafka]
        servers += [Registry(self.home, registry_port or free_port(), kafka.address)]
        servers += [Postgres(self.home, postgres_port or free_port())] if postgres else []
        servers += [_mariadb(self.home, mariadb_port or free_port())] if mariadb else []
        self._members = [_Member(server) for server in servers]
        self._report = report
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._supervise, name="stack", daemon=True)

    @property
    def endpoints(self) -> Endpoints:
        where = {member.server.name: member.server.address for member in self._members}
        postgres, mariadb = where.get("postgres"), where.get("mariadb")
        return Endpoints(where["kafka"], where["registry"], postgres, mariadb)

    def status(self) -> list[Status]:
        return [member.status for member in self._members]

    def download(self) -> None:
        """Fill the cache, with progress bars; ``start`` does so too. Raises ArtifactError."""
        artifacts.fetch(*(member.server.bundle for member in self._members))

    def start(self) -> None:
        """Start all servers side by side and wait until they serve.

        Raises StackError, ArtifactError or ProcessError, with nothing left running.
        """
        self.launch()
        try:
            self._settled.wait()
        except BaseException:
            self.stop()
            raise
        self._raise_failure()

    def launch(self) -> None:
        """Begin to start; does not wait."""
        atexit.register(self.stop)  # a program that forgets to stop leaves no server either
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the stack has stopped; True if it has. Raises what made it fail."""
        self._thread.join(seconds)
        self._raise_failure()
        return not self._thread.is_alive()

    def request_stop(self) -> None:
        """Begin to stop; does not wait. May be called by a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop all servers, in order, and wait until they are gone. Safe to call twice."""
        self.request_stop()
        atexit.unregister(self.stop)
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _supervise(self) -> None:
        try:
            with full_disk_explained(self.home, "Free some space, then start again."):
                self._live()
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            self._failure = error
        finally:
            self._settled.set()

    def _live(self) -> None:
        with held(self.home):
            try:
                self._bring_up()
                self._watch()
            finally:
                self._tear_down()

    def _bring_up(self) -> None:
        self._write()
        servers = [member.server for member in self._members]
        for server in servers:
            require_free(server.name, server.port)
        self.download()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.prepare(), servers))
        for member in self._members:
            member.child = Child(member.server.command())
        while not all(member.up for member in self._members) and not self._stopping.is_set():
            self._look()
            self._stopping.wait(POLL_SECONDS)
        self._settled.set()

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            self._look()

    def _look(self) -> None:
        """Notice who came up and who died; write it down."""
        before = self.status()
        for member in self._members:
            if member.child and member.is_dead:
                self._revive(member, member.child)
            elif member.child and not member.up and member.child.is_ready():
                member.up = True
                self._report(f"{member.server.name} is up: {member.server.address}")
        if self.status() != before:
            self._write()

    def _revive(self, member: _Member, dead: Child) -> None:
        name = member.server.name
        member.deaths.append(time.monotonic())
        if member.is_hopeless:
            raise ProcessError(
                f"{name} {dead.ending} again, after {RESTARTS} restarts: giving up"
                f"{ending(dead.command)}"
            )
        self._report(f"{name} {dead.ending}: starting it again with the same data")
        member.up, member.restarts = False, member.restarts + 1
        member.child = Child(member.server.command())

    def _tear_down(self) -> None:
        """Last started, first stopped: the registry still finds Kafka when it says goodbye."""
        withdraw(self.home)
        for member in reversed(self._members):
            if member.child is not None:
                member.child.stop()

    def _write(self) -> None:
        publish(self.home, self.endpoints, self.status())


def _mariadb(home: Path, port: int) -> Server:
    from trunkline.local.mariadb import MariaDB

    return MariaDB(home, port)
