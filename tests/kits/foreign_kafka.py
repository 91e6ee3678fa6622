"""Topics as foreign programs make and fill them, for the tests of connectors that read them."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from trunkline.connectors.base import Batch, Position, Source
from trunkline.connectors.kafka import KafkaCluster
from trunkline.event import Record
from trunkline.params import Secret
from trunkline.schemas.codec import PREFIX
from trunkline.schemas.exact.write import exact_writer
from trunkline.schemas.registry import Registry

PASSWORD = "hunter2"


def nobody() -> KafkaCluster:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings: dict[str, Secret | str] = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": Secret(PASSWORD),
    }
    return KafkaCluster(f"127.0.0.1:{port}", settings)


@cache
def _clients(bootstrap: str) -> tuple[AdminClient, Producer]:
    """Connected, and kept: tests count connections, and these must not come and go."""
    # One request at a time: the first to a partition that was just made is refused and sent again,
    # behind the second, and the order of a key would be another one than the test has written.
    ordered = {"linger.ms": 0, "max.in.flight.requests.per.connection": 1}
    clients = (
        AdminClient({"bootstrap.servers": bootstrap}),
        Producer({"bootstrap.servers": bootstrap, **ordered}),
    )
    for client in clients:
        client.list_topics(timeout=30)
    return clients


class ForeignKafka:
    """One cluster, as its other users see it."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin, self._producer = _clients(bootstrap)

    def create(self, partitions: int = 1, name: str = "", **config: str) -> str:
        """A new topic; returns its name."""
        name = name or f"foreign-{uuid.uuid4().hex[:10]}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        self._admin.create_topics([topic])[name].result(10)
        return name

    def delete(self, name: str) -> None:
        self._admin.delete_topics([name])[name].result(10)

    def grow(self, name: str, partitions: int) -> None:
        self._admin.create_partitions([NewPartitions(name, partitions)])[name].result(10)
        while (
            len(self._producer.list_topics(name, timeout=10).topics[name].partitions) < partitions
        ):
            time.sleep(0.02)  # until brokers and our client have heard of it

    def delete_before(self, name: str, partition: int, offset: int) -> None:
        """As retention does."""
        at = TopicPartition(name, partition, offset)
        self._admin.delete_records([at])[at].result(10)

    def put(
        self,
        topic: str,
        key: bytes | str | None,
        value: Any,
        *,
        partition: int = -1,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """One record; a value that is no bytes goes as JSON."""
        raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        self._producer.produce(topic, raw, key, partition, headers=list(headers))
        assert self._producer.flush(10) == 0

    def put_many(self, topic: str, records: Sequence[tuple[str, Any]]) -> None:
        for key, value in records:
            self._producer.produce(topic, json.dumps(value).encode(), key)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[Producer]:
        name = f"foreign-{uuid.uuid4().hex}"
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": name})
        producer.init_transactions(10)
        producer.begin_transaction()
        yield producer
        producer.flush(10)
        producer.commit_transaction(10) if commit else producer.abort_transaction(10)

    def records(self, topic: str) -> list[Any]:
        """All committed records of a topic, partition by partition."""
        settings = {
            "bootstrap.servers": self.bootstrap,
            "group.id": "foreign-reader",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
        }
        found: list[Any] = []
        with closing(Consumer(settings)) as client:
            numbers = client.list_topics(topic, timeout=10).topics[topic].partitions
            client.assign([TopicPartition(topic, number, 0) for number in numbers])
            ends = 0
            while ends < len(numbers):
                message = client.poll(10)
                assert message is not None, f"{topic} could not be read to its end"
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ends += 1
                else:
                    raise AssertionError(message.error())
        return found


def avro_bytes(registry: Registry, subject: str, schema: Mapping[str, Any], value: Any) -> bytes:
    """A value in the wire format, its schema registered."""
    from trunkline.schemas import avro

    text = json.dumps(schema)
    id = registry.register(subject, text)
    return PREFIX.pack(0, id) + exact_writer(avro.parse(text))(value)


def read(
    source: Source,
    position: Position | None = None,
    *,
    until: Callable[[list[Record], Batch], object],
    patience: float = 20.0,
) -> tuple[list[Record], Position]:
    """What a source gives out until that is true, and its last position, as stored in Kafka."""
    stop, records, last = threading.Event(), list[Record](), position or {}
    timer = threading.Timer(patience, stop.set)
    timer.start()
    try:
        for batch in source.read(position, stop):
            records += batch.records
            last = json.loads(json.dumps(batch.position))
            if until(records, batch):
                return records, last
    finally:
        timer.cancel()
        source.close()
    raise AssertionError(f"after {patience:.0f} s there is only {records}")


def to_the_end(records: list[Record], batch: Batch) -> bool:
    """Everything that is there was read."""
    return batch.current
