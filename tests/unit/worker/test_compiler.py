"""A flow made ready to run: its functions meet their schemas, topics and queues."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from confluent_kafka import Message

from delivery_kit import Erp, flow_of
from trunkline import Event, Record
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.streams.worker.compiler import Compiler
from trunkline.testing.registry import MemoryRegistry

flow = flow_of()
(shop,), (erp,) = flow.sources, flow.destinations


@flow.destination
def archive(env: Any) -> Erp:
    return Erp(1, 1)


@flow.route(flow.topics[0], to=archive, only="orders.create")
def new_ones(order: Event[Order]) -> Order:
    return order.data


@pytest.fixture
def compiler() -> Compiler:
    return Compiler(flow, Codec(MemoryRegistry()), register=True)


@pytest.fixture
def sinks() -> dict[str, Any]:
    return {"erp": Erp(1, 1), "archive": Erp(1, 1)}


def published(
    compiler: Compiler, change: Any = "update", damaged: bytes | None = None
) -> StoredMessage:
    """An order as the flow publishes it, in its topic. ``damaged``: another value instead."""
    record = Record(key="7", data={"number": 3}, change=change)
    ((topic, key, value, headers),) = compiler.publisher(shop).publish([record]).records
    assert topic == "orders"
    return StoredMessage(topic, 0, 5, key, damaged or value, headers)


def routed(router: Any, message: StoredMessage) -> list[ProducerRecord]:
    done = asyncio.run(router.route([cast(Message, message)]))
    records: list[ProducerRecord] = done.drain()
    return records


def test_what_a_source_reads_arrives_as_its_destination_reads_it(
    compiler: Compiler, sinks: dict[str, Any]
) -> None:
    ((topic, key, value, _),) = routed(compiler.router(sinks), published(compiler))
    assert (topic, key) == (erp.inbox, b"7")
    assert value is not None
    assert compiler.decoder_of(erp)(value) == Order(id="7", status="paid", total_cents=3)


def test_the_router_serves_all_destinations_and_a_path_one(
    compiler: Compiler, sinks: dict[str, Any]
) -> None:
    message = published(compiler, "create")
    assert {topic for topic, *_ in routed(compiler.router(sinks), message)} == {
        erp.inbox,
        archive.inbox,
    }
    path = compiler.path_to(archive, sinks["archive"])
    assert (path.destination, path.inbox) == ("archive", archive.inbox)
    assert [topic for topic, *_ in routed(path.router, message)] == [archive.inbox]


def test_what_cannot_be_published_goes_to_the_queue_of_its_source(compiler: Compiler) -> None:
    done = compiler.publisher(shop).publish([Record(key="7", data={})])
    ((topic, _, value, _),) = done.records
    assert topic == shop.dlq
    assert json.loads(value or b"")["key"] == "7"


def test_what_cannot_be_routed_goes_to_the_queue_of_its_destination(
    compiler: Compiler, sinks: dict[str, Any]
) -> None:
    # The id of a known schema, and none of its fields.
    message = published(compiler, damaged=b"\0\0\0\0\1")
    assert [topic for topic, *_ in routed(compiler.router(sinks), message)] == [erp.dlq]


def test_whether_a_sink_appends_is_asked_of_the_sink(
    compiler: Compiler, sinks: dict[str, Any]
) -> None:
    assert not compiler.path_to(erp, sinks["erp"]).appends
    sinks["erp"].appends = True
    assert compiler.path_to(erp, sinks["erp"]).appends
