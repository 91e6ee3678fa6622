"""The topics that a flow needs, from its definitions alone."""

from __future__ import annotations

from typing import Any

from trunkline.kafka import TopicSpec
from trunkline.streams.flow import Flow

# Positions are read from the end and only the newest counts: small segments keep the topic short.
_POSITIONS = {"segment.bytes": "10485760", "min.cleanable.dirty.ratio": "0.1"}
_KEPT = {"retention.ms": "-1"}


def topics_of(flow: Flow[Any], partitions: int) -> list[TopicSpec]:
    """Every topic of the flow. Existing topics are left as they are, whatever stands here."""
    specs = {topic.topic: TopicSpec(topic.topic, partitions) for topic in flow.topics}
    for source in flow.sources:
        specs[source.positions] = TopicSpec(source.positions, 1, compact=True, config=_POSITIONS)
        specs[source.dlq] = TopicSpec(source.dlq, 1, config=_KEPT)
    for destination in flow.destinations:
        specs[destination.inbox] = TopicSpec(destination.inbox, partitions)
        specs[destination.dlq] = TopicSpec(destination.dlq, partitions, config=_KEPT)
    return list(specs.values())
