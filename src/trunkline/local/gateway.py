"""The gateway of flows, beside the servers that it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from trunkline.local.process import Command
from trunkline.local.server import Server


class Gateway(Server):
    """``flows``: flow files, or modules; ``access``: the file of clients; ``bootstrap``,
    ``registry``: where the stack's own are, which must be up before it starts."""

    name = "gateway"
    after = ("kafka", "registry")

    def __init__(
        self,
        home: Path,
        port: int,
        flows: Sequence[str],
        access: Path,
        *,
        bootstrap: str,
        registry: str,
    ) -> None:
        super().__init__(home, port)
        self._flows = tuple(flows)
        self._access = access
        self._environment = {"TRUNKLINE_BOOTSTRAP": bootstrap, "TRUNKLINE_REGISTRY": registry}

    @property
    def bundle(self) -> str:
        return ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Its data are in Kafka."""
        self.home.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        options = ("--access", str(self._access.absolute()), "--port", str(self.port))
        return Command(
            name=self.name,
            arguments=(sys.executable, "-m", "trunkline.cli", "gateway", *self._flows, *options),
            log=self.log,
            ready=self._is_ready,
            cwd=Path.cwd(),
            environment=self._environment,
        )

    def _is_ready(self, pid: int) -> bool:
        try:
            return httpx.get(f"{self.address}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False
