"""The topics that a flow needs, from its definitions alone."""

from __future__ import annotations

from typing import Any

from trunkline import naming
from trunkline.kafka import TopicSpec
from trunkline.kafka.purge import SEGMENT
from trunkline.streams.control.audit import audit_topic
from trunkline.streams.control.topic import control_topic
from trunkline.streams.flow.definition import Destination, Flow
from trunkline.streams.quota.client import limited
from trunkline.streams.quota.client import topic as limits_topic

# Positions are read from the end and only the newest counts: small segments keep the topic short.
_POSITIONS = {"segment.bytes": "10485760", "min.cleanable.dirty.ratio": "0.1"}
# Nothing in it may go before it was dealt with, however long that takes.
_KEPT = {"retention.ms": "-1"}
# The newest state of each call, for a day: so long a repeated call is known for one.
_CALLS = {
    "cleanup.policy": "compact,delete",
    "retention.ms": "86400000",
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.2",
}
# What is older than any caller waits is of no use.
_QUESTIONS = {"retention.ms": "600000", "segment.ms": "600000"}
# Of each request of 90 days: whoever must keep it for longer sets so, or copies it.
_ACCESSES = {"retention.ms": "7776000000"}
# What is done with is deleted (``kafka/purge.py``), a segment at a time.
_TIER = {**_KEPT, "segment.bytes": str(SEGMENT)}


def required_topics(flow: Flow[Any], partitions: int) -> list[TopicSpec]:
    """Every topic of the flow. Existing topics are left as they are, whatever stands here."""
    # A table is the newest value per key, so its topic must keep that for ever.
    tables = {table.topic.topic for table in flow.tables}
    specs = {
        topic.topic: TopicSpec(topic.topic, partitions, compact=topic.topic in tables)
        for topic in flow.topics
    }
    for source in flow.sources:
        specs[source.positions] = TopicSpec(source.positions, 1, compact=True, config=_POSITIONS)
        specs[source.dlq] = TopicSpec(source.dlq, 1, config=_KEPT)
    for destination in flow.destinations:
        specs |= {spec.name: spec for spec in _topics_of_destination(destination, partitions)}
    of_all = [control_topic(flow.name), audit_topic(flow.name)]
    if limited(flow.destinations):
        of_all.append(limits_topic())
    return [*specs.values(), *of_all]


def is_called(flow: Flow[Any]) -> bool:
    """Whether gateways offer something of a flow."""
    received = any(topic.received for topic in flow.topics)
    return received or any(destination.operations for destination in flow.destinations)


def gateway_topics() -> list[TopicSpec]:
    """What all gateways of a backbone have in common, whatever flows they serve."""
    shares = TopicSpec(naming.SHARES, 1, config=limits_topic().config)
    accesses = TopicSpec(naming.ACCESSES, 1, config=_ACCESSES)
    return [shares, accesses, control_topic(naming.GATEWAYS), audit_topic(naming.GATEWAYS)]


def _topics_of_destination(destination: Destination[Any, Any], partitions: int) -> list[TopicSpec]:
    """Partition i of all of them belongs to one worker, so they have equally many."""
    inbox = destination.inbox
    calls = [TopicSpec(destination.calls, partitions, True, _CALLS, like=inbox)]
    return [
        TopicSpec(inbox, partitions),
        *(TopicSpec(name, partitions, config=_TIER, like=inbox) for name in destination.tiers),
        TopicSpec(destination.dlq, partitions, config=_KEPT, like=inbox),
        *(calls if destination.operations else ()),
        *(_of_queries(destination, partitions) if destination.queries else ()),
    ]


def _of_queries(destination: Destination[Any, Any], partitions: int) -> list[TopicSpec]:
    return [
        TopicSpec(destination.queries, partitions, config=_QUESTIONS),
        TopicSpec(naming.REPLIES, 1, config=_QUESTIONS),
    ]
