"""Reading foreign topics by hand: partitions are assigned, offsets are ours, there is no group.

A part of the position is a topic: ``{"id": which topic it is, "next": {partition: offset}}``, with
an ``id`` of "" and nothing in ``next`` for a topic that is not there yet.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from confluent_kafka import KafkaError, Message, TopicPartition

from trunkline import kafka
from trunkline.connectors.base import Position
from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.connectors.kafka.topics import Topic, TopicQuestions
from trunkline.errors import ConfigurationError, SourceError
from trunkline.kafka.messages import partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.reasons import is_fatal

log = logging.getLogger(__name__)

POLL = 0.2
"""Seconds that one poll waits at the most."""
GROUP = "trunkline-reader"
"""librdkafka wants a name. Nobody joins a group of it, and no offset is committed to it."""
_OUT_OF_RANGE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
_NOT_THERE = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)
_RESET = "`trunkline source reset FLOW SOURCE` begins anew with all that it holds"

Start = Literal["earliest", "latest"]


@dataclass(slots=True)
class _Part:
    """Where we stand in one topic. ``stored``: its entry of the position; None once it is old."""

    id: str = ""
    next: dict[int, int] = field(default_factory=dict)
    stored: dict[str, Any] | None = None

    def to_store(self) -> dict[str, Any]:
        if self.stored is None:
            offsets = {str(partition): offset for partition, offset in self.next.items()}
            self.stored = {"id": self.id, "next": offsets}
        return self.stored


class TopicReader:
    """Reads some topics of one cluster, each partition in its order. For the source's thread.

    What was read counts once ``passed`` says so. Raises SourceError for what may pass, and
    ConfigurationError where going on would leave something out: another cluster, a topic that was
    deleted or made anew, records that are gone before they were read.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        names: Sequence[str],
        stop: threading.Event,
        *,
        start: Start,
        interval: float,
    ) -> None:
        self._cluster = cluster
        self._names = names
        self._start: Start = start
        self._interval = interval
        self._questions = TopicQuestions(cluster, stop)
        # Not "earliest": where the beginning is gone, somebody has to hear of it.
        self._client = cluster.client(
            lambda of: kafka.consumer(of, GROUP, eof=True), auto_offset_reset="error"
        )
        self._parts: dict[str, _Part] = {}
        self._at_end: set[Partition] = set()
        self._cluster_id = ""
        self._look_at = 0.0
        self.moved = False
        """Whether it stands elsewhere than ``position`` last said."""

    def begin(self, position: Position | None) -> None:
        """Go on at a position, or begin."""
        self._cluster_id = self._questions.cluster_id()
        stored: Mapping[str, Any] = {} if position is None else position.get("parts", {})
        if position is not None and position.get("cluster") != self._cluster_id:
            raise ConfigurationError(
                f"the position is of the cluster {position.get('cluster')!r}, and "
                f"{self._cluster.bootstrap} is {self._cluster_id!r}: give the address of that one; "
                f"if it moved, offsets are others, and {_RESET}"
            )
        known = [name for name in self._names if name in stored and stored[name]["next"]]
        there = self._questions.topics(self._names, known)
        for name in self._names:
            self._parts[name] = self._part(name, stored.get(name), there.get(name))
        at = [
            TopicPartition(name, partition, offset)
            for name, part in self._parts.items()
            for partition, offset in part.next.items()
        ]
        self._check_offsets(at)
        self._client.assign(at)
        self._look_at, self.moved = time.monotonic() + self._interval, True

    def read(self, limit: int) -> tuple[list[Message], Exception | None]:
        """Records, and ends of partitions, that have arrived; waits a moment for the first. And
        the error that came behind them, if one did. Looks at the topics now and then."""
        found: list[Message] = []
        try:
            if time.monotonic() >= self._look_at:
                self._look()
            first = self._client.poll(POLL)
            polled = [] if first is None else [first, *self._client.consume(limit - 1, 0)]
            for message in polled:
                if (error := message.error()) is None or error.code() == KafkaError._PARTITION_EOF:
                    found.append(message)
                else:
                    self._heard(message, error)
        except (SourceError, ConfigurationError) as raised:
            return found, raised
        return found, None

    def passed(self, message: Message) -> None:
        """The message is done with: the position moves behind it."""
        (topic, number), offset = partition_of(message), message.offset()
        part = self._parts[topic]
        assert offset is not None
        if message.error() is None:
            self._at_end.discard((topic, number))
            offset += 1
        else:  # an end: markers of transactions may stand in front of it, which nobody reads
            self._at_end.add((topic, number))
        if offset > part.next[number]:
            part.next[number], part.stored, self.moved = offset, None, True

    @property
    def current(self) -> bool:
        """Whether it stands at the end of every partition."""
        return len(self._at_end) == sum(len(part.next) for part in self._parts.values())

    def topic_id(self, name: str) -> str:
        """The topic's id; of a cluster that has none, cluster and name."""
        return self._parts[name].id or f"{self._cluster_id}/{name}"

    def position(self) -> Position:
        """Where it stands; nothing of it changes later."""
        self.moved = False
        parts = {name: part.to_store() for name, part in self._parts.items()}
        return {"cluster": self._cluster_id, "parts": parts}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _part(self, name: str, stored: Mapping[str, Any] | None, topic: Topic | None) -> _Part:
        """Where to go on in a topic, or to begin."""
        if topic is None:
            if stored is not None and stored["next"]:
                raise ConfigurationError(_gone(name))
            log.warning("there is no topic %r at %s (yet)", name, self._cluster.bootstrap)
            return _Part()
        numbers = range(topic.partitions)
        if stored is None:
            first = self._questions.offsets([(name, number) for number in numbers], self._start)
            return _Part(topic.id, {number: first[name, number] for number in numbers})
        offsets = {int(number): int(offset) for number, offset in stored["next"].items()}
        if offsets and _is_other(stored["id"], topic.id):
            raise ConfigurationError(_anew(name, stored["id"], topic.id))
        # One that was not there before is ours from its first record on.
        return _Part(
            topic.id or stored["id"], {number: offsets.get(number, 0) for number in numbers}
        )

    def _check_offsets(self, at: Sequence[TopicPartition]) -> None:
        """Raise ConfigurationError where a log no longer holds what comes next, or ends before.
        ``at``: where we stand in the partitions that are looked at. Not in all at any time: what a
        log has lost since may wait in our client already, and is read."""
        next_ = {(one.topic, one.partition): one.offset for one in at}
        earliest = self._questions.offsets(list(next_), "earliest")
        latest = self._questions.offsets(list(next_), "latest")
        for (name, number), offset in next_.items():
            if offset < earliest[name, number]:
                lost = earliest[name, number] - offset
                raise ConfigurationError(
                    f"topic {name!r} at {self._cluster.bootstrap} no longer holds what comes next: "
                    f"of partition {number} up to {lost} records from offset {offset} on were "
                    "deleted (retention) before they were read. They are lost to this source; "
                    f"{_RESET}. Raise retention.ms of the topic above the longest outage"
                )
            if offset > latest[name, number]:
                raise ConfigurationError(
                    f"partition {number} of topic {name!r} at {self._cluster.bootstrap} ends at "
                    f"offset {latest[name, number]}, and {offset} was read before: it was cut or "
                    f"made anew, and what is there now may be other records; {_RESET}"
                )

    def _look(self) -> None:
        """Look whether the topics are the same, and for those and partitions that are new."""
        self._look_at = time.monotonic() + self._interval
        known = [name for name, part in self._parts.items() if part.next]
        there = self._questions.topics(self._names, known)
        new: list[TopicPartition] = []
        for name, part in self._parts.items():
            topic = there.get(name)
            if topic is None:
                if part.next:
                    raise ConfigurationError(_gone(name))
                continue
            if part.next and _is_other(part.id, topic.id):
                raise ConfigurationError(_anew(name, part.id, topic.id))
            if topic.id and part.id != topic.id:
                part.id, part.stored, self.moved = topic.id, None, True
            for number in range(topic.partitions):
                if number not in part.next:
                    part.next[number], part.stored, self.moved = 0, None, True
                    new.append(TopicPartition(name, number, 0))
        if new:
            log.info(
                "new partitions are read: %s", ", ".join(f"{n.topic}/{n.partition}" for n in new)
            )
            self._check_offsets(new)
            self._client.incremental_assign(new)

    def _heard(self, message: Message, error: KafkaError) -> None:
        """Raise what an error means: of a partition always, since what follows may be behind a gap
        (a batch whose checksum is wrong, or that cannot be unpacked, is passed over by the client).
        What is of no partition passes by itself, and is logged."""
        topic, number, code = message.topic(), message.partition(), error.code()
        if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise SourceError(
                f"this account has no right to topic {topic!r} at {self._cluster.bootstrap}: grant "
                "it Read and Describe"
            )
        if code in _OUT_OF_RANGE or code in _NOT_THERE:
            self._look()
        if topic is not None and number is not None and number >= 0:
            if code in _OUT_OF_RANGE:
                offset = self._parts[topic].next[number]
                self._check_offsets([TopicPartition(topic, number, offset)])
            raise SourceError(self._cluster.told(f"topic {topic!r}: {error.str()}"))
        if is_fatal(error) or code in _NOT_THERE:
            raise SourceError(self._cluster.told(error.str()))
        if code != KafkaError.GROUP_AUTHORIZATION_FAILED:  # we are in no group
            log.warning("Kafka: %s", self._cluster.told(error.str()), extra={"topic": topic})


def _is_other(before: str, now: str) -> bool:
    """Whether a topic is another one than before. A cluster that tells no ids tells nothing; once
    it is upgraded, its topics have some and are the same."""
    return bool(before and now) and before != now


def _gone(name: str) -> str:
    return (
        f"topic {name!r} was deleted; what it held and was not read is lost. Take it out of "
        f"topics= or, once it is there again, {_RESET}"
    )


def _anew(name: str, old: str, new: str) -> str:
    return (
        f"topic {name!r} was deleted and made anew (its id was {old}, and is {new}); what the old "
        f"one held and was not read is lost. {_RESET} of this one"
    )
