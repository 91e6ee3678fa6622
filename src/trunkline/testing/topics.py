"""Kafka's part in memory: topics, consumer groups' offsets, and transactions of both.

What is here survives a worker: a new one goes on from it, as from a broker.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from trunkline.event import Headers
from trunkline.kafka import PartitionRecord, ProducerRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.offsets import Partition


@dataclass(frozen=True, slots=True)
class Generation:
    """A group's metadata as a worker got it when it joined. A commit under an older number than the
    group's present one is refused, as Kafka refuses a worker that has lost its partitions."""

    group: str
    number: int


@dataclass(slots=True)
class Topics:
    """The topics of a backbone. ``clock``: epoch seconds; ``partitions``: of every topic.

    How it behaves may be changed at any time. ``gaps``: whether offsets have gaps, as transactions
    leave them in Kafka; ``batch``: records that a reader gets at once, at the most; ``shuffle``:
    chooses which partition is read next, else they are read in turn; ``latency``: seconds that a
    transaction takes; ``failures``: how many of the next ones fail.
    """

    clock: Callable[[], float]
    partitions: int = 4
    gaps: bool = False
    batch: int = 2000
    shuffle: Random | None = None
    latency: float = 0.0
    failures: int = 0
    _stalled: set[str] = field(default_factory=set)
    _logs: dict[Partition, list[StoredMessage]] = field(default_factory=dict)
    _truncated: dict[Partition, int] = field(default_factory=dict)
    _offsets: dict[tuple[str, Partition], tuple[int, str]] = field(default_factory=dict)
    _generations: dict[str, int] = field(default_factory=dict)
    _readers: list[Callable[[], None]] = field(default_factory=list)

    # Records.

    def place(self, topic: str, key: bytes | None) -> Partition:
        """Where a record with this key goes."""
        return topic, crc32(key or b"") % self.partitions

    def records(self, topic: str) -> list[StoredMessage]:
        """All records of a topic, in the order of their partitions and offsets."""
        return [
            message
            for number in range(self.partitions)
            for message in self._logs.get((topic, number), ())
        ]

    def read(self, place: Partition, start: int, limit: int) -> list[StoredMessage]:
        """Up to ``limit`` records of a partition from an offset on."""
        log = self._logs.get(place, [])
        first = bisect_left(log, start, key=lambda message: message.offset())
        return log[first : first + limit]

    def stall(self, topic: str, on: bool = True) -> None:
        """Nobody can read the topic, as when a broker is away; or everybody again."""
        (self._stalled.add if on else self._stalled.discard)(topic)
        self._notify_readers()

    def stalled(self, topic: str) -> bool:
        """Whether nobody can read the topic."""
        return topic in self._stalled

    def end(self, place: Partition) -> int:
        """The offset that the next record of a partition will have, or a smaller one."""
        log = self._logs.get(place)
        return log[-1].offset() + 1 if log else self._truncated.get(place, 0)

    def extent(self, place: Partition) -> tuple[int, int]:
        """The first offset that a partition has, and ``end``."""
        log, end = self._logs.get(place), self.end(place)
        return (log[0].offset() if log else end), end

    def truncate(self, topic: str) -> None:
        """Forget a topic's records so far, as when their retention is over."""
        for place, log in self._logs.items():
            if place[0] == topic:
                self._truncated[place] = self.end(place)
                log.clear()

    def write(self, records: Iterable[ProducerRecord]) -> list[StoredMessage]:
        """Append records, each where its key belongs; returns them as they are read."""
        now = int(self.clock() * 1000)
        written = [self._append(self.place(t, k), k, v, h, now) for t, k, v, h in records]
        self._notify_readers()
        return written

    def write_placed(self, records: Iterable[PartitionRecord]) -> None:
        """Append records, each to the partition that it names."""
        for topic, partition, key, value, headers, written in records:
            self._append((topic, partition), key, value, headers, written)
        self._notify_readers()

    def _append(
        self,
        place: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        written: int,
    ) -> StoredMessage:
        log = self._logs.setdefault(place, [])
        offset = self.end(place) + (1 if self.gaps and log else 0)
        log.append(StoredMessage(*place, offset, key, value, headers, timestamp=written))
        return log[-1]

    # Groups.

    def join(self, group: str) -> Generation:
        """A worker joins a group, alone: what others of the group commit is refused from now on."""
        self._generations[group] = self._generations.get(group, 0) + 1
        return Generation(group, self._generations[group])

    def committed(self, group: str, at: TopicPartition) -> TopicPartition:
        """Where a group stands in a partition, with the commit's metadata."""
        place = (at.topic, at.partition)
        offset, metadata = self._offsets.get((group, place), (OFFSET_INVALID, ""))
        return TopicPartition(*place, offset, metadata)

    def transact(
        self,
        records: Sequence[PartitionRecord],
        offsets: Sequence[TopicPartition],
        member: Generation,
    ) -> None:
        """Records and offsets of a group, all at once. Raises KafkaException, and nothing is
        written, if the worker is none of the group any more."""
        if self._generations.get(member.group) != member.number:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        for topic, partition, key, value, headers, written in records:
            self._append((topic, partition), key, value, headers, written)
        for at in offsets:
            place = (at.topic, at.partition)
            self._offsets[member.group, place] = (at.offset, at.metadata or "")
        self._notify_readers()

    def listen(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Call ``notify`` after each write; returns what ends that."""
        self._readers.append(notify)

        def end() -> None:
            if notify in self._readers:
                self._readers.remove(notify)

        return end

    def _notify_readers(self) -> None:
        for notify in list(self._readers):
            notify()
