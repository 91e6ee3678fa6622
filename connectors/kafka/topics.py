"""What a foreign cluster says of topics: which one each is, its partitions, and their offsets.

Each question ends soon after ``stop`` is set, and at once where waiting is of no use, as with a
wrong password.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from trunkline import kafka
from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.errors import SourceError
from trunkline.kafka.clients import reasons_of
from trunkline.kafka.offsets import Partition

PATIENCE = 10.0
"""Seconds that one answer may take."""
GONE_AFTER = 5.0
"""Seconds for which a topic that was there must be unknown, or it counts as there. A broker that
has just started, or hears of the cluster late, knows none of its topics for a moment; and a source
that stops for good over that is read again only after a person has come."""
_LOOK = 0.05
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""How Kafka writes the id of a topic that has none, as in clusters before 2.8."""
_PASSING = (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION)


class Stopped(Exception):
    """The source was told to stop while it waited for Kafka."""


@dataclass(frozen=True, slots=True)
class Topic:
    """``id``: another one once the topic was made anew; "" where Kafka gives none."""

    id: str
    partitions: int


class TopicQuestions:
    """Asks one cluster. For the source's thread. Every method raises SourceError, and Stopped."""

    def __init__(self, cluster: KafkaCluster, stop: threading.Event) -> None:
        self._cluster = cluster
        self._stop = stop
        self._client: AdminClient = cluster.client(kafka.admin)

    def cluster_id(self) -> str:
        """The cluster's id."""
        answer = self._client.describe_cluster(request_timeout=PATIENCE)
        return str(self._answer(answer, "be looked at").cluster_id)

    def topics(self, names: Sequence[str], known: Sequence[str] = ()) -> dict[str, Topic]:
        """Those of these topics that there are. ``known``: those that were there before: one that
        is missing has been so for some seconds."""
        deadline = time.monotonic() + GONE_AFTER
        while True:
            found = self._there_now(names)
            if time.monotonic() > deadline or all(name in found for name in known):
                return found
            if self._stop.wait(0.2):
                raise Stopped

    def _there_now(self, names: Sequence[str]) -> dict[str, Topic]:
        asked = self._client.describe_topics(TopicCollection(list(names)), request_timeout=PATIENCE)
        found = {}
        for name, answer in asked.items():
            try:
                told = self._answer(answer, f"tell of topic {name!r}", topic=name)
            except _NotThere:
                continue
            id = str(told.topic_id)
            found[name] = Topic("" if id == _NO_ID else id, len(told.partitions))
        return found

    def offsets(
        self, partitions: Sequence[Partition], which: Literal["earliest", "latest"]
    ) -> Mapping[Partition, int]:
        """The first offset that each partition still holds, or the one behind its last record that
        is committed. A partition without a leader is waited for."""
        if not partitions:
            return {}
        deadline = time.monotonic() + PATIENCE
        while True:
            asked = self._client.list_offsets(
                {TopicPartition(*one): getattr(OffsetSpec, which)() for one in partitions},
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=PATIENCE,
            )
            try:
                return {
                    (at.topic, at.partition): int(
                        self._answer(answer, f"tell the offsets of {at.topic!r}").offset
                    )
                    for at, answer in asked.items()
                }
            except _NotThere as error:
                if time.monotonic() > deadline:
                    raise SourceError(str(error)) from None
            if self._stop.wait(0.1):
                raise Stopped

    def _answer(self, answer: Future[Any], what: str, topic: str = "") -> Any:
        reasons = reasons_of(self._client)
        while not wait([answer], _LOOK).done:
            if self._stop.is_set():
                raise Stopped
            self._client.poll(0)
            if reasons is not None:
                try:
                    reasons.raise_final()
                except kafka.KafkaRefused as error:
                    raise SourceError(self._cluster.told(error)) from error
        self._client.poll(0)
        failure = answer.exception()
        if failure is None:
            return answer.result()
        if not isinstance(failure, KafkaException):
            raise failure
        code = failure.args[0].code()
        text = f"Kafka at {self._cluster.bootstrap} does not {what}"
        if code == KafkaError.UNKNOWN_TOPIC_OR_PART or code in _PASSING:
            raise _NotThere(f"{text}: {failure.args[0].str()}")
        told = kafka.unavailable(text, failure, topic=topic, rights="Read and Describe")
        hint = reasons.text if reasons is not None else ""
        raise SourceError(self._cluster.told(hint or told)) from failure


class _NotThere(Exception):
    """There is no such topic, or not yet."""
