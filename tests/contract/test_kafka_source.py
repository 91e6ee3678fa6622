"""KafkaSource passes the acceptance suite, on topics of a real Kafka."""

from __future__ import annotations

import pytest

from foreign_kafka import PASSWORD, ForeignKafka, nobody
from trunkline.connectors.contract import SourceContract
from trunkline.connectors.kafka import KafkaCluster, KafkaSource


class TestKafkaSource(SourceContract):
    """One partition."""

    secrets = (PASSWORD,)
    partitions = 1

    @pytest.fixture(autouse=True)
    def _topic(self, bootstrap: str) -> None:
        self.kafka = ForeignKafka(bootstrap)
        self.topic = self.kafka.create(self.partitions)

    def source(self) -> KafkaSource:
        return KafkaSource(KafkaCluster(self.kafka.bootstrap), self.topic, batch=3)

    def put(self, key: str, revision: int) -> None:
        self.kafka.put(self.topic, key, {"revision": revision})

    def remove(self, key: str) -> None:
        self.kafka.put(self.topic, key, None)

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trunkline.connectors.kafka.topics.PATIENCE", 2.0)

    def unreachable_source(self) -> KafkaSource:
        return KafkaSource(nobody(), "orders")


class TestKafkaSourceOfPartitions(TestKafkaSource):
    """Several: only the changes of one key come in one order."""

    one_order = False
    partitions = 3
