"""Apicurio Registry, speaking Confluent's API, with its data in Kafka itself."""

from __future__ import annotations

from pathlib import Path

import httpx

from trunkline.local import artifacts
from trunkline.local.ports import free_port
from trunkline.local.process import Command
from trunkline.local.server import JVM_OPTIONS, Server, java


class Registry(Server):
    """``bootstrap``: the Kafka that keeps the schemas; it may still be starting."""

    name = "registry"

    def __init__(self, home: Path, port: int, bootstrap: str) -> None:
        super().__init__(home, port)
        self.bootstrap = bootstrap

    @property
    def bundle(self) -> str:
        return "registry"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    @property
    def settings(self) -> dict[str, object]:
        return {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": free_port(),  # would be 9000, which others like too
            "quarkus.log.level": "WARN",
            "quarkus.http.access-log.enabled": "false",
            "apicurio.storage.kind": "kafkasql",
            "apicurio.kafkasql.bootstrap.servers": self.bootstrap,
            # It waits out this time (5,000 by default) twice at each start, for snapshots that it
            # makes only on request; without them it reads its whole journal, as it should.
            "apicurio.kafkasql.consumer.poll.timeout": 100,
        }

    def prepare(self) -> None:
        """Unpack the program; its data need nothing."""
        self.home.mkdir(parents=True, exist_ok=True)
        artifacts.unpacked(self.bundle)

    def command(self) -> Command:
        settings = [f"-D{name}={value}" for name, value in self.settings.items()]
        program = artifacts.unpacked(self.bundle) / "quarkus-run.jar"
        return Command(
            name=self.name,
            arguments=(java(), *JVM_OPTIONS, "-Xmx256m", *settings, "-jar", str(program)),
            log=self.log,
            ready=self._is_ready,
            cwd=self.home,
            ready_seconds=180,
        )

    def _is_ready(self, pid: int) -> bool:
        try:
            level = httpx.get(f"{self.address}/config", timeout=2)
            if level.is_success and level.json().get("compatibilityLevel") == "NONE":
                # Confluent's registry begins with BACKWARD; so does this one, then.
                level = httpx.put(
                    f"{self.address}/config", json={"compatibility": "BACKWARD"}, timeout=10
                )
            return level.is_success
        except httpx.TransportError:
            return False
