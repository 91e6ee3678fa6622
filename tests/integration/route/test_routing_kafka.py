"""Routing on real Kafka: exactly once, several topics to one destination, and what it commits."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, Message, TopicPartition

from engine_kit import Env, Kit, Scripted, eventually, headers_of, order
from trunkline import Event, Flow, kafka
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


def two_topics() -> Flow[Env]:
    """Two canonical topics of somebody else, both routed to one destination."""
    flow = Flow(f"routing-{uuid.uuid4().hex[:8]}", Env)
    shop = flow.existing_topic(f"{flow.name}.shop", Order)
    kiosk = flow.existing_topic(f"{flow.name}.kiosk", Order)

    @flow.destination
    def erp(env: Env) -> Scripted:
        return Scripted()

    @flow.route(shop, to=erp)
    def of_shop(event: Event[Order]) -> Order:
        return event.data

    @flow.route(kiosk, to=erp)
    async def of_kiosk(event: Event[Order]) -> Order | None:
        if event.data["status"] == "broken":
            raise ValueError("cannot be routed")
        return {**event.data, "status": "kiosk"} if event.data["status"] == "paid" else None

    return flow


def inbox(flow: Flow[Any]) -> str:
    return flow.destinations[0].inbox


def dlq(flow: Flow[Any]) -> str:
    return flow.destinations[0].dlq


def route(kit: Kit, flow: Flow[Any], **expected: int) -> dict[str, list[Message]]:
    """Run a routing worker until inbox and DLQ hold as many; what they hold then."""
    topics = {"inbox": inbox(flow), "dlq": dlq(flow)}

    def held() -> dict[str, list[Message]]:
        return {name: kit.read(topic) for name, topic in topics.items()}

    def there() -> bool:
        return all(len(kit.read(topics[name])) >= count for name, count in expected.items())

    async def run() -> None:
        async with kit.running(flow, "route"):
            await eventually(there, f"{expected} routed", asks=True)

    try:
        asyncio.run(run())
    except AssertionError as failure:
        where = {
            name: [
                f"{headers_of(m).get('tl_from')} is {headers_of(m).get('ce_id')}" for m in messages
            ]
            for name, messages in held().items()
        }
        raise AssertionError(f"{failure}; there are {where}") from failure
    return held()


def test_two_topics_reach_one_destination(kit: Kit) -> None:
    flow = two_topics()
    kit.create(flow)
    kit.produce(f"{flow.name}.shop", [kit.event("a", "s1", order(1))])
    ignored = kit.event("b", "k2", order(3, status="new"))
    kit.produce(f"{flow.name}.kiosk", [kit.event("a", "k1", order(2)), ignored])
    found = route(kit, flow, inbox=2)
    decode = kit.codec.decoder(Order)
    routed = {headers_of(m)["ce_id"]: (m.key(), decode(m.value() or b"")) for m in found["inbox"]}
    assert routed == {"s1": (b"a", order(1)), "k1": (b"a", order(2, status="kiosk"))}
    assert len({m.partition() for m in found["inbox"]}) == 1, "a key stays in one partition"


def test_what_is_handed_on_keeps_its_bytes_and_says_where_it_came_from(kit: Kit) -> None:
    flow = two_topics()
    kit.create(flow)
    key, value, headers = kit.event("a", "s1")
    kit.produce(f"{flow.name}.shop", [(key, value, headers)])
    (message,) = route(kit, flow, inbox=1)["inbox"]
    assert (message.key(), message.value()) == (key, value)
    got = headers_of(message)
    assert {name: text.encode() for name, text in got.items()}.items() >= dict(headers).items()
    assert got["tl_origin"] == "original"
    topic, _, offset, *message = got["tl_from"].split("/")
    assert (topic, offset, message) == (f"{flow.name}.shop", "0", ["of_shop", "1"])


def test_each_event_is_routed_once_over_restarts(kit: Kit) -> None:
    """Three workers one after the other, the last two with events to route and events behind
    them: what the inbox holds and what is committed agree."""
    flow = two_topics()
    kit.create(flow)
    for turn in range(3):
        kit.produce(f"{flow.name}.shop", [kit.event(f"k{n}", f"{turn}-{n}") for n in range(50)])
        found = route(kit, flow, inbox=50 * (turn + 1))
    ids = [headers_of(message)["ce_id"] for message in found["inbox"]]
    assert len(ids) == len(set(ids)) == 150
    ends = kit.committed(f"{flow.name}.route", f"{flow.name}.shop")
    assert sum(end.offset for end in ends) == 150


def test_a_route_that_is_slower_than_a_transaction_may_be_gets_through(kit: Kit) -> None:
    """A backlog that takes 4 s to route, where Kafka aborts a transaction after one."""
    flow = Flow(f"routing-{uuid.uuid4().hex[:8]}", Env)
    shop = flow.existing_topic(f"{flow.name}.shop", Order)

    @flow.destination
    def erp(env: Env) -> Scripted:
        return Scripted()

    @flow.route(shop, to=erp)
    def slow(event: Event[Order]) -> Order:
        time.sleep(0.01)
        return event.data

    kit.create(flow)
    kit.produce(f"{flow.name}.shop", [kit.event(f"k{n}", str(n)) for n in range(400)])
    whole, kit.backbone = kit.backbone, in_short_transactions(kit.backbone)
    try:
        found = route(kit, flow, inbox=400)
    finally:
        kit.backbone = whole
    ids = [headers_of(message)["ce_id"] for message in found["inbox"]]
    assert sorted(map(int, ids)) == list(range(400))


def in_short_transactions(backbone: Backbone) -> Backbone:
    """The same Kafka, whose transactions last a second at the most."""
    return backbone.model_copy(update={"kafka": {"transaction.timeout.ms": "1000"}})


def test_two_workers_share_the_partitions(kit: Kit) -> None:
    flow = two_topics()
    kit.create(flow)
    events = [kit.event(f"k{n}", str(n)) for n in range(200)]

    async def run() -> None:
        async with kit.running(flow, "route"):
            kit.produce(f"{flow.name}.shop", events[:100])
            async with kit.running(flow, "route"):
                kit.produce(f"{flow.name}.shop", events[100:])
                await eventually(lambda: len(kit.read(inbox(flow))) >= 200, "all routed", asks=True)

    asyncio.run(run())
    ids = [headers_of(message)["ce_id"] for message in kit.read(inbox(flow))]
    assert sorted(map(int, ids)) == list(range(200))


@contextmanager
def dead_worker(kit: Kit, group: str, at: TopicPartition) -> Iterator[None]:
    """A worker that died just before it committed: its transaction is open for three seconds."""
    backbone = kit.backbone.model_copy(update={"kafka": {"transaction.timeout.ms": "3000"}})
    producer = kafka.producer(backbone, transactional_id=f"{group}.dead")
    consumer = kafka.consumer(kit.backbone, group)
    try:
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.send_offsets_to_transaction([at], consumer.consumer_group_metadata())
        yield
    finally:
        consumer.close()


def members(kit: Kit, group: str) -> int:
    """How many workers the group has, once it is settled."""
    client = kafka.admin(kit.backbone)
    found = client.describe_consumer_groups([group])[group].result()
    return len(found.members) if found.state == ConsumerGroupState.STABLE else 0


def test_a_rebalance_under_a_dead_workers_transaction_repeats_nothing(kit: Kit) -> None:
    """The offset that it was about to commit is no offset yet, but there is one before it."""
    flow = two_topics()
    kit.create(flow)
    topic, group = f"{flow.name}.shop", f"{flow.name}.route"
    kit.produce(topic, [kit.event("k", f"0-{n}") for n in range(20)])
    route(kit, flow, inbox=20)
    (before,) = [at for at in kit.committed(group, topic) if at.offset > 0]
    kit.produce(topic, [kit.event("k", f"1-{n}") for n in range(20)])

    async def run() -> None:
        async with kit.running(flow, "route"):
            await eventually(lambda: members(kit, group) == 1, "one worker", asks=True)
            async with kit.running(flow, "route"):
                await eventually(lambda: len(kit.read(inbox(flow))) >= 40, "all routed", asks=True)

    dead = TopicPartition(topic, before.partition, before.offset + 10)
    with dead_worker(kit, group, dead):
        asyncio.run(run())
    ids = [headers_of(message)["ce_id"] for message in kit.read(inbox(flow))]
    assert len(ids) == len(set(ids)) == 40


def test_dead_letters_are_told_once_a_batch_and_the_others_go_on(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    flow = two_topics()
    kit.create(flow)
    broken = [kit.event("k", f"b{n}", order(n, status="broken")) for n in range(30)]
    kit.produce(f"{flow.name}.kiosk", [*broken, kit.event("k", "good")])
    with caplog.at_level(logging.INFO):
        found = route(kit, flow, inbox=1, dlq=30)
    dead = [headers_of(message) for message in found["dlq"]]
    assert [headers["ce_id"] for headers in dead] == [f"b{n}" for n in range(30)]
    assert "cannot be routed" in dead[0]["tl_traceback"]
    lines: list[Any] = [r for r in caplog.records if "dead letters to" in r.message]
    assert sum(line.args[0] for line in lines) == 30
    assert len(lines) < 30
    assert lines[0].event_id == "b0"
    assert lines[0].trace_id == dead[0]["traceparent"].split("-")[1]
