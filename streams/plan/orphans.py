"""Retry topics of delays that were taken out of a policy: what waits in them must not be forgotten.

A retry topic is named by its delay. Example: a destination has ``Retry("10s", "1m")``, 40 events
wait in ``orders.crm.retry.1m``, and somebody deploys ``Retry("10s", "5m")``. Nobody would read
these 40 events any more, and the next event of their keys would overtake them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from trunkline import kafka, naming
from trunkline.errors import ConfigurationError
from trunkline.kafka.reading import records_to_end
from trunkline.params import Backbone
from trunkline.streams.deliver.offsets import decode_completed
from trunkline.streams.flow.definition import Destination, Flow


def require_drained_tiers(backbone: Backbone, flow: Flow[Any], there: Mapping[str, int]) -> None:
    """Check that no event waits in a retry topic whose delay was taken out of the policy.

    ``there``: every topic's partition count. Blocks. Raises ConfigurationError that
    names the topic and how many events wait, and KafkaUnavailable.
    """
    for destination in flow.destinations:
        for topic in orphaned_tiers(destination, there):
            if count := _waiting(backbone, destination, topic, there[topic]):
                raise ConfigurationError(_mistake(destination, topic, count))


def orphaned_tiers(destination: Destination[Any, Any], topics: Iterable[str]) -> list[str]:
    """Those of ``topics`` that were retry topics of the destination and are none now."""
    flow, name = destination.flow.name, destination.name
    return sorted(
        topic
        for topic in topics
        if naming.is_tier_of(topic, flow, name) and topic not in destination.tiers
    )


def _waiting(
    backbone: Backbone, destination: Destination[Any, Any], topic: str, partitions: int
) -> int:
    group = naming.delivery_group(destination.flow.name, destination.name)
    try:
        return _incomplete(backbone, group, topic, partitions)
    except KafkaException as failure:
        what = f"topic {topic!r} could not be read"
        raise kafka.unavailable(what, failure, topic=topic, group=group) from failure


def _incomplete(backbone: Backbone, group: str, topic: str, partitions: int) -> int:
    """How many records of a topic the group has not completed.

    1. Ask for the committed offsets. Their metadata have what is completed beyond each of them.
    2. Read from the offsets to the ends, and count what is not completed.
    """
    all_ = [TopicPartition(topic, partition) for partition in range(partitions)]
    with closing(kafka.consumer(backbone, group)) as asking:
        committed = asking.committed(all_, timeout=30)
    done = {
        at.partition: decode_completed(max(at.offset, 0), at.metadata or "") for at in committed
    }
    starts = [TopicPartition(topic, at.partition, max(at.offset, 0)) for at in committed]
    pending = records_to_end(backbone, group, starts)
    return sum(message.offset() not in done[message.partition() or 0] for message in pending)


def _mistake(destination: Destination[Any, Any], topic: str, count: int) -> str:
    delay = naming.delay_of(topic)
    events = "1 event waits" if count == 1 else f"{count} events wait"
    return (
        f"{events} in topic {topic!r}, but {destination.name} has no delay {delay!r} any more "
        f"({destination.place}): put it back until they are through, or delete the topic, and "
        "the events with it"
    )
