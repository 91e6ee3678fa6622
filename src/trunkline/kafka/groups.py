"""How far many consumer groups are, and what many partitions hold, in a few requests: for whoever
watches all of a cluster's flows. Each function blocks the thread that calls it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from trunkline.kafka.offsets import Partition, checked

TIMEOUT = 10.0
"""Seconds that Kafka has for each answer."""


@dataclass(frozen=True, slots=True)
class Members:
    """``count``: consumers in a group; ``assigned``: those of them that have partitions."""

    count: int
    assigned: int


def group_members(client: AdminClient, groups: Collection[str]) -> dict[str, Members]:
    """The members of each group; none of one that never was. Raises KafkaException."""
    if not groups:
        return {}
    asked = client.describe_consumer_groups(list(groups), request_timeout=TIMEOUT)
    return {group: _members(answer) for group, answer in asked.items()}


def _members(answer: Future[Any]) -> Members:
    try:
        found = answer.result().members
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # none has run yet
            return Members(0, 0)
        raise
    assigned = [one for one in found if one.assignment and one.assignment.topic_partitions]
    return Members(len(found), len(assigned))


def group_offsets(
    client: AdminClient, partitions: Mapping[str, Sequence[Partition]]
) -> dict[str, list[TopicPartition]]:
    """What each group has committed in its ``partitions``, with the commits' metadata; offset 0
    where it has not. Without what a transaction is about to change: for that it waits. Raises
    KafkaException."""
    asked = {
        group: client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [TopicPartition(*at) for at in places])],
            require_stable=True,
            request_timeout=TIMEOUT,
        )[group]
        for group, places in partitions.items()
        if places
    }
    return {
        group: [
            TopicPartition(at.topic, at.partition, max(at.offset, 0), at.metadata or "")
            for at in checked(answer.result().topic_partitions)
        ]
        for group, answer in asked.items()
    }


def committed_ranges(
    client: AdminClient, partitions: Iterable[Partition]
) -> dict[Partition, range]:
    """The offsets that each partition holds of transactions that are over, those of their markers
    included: what a reader can get. Raises KafkaException."""
    asked = [TopicPartition(*at) for at in partitions]
    spec: Any = OffsetSpec
    lows, ends = _asked(client, asked, spec.earliest()), _asked(client, asked, spec.latest())
    low, end = _offsets(lows), _offsets(ends)
    return {at: range(low[at], max(low[at], end[at])) for at in low}


def _asked(client: AdminClient, asked: Sequence[TopicPartition], spec: Any) -> dict[Any, Any]:
    if not asked:
        return {}
    found: dict[Any, Any] = client.list_offsets(
        {TopicPartition(at.topic, at.partition): spec for at in asked},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=TIMEOUT,
    )
    return found


def _offsets(answers: Mapping[Any, Any]) -> dict[Partition, int]:
    return {(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}
