"""A destination's topics on a real Kafka: equally many partitions, whatever was there before."""

from __future__ import annotations

import uuid

import pytest

from trunkline import ConfigurationError, Flow, Params, Retry, kafka
from trunkline.connectors.base import Sink
from trunkline.kafka import TopicSpec
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.streams.topology import topics_of


def flow_of(*delays: str) -> Flow[Params]:
    flow = Flow(f"topics-{uuid.uuid4().hex[:8]}", Params)

    @flow.destination(retry=Retry(*delays))
    def erp(env: Params) -> Sink[Order]:
        raise AssertionError("no builder runs")

    return flow


def partitions(backbone: Backbone, flow: Flow[Params]) -> dict[str, int]:
    """The partitions of the destination's topics."""
    there = kafka.existing_topics(kafka.admin(backbone))
    return {n: count for n, count in there.items() if n.startswith(f"{flow.name}.erp.")}


def test_tiers_and_dlq_follow_an_inbox_that_is_there(bootstrap: str) -> None:
    backbone, flow = Backbone(bootstrap=bootstrap), flow_of("1s", "10s")
    kafka.ensure_topics(backbone, [TopicSpec(f"{flow.name}.erp.inbox", 3)])
    made = kafka.ensure_topics(backbone, topics_of(flow, 5))
    assert f"{flow.name}.control" in made
    assert partitions(backbone, flow) == {
        f"{flow.name}.erp.inbox": 3,
        f"{flow.name}.erp.retry.1s": 3,
        f"{flow.name}.erp.retry.10s": 3,
        f"{flow.name}.erp.dlq": 3,
    }
    assert kafka.ensure_topics(backbone, topics_of(flow, 7)) == []


def test_an_inbox_that_was_widened_stops_the_start_before_anything_is_made(bootstrap: str) -> None:
    backbone, flow = Backbone(bootstrap=bootstrap), flow_of("1s", "10s")
    there = [TopicSpec(f"{flow.name}.erp.inbox", 3), TopicSpec(f"{flow.name}.erp.retry.1s", 2)]
    kafka.ensure_topics(backbone, there)
    with pytest.raises(ConfigurationError, match=r"retry\.1s' has 2 partitions, but .* has 3"):
        kafka.ensure_topics(backbone, topics_of(flow, 3))
    assert len(partitions(backbone, flow)) == 2
