"""The servers of a run: a stack of its own on free ports, thrown away afterwards."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.system import ROOT
from benchmarks.topics import Topics
from trunkline.local.ports import free_port
from trunkline.local.stack import Stack
from trunkline.params import PARAMS_PREFIX


@dataclass(frozen=True)
class Servers:
    """Where the servers are, and a folder for logs."""

    bootstrap: str
    registry: str
    postgres: str
    pids: dict[str, int]
    logs: Path
    topics: Topics
    mariadb: str = ""

    def environment(self, **more: str) -> dict[str, str]:
        """What a Trunkline worker or a peer is told."""
        return {
            "TRUNKLINE_BOOTSTRAP": self.bootstrap,
            "TRUNKLINE_REGISTRY": self.registry,
            "BOOTSTRAP": self.bootstrap,
            "REGISTRY": self.registry,
            "PYTHONPATH": str(ROOT),
            **more,
            **{PARAMS_PREFIX + name: text for name, text in more.items()},  # our flows' parameters
        }


@contextmanager
def servers(*, postgres: bool = False, mariadb: bool = False) -> Iterator[Servers]:
    """Start Kafka, the registry and, on request, databases."""
    home = Path(tempfile.mkdtemp(prefix="trunkline-bench-"))
    home.chmod(0o755)  # PostgreSQL runs as another user when we are root
    free = {"kafka_port": 0, "registry_port": 0, "postgres_port": 0, "mariadb_port": 0}
    databases = {"postgres": postgres, "mariadb": mariadb}
    try:
        with Stack(home, **databases, kafka_heap="1g", **free, report=_tell) as stack:
            where = stack.endpoints
            yield Servers(
                bootstrap=where.bootstrap,
                registry=where.registry,
                postgres=where.postgres or "",
                pids={server.name: server.pid or 0 for server in stack.status()},
                logs=ROOT / ".trunkline" / "bench-logs",
                topics=Topics(where.bootstrap),
                mariadb=where.mariadb or "",
            )
    finally:
        shutil.rmtree(home, ignore_errors=True)


def trunkline(flow: str, *options: str) -> list[str]:
    """The command of a worker of ``benchmarks/flows/<flow>.py``, with its health pages on."""
    file = ROOT / "benchmarks" / "flows" / f"{flow}.py"
    port = str(free_port())
    return [sys.executable, "-m", "trunkline.cli", "run", str(file), "--port", port, *options]


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr)
