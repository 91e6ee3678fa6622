"""Schemas under the real registry, against Confluent's own serializer and deserializer."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from trunkline.errors import ConfigurationError, SerializationError
from trunkline.schemas.aviation import Flight
from trunkline.schemas.codec import Codec, schema_id
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from trunkline.schemas.types import avro_type, schema_of

ID, NAME = {"name": "id", "type": "string"}, {"name": "name", "type": "string"}
FLIGHT = Flight(
    id="2013-01-01-UA-1545-EWR",
    carrier="UA",
    flight_number=1545,
    tail_number=None,
    origin="EWR",
    destination="IAH",
    scheduled_departure=datetime.datetime(2013, 1, 1, 10, 15, tzinfo=datetime.UTC),
    scheduled_arrival=datetime.datetime(2013, 1, 1, 13, 19, tzinfo=datetime.UTC),
    departure_delay_minutes=-2,
    arrival_delay_minutes=None,
    status="departed",
    distance_miles=1400,
    air_time_minutes=None,
)


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    with Registry(registry_url) as client:
        yield client


@pytest.fixture
def confluent(registry_url: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_url}) as client:
        yield client


def version(fields: list[dict[str, Any]]) -> type:
    """A version of the type Ticket that has these fields besides its id."""

    class Ticket(TypedDict):
        id: str

    described = [{"name": "id", "type": "string"}, *fields]
    schema = {"type": "record", "name": "Ticket", "namespace": "desk", "fields": described}
    avro_type(Ticket, json.dumps(schema))
    return Ticket


OLD = version([])
NEW = version([{"name": "room", "type": ["null", "string"], "default": None}])
BROKEN = version([{"name": "room", "type": "string"}])


def test_confluents_deserializer_reads_ours(
    registry: Registry, confluent: SchemaRegistryClient, topic: Callable[[str], str]
) -> None:
    name = topic("flights")
    value = Codec(registry).encoder(Flight, f"{name}-value", register=True)(FLIGHT)
    read = AvroDeserializer(confluent, schema_of(Flight).json)
    assert read(value, SerializationContext(name, MessageField.VALUE)) == FLIGHT


def test_we_read_what_confluents_serializer_writes(
    registry: Registry, confluent: SchemaRegistryClient, topic: Callable[[str], str]
) -> None:
    name = topic("flights")
    write = AvroSerializer(confluent, schema_of(Flight).json)
    value = write(FLIGHT, SerializationContext(name, MessageField.VALUE))
    assert Codec(registry).decoder(Flight)(value) == FLIGHT
    ours = Codec(registry).encoder(Flight, f"{name}-value", register=False)(FLIGHT)
    assert ours == value


def test_a_registered_schema_keeps_its_id(registry_url: str, topic: Callable[[str], str]) -> None:
    subject = f"{topic('orders')}-value"
    ids = set()
    for _ in range(2):
        with Registry(registry_url) as fresh:
            ids.add(fresh.register(subject, schema_of(Order).json))
            ids.add(fresh.lookup(subject, schema_of(Order).json))
    assert len(ids) == 1


def test_the_registry_gives_back_a_schema_that_reads_the_same(
    registry: Registry, registry_url: str, topic: Callable[[str], str]
) -> None:
    id = registry.register(f"{topic('flights')}-value", schema_of(Flight).json)
    with Registry(registry_url) as fresh:
        assert json.loads(fresh.schema(id))["name"] in ("Flight", "aviation.Flight")
        value = Codec(registry).encoder(Flight, f"{topic('f')}-value", register=True)(FLIGHT)
        assert Codec(fresh).decode_any(value) == FLIGHT


def test_old_readers_read_new_writers_and_the_reverse(
    registry: Registry, topic: Callable[[str], str]
) -> None:
    subject = f"{topic('tickets')}-value"
    _require(registry, subject, "FULL_TRANSITIVE")
    codec = Codec(registry)
    old = codec.encoder(OLD, subject, register=True)({"id": "1"})
    new = codec.encoder(NEW, subject, register=True)({"id": "2", "room": "B"})
    assert schema_id(old) != schema_id(new)
    assert [codec.decoder(OLD)(value) for value in (old, new)] == [{"id": "1"}, {"id": "2"}]
    decode = codec.decoder(NEW)
    assert [decode(v) for v in (old, new)] == [{"id": "1", "room": None}, {"id": "2", "room": "B"}]


def test_an_incompatible_schema_is_refused_with_the_reason(
    registry: Registry, topic: Callable[[str], str]
) -> None:
    subject = f"{topic('tickets')}-value"
    codec = Codec(registry)
    codec.encoder(OLD, subject, register=True)
    _require(registry, subject, "BACKWARD")
    assert registry.compatible(subject, schema_of(NEW).json) == []
    assert registry.compatible(subject, schema_of(BROKEN).json)
    with pytest.raises(ConfigurationError, match=rf"desk\.Ticket in subject {subject}.*room"):
        codec.encoder(BROKEN, subject, register=True)


def test_a_missing_schema_is_not_registered_by_a_lookup(
    registry: Registry, topic: Callable[[str], str]
) -> None:
    subject = f"{topic('orders')}-value"
    assert registry.compatible(subject, schema_of(Order).json) == []
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"does not have commerce\.Order in subject"):
            Codec(registry).encoder(Order, subject, register=False)
    registry.register(subject, schema_of(OLD).json)
    with pytest.raises(ConfigurationError, match=r"does not have commerce\.Order in subject"):
        registry.lookup(subject, schema_of(Order).json)


def test_a_schema_that_is_none_is_refused(registry: Registry, topic: Callable[[str], str]) -> None:
    with pytest.raises(ConfigurationError, match=r"refuses .*: 422"):
        registry.register(f"{topic('x')}-value", '{"type":"record","name":"X","fields":[{}]}')


def test_an_unknown_id_is_a_serialization_error(registry: Registry) -> None:
    value = b"\0" + (2_000_000_000).to_bytes(4, "big") + b"\2a"
    with pytest.raises(SerializationError, match="schema 2000000000 is unknown"):
        Codec(registry).decoder(Order)(value)


def test_a_schema_of_another_kind_is_a_serialization_error(
    registry: Registry, topic: Callable[[str], str]
) -> None:
    draft = "http://json-schema.org/draft-07/schema#"
    body = {"schema": json.dumps({"$schema": draft, "type": "object"}), "schemaType": "JSON"}
    answer = httpx.post(f"{registry.url}/subjects/{topic('json')}-value/versions", json=body)
    with pytest.raises(SerializationError, match="not Avro but JSON"):
        registry.schema(answer.json()["id"])


def _require(registry: Registry, subject: str, level: str) -> None:
    """Set the subject's compatibility: Apicurio's default is to accept everything."""
    body = {"compatibility": level}
    httpx.put(f"{registry.url}/config/{subject}", json=body).raise_for_status()


def test_a_schema_that_refers_to_other_subjects_is_read_and_written(
    registry_url: str, registry: Registry, confluent: SchemaRegistryClient
) -> None:
    """As another pipeline registered it, in parts; here it is one type."""
    space = f"s{uuid.uuid4().hex[:8]}"

    class Visit(TypedDict):
        id: str
        room: Any

    room = {"type": "record", "name": "Room", "namespace": space, "fields": [NAME]}
    parts = {"type": "record", "name": "Visit", "namespace": space}
    apart = {**parts, "fields": [ID, {"name": "room", "type": f"{space}.Room"}]}
    whole = {**parts, "fields": [ID, {"name": "room", "type": room}]}
    avro_type(Visit, json.dumps(whole))
    refers = [{"name": f"{space}.Room", "subject": f"{space}-room", "version": 1}]
    with httpx.Client(base_url=registry_url) as client:
        for subject, schema, references in (
            (f"{space}-room", room, []),
            (f"{space}-value", apart, refers),
        ):
            body = {"schema": json.dumps(schema), "references": references}
            done = client.post(f"/subjects/{subject}/versions", json=body)
            assert done.status_code == 200, done.text
    registered = done.json()["id"]

    codec = Codec(registry)
    encode = codec.encoder(Visit, f"{space}-value", register=False)
    visit = Visit(id="7", room={"name": "blue"})
    value = encode(visit)
    assert schema_id(value) == registered
    assert registry.has(f"{space}-value", schema_of(Visit).json)
    with Registry(registry_url) as other:
        assert Codec(other).decode_any(value) == visit
    context = SerializationContext(space, MessageField.VALUE)
    assert AvroDeserializer(confluent)(value, context) == visit
