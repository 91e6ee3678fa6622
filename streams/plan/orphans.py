"""Tiers of delays that were taken out of a policy: what waits in them must not be forgotten.

A tier's topic is named by its delay, so another delay is another topic, and nobody reads the one
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from trunkline import kafka, naming
from trunkline.errors import ConfigurationError
from trunkline.kafka import reading as kafka_read
from trunkline.params import Backbone
from trunkline.streams.deliver.offsets import decode_completed
from trunkline.streams.flow.definition import Destination, Flow


def require_drained_tiers(backbone: Backbone, flow: Flow[Any], there: Mapping[str, int]) -> None:
    """Nothing, if no event waits in a tier that its destination has no delay for any more.

    ``there``: every topic's partition count. Reads what is not completed in former tiers.
    Blocks. Raises ConfigurationError naming the topic, and KafkaUnavailable.
    """
    for destination in flow.destinations:
        for topic in orphaned_tiers(destination, there):
            if count := _asked(backbone, destination, topic, there[topic]):
                raise ConfigurationError(_told(destination, topic, count))


def orphaned_tiers(destination: Destination[Any, Any], topics: Iterable[str]) -> list[str]:
    """Those of ``topics`` that were tiers of the destination and are none now."""
    flow, name = destination.flow.name, destination.name
    return sorted(
        topic
        for topic in topics
        if naming.is_tier_of(topic, flow, name) and topic not in destination.tiers
    )


def _asked(
    backbone: Backbone, destination: Destination[Any, Any], topic: str, partitions: int
) -> int:
    try:
        group = naming.delivery_group(destination.flow.name, destination.name)
        return _waiting(backbone, group, topic, partitions)
    except KafkaException as failure:
        told = failure.args[0].str()
        raise kafka.KafkaUnavailable(f"topic {topic!r} could not be read: {told}") from failure


def _waiting(backbone: Backbone, group: str, topic: str, partitions: int) -> int:
    """How many records of a topic the group has not completed."""
    all_ = [TopicPartition(topic, partition) for partition in range(partitions)]
    with closing(kafka.consumer(backbone, group)) as asking:
        cuts = asking.committed(all_, timeout=30)
    done = {cut.partition: decode_completed(max(cut.offset, 0), cut.metadata or "") for cut in cuts}
    starts = [TopicPartition(topic, cut.partition, max(cut.offset, 0)) for cut in cuts]
    rest = kafka_read.rest(backbone, group, starts)
    return sum(message.offset() not in done[message.partition() or 0] for message in rest)


def _told(destination: Destination[Any, Any], topic: str, count: int) -> str:
    delay = naming.delay_of(topic)
    events = "1 event waits" if count == 1 else f"{count} events wait"
    return (
        f"{events} in topic {topic!r}, but {destination.name} has no delay {delay!r} any more "
        f"({destination.place}): put it back until they are through, or delete the topic, and "
        "the events with it"
    )
