"""How far consumer groups are, and what partitions hold: for whoever watches many of them for ever.

Not by the admin client's calls about groups. Tried with librdkafka 2.16: once a broker was killed
and is back, each of them ends in vain after its time-out, for as long as that client lives, and now
and then the process is aborted (``rd_kafka_enq_once_del_source_return``: ``refcnt > 0``). Its calls
about the cluster and about offsets, consumers, and the old way to list groups survive that. Each
function blocks the thread that calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from trunkline.kafka.clients import consumer
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.params import Backbone

TIMEOUT = 5.0
"""Seconds that Kafka has for each answer about a group."""
OFFSETS_TIMEOUT = 10.0
"""Seconds that it has to tell of all partitions."""
AT_ONCE = 8
"""Groups that are asked about side by side."""

Failure = KafkaException


class GroupOffsets:
    """What many groups have committed. For one thread.

    Each group has a consumer, which joins nothing: 0.7 MB, and less than a millisecond a question.
    """

    def __init__(self, backbone: Backbone) -> None:
        # What an open transaction is about to change counts once it has. To ask for no other
        # offsets means to wait until none is open, which with a killed worker's takes ten seconds.
        at_once = {**backbone.kafka, "isolation.level": "read_uncommitted"}
        self._backbone = backbone.model_copy(update={"kafka": at_once})
        self._consumers: dict[str, Consumer] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scaler-offsets")

    def ask(
        self, partitions: Mapping[str, Sequence[Partition]]
    ) -> dict[str, list[TopicPartition] | Failure]:
        """What each group has committed in its ``partitions``, with the commits' metadata, and
        offset 0 where it has not; or why that cannot be told."""
        for group in partitions:
            if group not in self._consumers:
                self._consumers[group] = consumer(self._backbone, group)
        answers = self._pool.map(self._ask, partitions, partitions.values())
        return dict(zip(partitions, answers, strict=True))

    def _ask(self, group: str, places: Sequence[Partition]) -> list[TopicPartition] | Failure:
        asked = [TopicPartition(*at) for at in places]
        try:
            return committed_offsets(self._consumers[group], asked, TIMEOUT)
        except KafkaException as failure:
            return failure

    def close(self) -> None:
        """Release the connections."""
        self._pool.shutdown()
        for one in self._consumers.values():
            with suppress(KafkaException):
                one.close()


def members_with_partitions(client: AdminClient, group: str) -> int:
    """How many members of a group have partitions; 0 for one that never was. Raises KafkaException,
    also if one of several brokers does not answer."""
    found = client.list_groups(group, timeout=TIMEOUT)
    return sum(_has_partitions(member.assignment) for one in found for member in one.members)


def _has_partitions(assignment: bytes | None) -> bool:
    """By Kafka's ConsumerProtocolAssignment: a version of two bytes, then how many topics."""
    return bool(assignment) and int.from_bytes((assignment or b"")[2:6], "big") > 0


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
            request_timeout=OFFSETS_TIMEOUT,
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
