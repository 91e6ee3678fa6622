"""A real Kafka broker of one node: KRaft, with durable data and settings for one machine."""

from __future__ import annotations

import os
import socket
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from trunkline.local import artifacts
from trunkline.local.ports import free_port
from trunkline.local.process import Command, run
from trunkline.local.server import JVM_OPTIONS, Server, java

LOG4J = Path(__file__).with_name("log4j2.properties")
MAX_MESSAGE_BYTES = 10 * 1024 * 1024


class Kafka(Server):
    """``heap``: the JVM's, such as ``512m``."""

    name = "kafka"

    def __init__(self, home: Path, port: int, heap: str = "512m") -> None:
        super().__init__(home, port)
        self.heap = heap
        self.controller_port = free_port()

    @property
    def bundle(self) -> str:
        return "kafka"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.home / "kafka"

    @property
    def settings(self) -> dict[str, object]:
        """``server.properties``, see Kafka's broker configuration reference."""
        controller = f"127.0.0.1:{self.controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.data,
            "auto.create.topics.enable": "false",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
            "group.initial.rebalance.delay.ms": 0,
            # One node: nothing can be replicated, and few partitions start and recover faster.
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            # Until a killed worker's transaction is aborted nobody reads past it: look often.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            # A killed broker is let in again only when its old session is over.
            "broker.heartbeat.interval.ms": 1_000,
            "broker.session.timeout.ms": 4_000,
        }

    def prepare(self) -> None:
        """Write the settings, and format the log folder once."""
        self.home.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={value}\n" for name, value in self.settings.items()]
        self._properties.write_text("".join(lines), "utf-8")
        if not (self.data / "meta.properties").exists():
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
            # With "=": an id may begin with a dash.
            options = (f"--cluster-id={cluster}", f"--config={self._properties}")
            run(self._command("kafka.tools.StorageTool", "format", *options))

    def command(self) -> Command:
        return self._command("kafka.Kafka", str(self._properties))

    @property
    def _properties(self) -> Path:
        return self.home / "kafka.properties"

    def _command(self, main: str, *options: str) -> Command:
        jars = os.pathsep.join(str(jar) for jar in artifacts.files(self.bundle))
        logging = f"-Dlog4j2.configurationFile={LOG4J}"
        jvm = (java(), *JVM_OPTIONS, f"-Xmx{self.heap}", logging, "-cp", jars)
        return Command(
            name=main.removeprefix("kafka.").lower(),
            arguments=(*jvm, main, *options),
            log=self.log,
            ready=self._is_ready,
            cwd=self.home,
        )

    def _is_ready(self, pid: int) -> bool:
        """A broker that answers with itself in the cluster's metadata."""
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        try:
            client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False
