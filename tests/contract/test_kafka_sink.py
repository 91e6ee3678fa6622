"""KafkaSink passes the acceptance suite, on topics of a real Kafka and its registry."""

from __future__ import annotations

import json
from typing import Any, TypedDict

import pytest

from foreign_kafka import PASSWORD, ForeignKafka, nobody
from trunkline.connectors.contract import SinkContract
from trunkline.connectors.kafka import KafkaCluster, KafkaSink
from trunkline.event import Event
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import Registry
from trunkline.schemas.types import avro_type


class Item(TypedDict):
    id: str
    revision: int


FIELDS = [{"name": "id", "type": "string"}, {"name": "revision", "type": "long"}]
avro_type(Item, json.dumps({"type": "record", "name": "KafkaContractItem", "fields": FIELDS}))


class OnKafka(SinkContract):
    secrets = (PASSWORD,)

    @pytest.fixture(autouse=True)
    def _place(self, bootstrap: str, registry_url: str) -> None:
        self.kafka = ForeignKafka(bootstrap)
        self.cluster = KafkaCluster(bootstrap, registry=registry_url)
        self.topic = self.kafka.create(partitions=2, max_message_bytes="20000")

    def contents(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for message in self.kafka.records(self.topic):
            key = message.key().decode()
            found.pop(key, None)
            if message.value() is not None:
                found[key] = self.decoded(message.value())["revision"]
        return found

    def decoded(self, value: bytes) -> Any:
        raise NotImplementedError

    def unreachable_sink(self) -> KafkaSink[Item]:
        return KafkaSink(nobody(), Item, "items", value="json", timeout=1)


class TestAvro(OnKafka):
    def sink(self) -> KafkaSink[Item]:
        return KafkaSink(self.cluster, Item, self.topic)

    def decoded(self, value: bytes) -> Any:
        if not hasattr(self, "decode"):
            with Registry(self.cluster.registry) as registry:
                self.decode = Codec(registry).any_decoder()
                self.decode(value)  # the only schema
        return self.decode(value)

    def unacceptable(self, key: str) -> Event[Any]:
        event = self.event(key, 0)
        event.data["revision"] = "many"  # no long
        return event


class TestJson(OnKafka):
    def sink(self) -> KafkaSink[Item]:
        return KafkaSink(self.cluster, Item, self.topic, value="json")

    def decoded(self, value: bytes) -> Any:
        return json.loads(value)

    def unacceptable(self, key: str) -> Event[Any]:
        event = self.event(key, 0)
        event.data["id"] = "".join(map(str, range(20_000)))  # larger than the topic takes
        return event
