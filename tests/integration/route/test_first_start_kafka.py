"""A new flow on a topic with a history, on real Kafka: where it begins, and through what."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewPartitions

from engine_kit import Env, Kit, Scripted, eventually, headers_of
from trunkline import Event, Flow, kafka
from trunkline.schemas.commerce import Order
from trunkline.streams.route import first_start


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


def flow_from(start: str, name: str = "") -> Flow[Env]:
    flow = Flow(name or f"start-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(f"{flow.name}.orders", Order, start=start)

    @flow.destination
    def erp(env: Env) -> Scripted:
        return Scripted()

    @flow.route(orders, to=erp)
    def everything(order: Event[Order]) -> Order:
        return order.data

    assert flow.problems == []
    return flow


def publish(kit: Kit, flow: Flow[Any], prefix: str, count: int) -> set[str]:
    """So many events of different keys; their ids."""
    ids = [f"{prefix}{number}" for number in range(count)]
    kit.produce(f"{flow.name}.orders", [kit.event(f"k-{id}", id) for id in ids])
    return set(ids)


def routed(kit: Kit, flow: Flow[Any]) -> list[str]:
    return sorted(headers_of(message)["ce_id"] for message in kit.read(f"{flow.name}.erp.inbox"))


def run(kit: Kit, flow: Flow[Any], expected: set[str], caplog: Any = None, says: str = "") -> None:
    """A routing worker, until it has routed these, or has said something."""

    async def until() -> None:
        async with kit.running(flow, "route"):
            if says:
                await eventually(lambda: says in caplog.text, says)
            await eventually(lambda: routed(kit, flow) == sorted(expected), "routed", asks=True)

    asyncio.run(until())


def test_latest_through_a_death_before_the_first_commit_and_with_partitions_added_later(
    kit: Kit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    flow = flow_from("latest")
    kit.create(flow)
    publish(kit, flow, "old", 20)
    monkeypatch.setattr(first_start, "_offset", _refused)  # its record is written by then
    run(kit, flow, set(), caplog, "is not known yet")
    monkeypatch.undo()
    new = publish(kit, flow, "between", 20)
    run(kit, flow, new, caplog, "events lie before that")
    assert "up to 20 events lie before that" in caplog.text
    new |= publish(kit, flow, "behind", 5)
    run(kit, flow, new)
    topic = f"{flow.name}.orders"
    admin = kafka.admin(kit.backbone)
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result()
    kit._producer = kafka.producer(kit.backbone)  # the old one knows of no new partitions yet
    new |= publish(kit, flow, "added", 40)
    run(kit, flow, new)
    assert routed(kit, flow) == sorted(new), "each once"


def _refused(*_: object) -> None:
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_a_flow_begins_with_what_was_written_since(kit: Kit) -> None:
    flow = flow_from((datetime.now(UTC) - timedelta(days=1)).isoformat())
    kit.create(flow)
    run(kit, flow, publish(kit, flow, "today", 10))
    later = flow_from((datetime.now(UTC) + timedelta(days=1)).isoformat())
    kit.create(later)
    publish(kit, later, "today", 10)

    group = f"{later.name}.route"

    def begun() -> int:
        places = kit.committed(group, f"{later.name}.orders")
        return sum(at.offset for at in places if at.offset > 0)

    async def until_begun() -> None:
        async with kit.running(later, "route"):
            await eventually(lambda: begun() == 10, "it stands behind all", asks=True)

    asyncio.run(until_begun())
    assert routed(kit, later) == []
