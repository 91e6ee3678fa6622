"""A destination's topics on a real Kafka: equally many partitions, and none that is forgotten."""

from __future__ import annotations

import re
import time
import uuid

import pytest
from confluent_kafka import TopicPartition

from trunkline import ConfigurationError, Flow, Params, Retry, kafka
from trunkline.connectors.base import Sink
from trunkline.kafka import TopicSpec
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.streams.deliver.offsets import encode_completed
from trunkline.streams.plan.orphans import orphaned_tiers, require_drained_tiers
from trunkline.streams.plan.topics import required_topics


@pytest.fixture
def backbone(bootstrap: str) -> Backbone:
    return Backbone(bootstrap=bootstrap)


def flow_of(*delays: str) -> Flow[Params]:
    flow = Flow(f"topics-{uuid.uuid4().hex[:8]}", Params)

    @flow.destination(retry=Retry(*delays))
    def erp(env: Params) -> Sink[Order]:
        raise AssertionError("no builder runs")

    return flow


def ensured(backbone: Backbone, specs: list[TopicSpec]) -> list[str]:
    """Make what is missing, and wait until the broker tells of all; returns what was made."""
    made = kafka.ensure_topics(backbone, specs)
    deadline = time.monotonic() + 20
    while not {spec.name for spec in specs} <= kafka.existing_topics(kafka.admin(backbone)).keys():
        assert time.monotonic() < deadline, "the topics do not show up"
    return made


def partitions(backbone: Backbone, flow: Flow[Params]) -> dict[str, int]:
    """The partitions of the destination's topics."""
    there = kafka.existing_topics(kafka.admin(backbone))
    return {n: count for n, count in there.items() if n.startswith(f"{flow.name}.erp.")}


def test_tiers_and_dlq_follow_an_inbox_that_is_there(backbone: Backbone) -> None:
    flow = flow_of("1s", "10s")
    ensured(backbone, [TopicSpec(f"{flow.name}.erp.inbox", 3)])
    made = ensured(backbone, required_topics(flow, 5))
    assert f"{flow.name}.control" in made
    assert partitions(backbone, flow) == {
        f"{flow.name}.erp.inbox": 3,
        f"{flow.name}.erp.retry.1s": 3,
        f"{flow.name}.erp.retry.10s": 3,
        f"{flow.name}.erp.dlq": 3,
    }
    assert kafka.ensure_topics(backbone, required_topics(flow, 7)) == []


def test_an_inbox_that_was_widened_stops_the_start_before_anything_is_made(
    backbone: Backbone,
) -> None:
    flow = flow_of("1s", "10s")
    there = [TopicSpec(f"{flow.name}.erp.inbox", 3), TopicSpec(f"{flow.name}.erp.retry.1s", 2)]
    ensured(backbone, there)
    with pytest.raises(ConfigurationError, match=r"retry\.1s' has 2 partitions, but .* has 3"):
        kafka.ensure_topics(backbone, required_topics(flow, 3))
    assert len(partitions(backbone, flow)) == 2


# Delays that are taken out of a policy while events wait.


def waiting(backbone: Backbone, flow: Flow[Params], tier: str, count: int) -> None:
    """Put so many records into the first partition of a tier, in a transaction of their own."""
    producer = kafka.producer(backbone, transactional_id=f"{flow.name}-test")
    producer.init_transactions(30)
    records = [kafka.PartitionRecord(tier, 0, b"k", b"v", [], 0)] * count
    kafka.transact(producer, (), placed=records)


def completed(backbone: Backbone, flow: Flow[Params], at: TopicPartition) -> None:
    """Commit a cut of the destination's group."""
    consumer = kafka.consumer(backbone, f"{flow.name}.erp")
    consumer.commit(offsets=[at], asynchronous=False)
    consumer.close()


def renamed(flow: Flow[Params], *delays: str) -> Flow[Params]:
    """The same flow with other delays."""
    other = flow_of(*delays)
    other.name = flow.name
    return other


def started(backbone: Backbone, flow: Flow[Params]) -> None:
    """Look as a worker does at its start, which waits while Kafka has just made a topic."""
    deadline = time.monotonic() + 20
    while True:
        try:
            require_drained_tiers(backbone, flow, kafka.existing_topics(kafka.admin(backbone)))
            return
        except kafka.KafkaUnavailable:
            if time.monotonic() > deadline:
                raise


def test_only_tiers_that_are_none_any_more_are_former_ones() -> None:
    flow = flow_of("1s", "10s")
    (erp,) = flow.destinations
    mine = [*erp.tiers, erp.inbox, erp.dlq, "other.erp.retry.5s", f"{flow.name}.erp2.retry.5s"]
    assert orphaned_tiers(erp, mine) == []
    assert orphaned_tiers(erp, [*mine, f"{flow.name}.erp.retry.5s"]) == [
        f"{flow.name}.erp.retry.5s"
    ]


def test_a_delay_that_is_gone_while_events_wait_stops_the_start(backbone: Backbone) -> None:
    flow = flow_of("1s", "10s")
    ensured(backbone, required_topics(flow, 2))
    tier = f"{flow.name}.erp.retry.10s"
    now = renamed(flow, "1s", "30s")
    waiting(backbone, flow, tier, 3)
    started(backbone, flow)
    with pytest.raises(ConfigurationError) as caught:
        started(backbone, now)
    assert re.match(
        rf"3 events wait in topic '{tier}', but erp has no delay '10s'", str(caught.value)
    )
    assert f"{now.destinations[0].place}" in str(caught.value)


def test_once_all_are_through_it_starts(backbone: Backbone) -> None:
    flow = flow_of("1s", "10s")
    ensured(backbone, required_topics(flow, 2))
    tier = f"{flow.name}.erp.retry.10s"
    now = renamed(flow, "1s")
    started(backbone, now)
    waiting(backbone, flow, tier, 3)
    completed(backbone, flow, TopicPartition(tier, 0, 1, encode_completed(1, {2})))
    with pytest.raises(ConfigurationError, match="1 event waits"):
        started(backbone, now)
    completed(backbone, flow, TopicPartition(tier, 0, 3))
    started(backbone, now)
