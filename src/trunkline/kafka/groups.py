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


Failure = KafkaException


def group_members(client: AdminClient, groups: Collection[str]) -> dict[str, Members | Failure]:
    """The members of each group, none of one that never was; or why they cannot be told."""
    if not groups:
        return {}
    asked = client.describe_consumer_groups(list(groups), request_timeout=TIMEOUT)
    return {group: _members(answer) for group, answer in asked.items()}


def _members(answer: Future[Any]) -> Members | Failure:
    try:
        found = answer.result().members
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # none has run yet
            return Members(0, 0)
        return failure
    assigned = [one for one in found if one.assignment and one.assignment.topic_partitions]
    return Members(len(found), len(assigned))


def group_offsets(
    client: AdminClient, partitions: Mapping[str, Sequence[Partition]]
) -> dict[str, list[TopicPartition] | Failure]:
    """What each group has committed in its ``partitions``, with the commits' metadata; offset 0
    where it has not; or why that cannot be told. What a transaction is about to change is waited
    for."""
    asked = {
        group: client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [TopicPartition(*at) for at in places])],
            require_stable=True,
            request_timeout=TIMEOUT,
        )[group]
        for group, places in partitions.items()
        if places
    }
    return {group: _committed(answer) for group, answer in asked.items()}


def _committed(answer: Future[Any]) -> list[TopicPartition] | Failure:
    try:
        found = checked(answer.result().topic_partitions)
    except KafkaException as failure:
        return failure
    return [
        TopicPartition(at.topic, at.partition, max(at.offset, 0), at.metadata or "") for at in found
    ]


def committed_ranges(
    client: AdminClient, partitions: Iterable[Partition]
) -> dict[Partition, range | Failure]:
    """The offsets that each partition holds of transactions that are over, those of their markers
    included, which is what a reader can get; or why that cannot be told, as when it has no
    leader."""
    asked = [TopicPartition(*at) for at in partitions]
    if not asked:
        return {}
    spec: Any = OffsetSpec
    lows, ends = (
        client.list_offsets(
            {TopicPartition(at.topic, at.partition): which for at in asked},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT,
        )
        for which in (spec.earliest(), spec.latest())
    )
    low, end = _offsets(lows), _offsets(ends)
    return {at: _range(low[at], end[at]) for at in low}


def _offsets(answers: Mapping[Any, Future[Any]]) -> dict[Partition, int | Failure]:
    return {(at.topic, at.partition): _offset(answer) for at, answer in answers.items()}


def _offset(answer: Future[Any]) -> int | Failure:
    try:
        return int(answer.result().offset)
    except KafkaException as failure:
        return failure


def _range(low: int | Failure, end: int | Failure) -> range | Failure:
    if isinstance(low, KafkaException):
        return low
    return end if isinstance(end, KafkaException) else range(low, max(low, end))
