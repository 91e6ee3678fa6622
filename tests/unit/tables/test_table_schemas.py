"""A type that changes: rows stay as they were written, and are read as the type of today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from trunkline import Flow, Params
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas.codec import Codec
from trunkline.schemas.types import avro_type
from trunkline.streams.tables.disk import on_disk
from trunkline.streams.tables.lookup import StoredIndex, StoredTable
from trunkline.streams.tables.table_set import TableSet
from trunkline.testing.registry import MemoryRegistry

TOPIC = "shop.customers"


class Before(TypedDict):
    id: str


class After(TypedDict):
    id: str
    country: str


def schema(*more: dict[str, str]) -> str:
    fields = [{"name": "id", "type": "string"}, *more]
    return json.dumps({"type": "record", "name": "Customer", "fields": fields})


avro_type(Before, schema())
avro_type(After, schema({"name": "country", "type": "string", "default": "IT"}))


class Env(Params):
    """No parameters."""


class Worker:
    """A worker's table of customers on disk, as the flow of one release has it."""

    def __init__(self, codec: Codec, type_: type[Any], folder: Path, *by: str) -> None:
        flow = Flow("customers", Env)
        topic = flow.existing_topic(TOPIC, type_)
        self.definitions = [flow.table(topic, store="disk")]
        self.definitions += [flow.table(topic, by=field, store="disk") for field in by]
        self.set = TableSet(flow, codec)
        (self.topic,) = self.set.topics
        self.encode = codec.encoder(type_, TOPIC, register=True)
        identity = dict(self.topic.identity)
        store, self.state = on_disk(folder)(lambda kept: kept.why_not(identity, {}, 1e9, 0))
        self.found = store.rows
        self.state.identity = identity
        self.store, self.writer = store, self.topic.writer(store)

    def put(self, value: Any) -> None:
        record = StoredMessage(TOPIC, 0, 0, value["id"].encode(), self.encode(value))
        self.writer.apply([record], self.state)

    def lookup(self, number: int) -> Any:
        return self.set.lookup(self.definitions[number])


def test_rows_of_an_older_schema_are_read_as_the_type_of_today(tmp_path: Path) -> None:
    codec = Codec(MemoryRegistry())
    before = Worker(codec, Before, tmp_path / "t")
    before.put(Before(id="1"))
    before.store.close()
    after = Worker(codec, After, tmp_path / "t")
    assert after.found == 1, "nothing needs to be read again"
    assert after.lookup(0)["1"] == {"id": "1", "country": "IT"}
    after.put(After(id="2", country="DE"))
    assert [row["country"] for _, row in after.lookup(0).scan()] == ["IT", "DE"]
    after.store.close()
    before = Worker(codec, Before, tmp_path / "t")
    assert before.lookup(0)["2"] == {"id": "2"}, "an older release reads what a newer one wrote"
    before.store.close()


def test_an_index_is_made_again_when_the_type_or_the_fields_change(tmp_path: Path) -> None:
    codec = Codec(MemoryRegistry())
    before = Worker(codec, Before, tmp_path / "t", "id")
    before.put(Before(id="1"))
    before.store.close()
    again = Worker(codec, Before, tmp_path / "t", "id")
    assert again.found == 1
    again.store.close()
    after = Worker(codec, After, tmp_path / "t", "id")
    assert after.found == 0
    after.put(After(id="1", country="DE"))
    after.store.close()
    more = Worker(codec, After, tmp_path / "t", "id", "country")
    assert more.found == 0
    more.put(After(id="1", country="DE"))
    assert more.lookup(2)["DE"] == [{"id": "1", "country": "DE"}]
    more.store.close()


def test_tables_of_one_topic_share_their_rows(tmp_path: Path) -> None:
    worker = Worker(Codec(MemoryRegistry()), After, tmp_path / "t", "country")
    assert worker.topic.names == ["shop_customers", "shop_customers_by_country"]
    assert isinstance(worker.lookup(0), StoredTable)
    assert isinstance(worker.lookup(1), StoredIndex)
    worker.store.close()
