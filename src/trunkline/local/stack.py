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
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from trunkline.local import artifacts
from trunkline.local.disk import full_disk_explained
from trunkline.local.gateway import Gateway
from trunkline.local.kafka import Kafka
from trunkline.local.ports import free_port, require_free
from trunkline.local.postgres import Postgres
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
from trunkline.local.supervisor import Supervisor

__all__ = ["Endpoints", "Running", "Stack", "StackError", "Status", "inspect", "running"]


class Stack:
    """Real servers with their data under ``home``; a context manager.

    A port of 0 means any free one. ``report`` is told, in words, what happens to a server. A stack
    starts once; to start it again, make another one on the same home. ``gateway``: flow files whose
    operations a gateway serves to the clients in ``access``.
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
        gateway: Sequence[str] = (),
        gateway_port: int = 8080,
        access: Path = Path("access.toml"),
        kafka_heap: str = "512m",
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.home = home.absolute()
        kafka = Kafka(self.home, kafka_port or free_port(), kafka_heap)
        servers: list[Server] = [kafka]
        servers += [Registry(self.home, registry_port or free_port(), kafka.address)]
        servers += [Postgres(self.home, postgres_port or free_port())] if postgres else []
        servers += [_mariadb(self.home, mariadb_port or free_port())] if mariadb else []
        if gateway:
            servers.append(
                Gateway(
                    *(self.home, gateway_port or free_port(), gateway, access),
                    bootstrap=kafka.address,
                    registry=servers[1].address,
                )
            )
        self._servers = servers
        self._supervisor = Supervisor(servers, self._publish, report)
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._supervise, name="stack", daemon=True)

    @property
    def endpoints(self) -> Endpoints:
        """Where the servers listen: known from the beginning, whether they are up or not."""
        where = {server.name: server.address for server in self._servers}
        postgres, mariadb = where.get("postgres"), where.get("mariadb")
        return Endpoints(where["kafka"], where["registry"], postgres, mariadb, where.get("gateway"))

    def status(self) -> list[Status]:
        """Each server as it was last seen, in the order in which they start. Any thread may ask."""
        return self._supervisor.status()

    def download(self) -> None:
        """Fill the cache, with progress bars; ``start`` does so too. Raises ArtifactError."""
        artifacts.fetch(*(server.bundle for server in self._servers if server.bundle))

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
                self._publish(self.status())
                for server in self._servers:
                    require_free(server.name, server.port)
                self.download()
                self._supervisor.run(self._stopping, self._settled)
            finally:
                withdraw(self.home)

    def _publish(self, servers: Sequence[Status]) -> None:
        publish(self.home, self.endpoints, servers)


def _mariadb(home: Path, port: int) -> Server:
    from trunkline.local.mariadb import MariaDB

    return MariaDB(home, port)
