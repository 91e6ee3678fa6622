"""A ``confluent_kafka.Consumer`` over logs in memory, as a broker would answer it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from trunkline.kafka.offsets import Partition


@dataclass
class Log:
    """One partition. ``records``: the offsets that hold one, the others are transaction markers;
    ``first``: the log's first offset; ``high``: the high watermark; ``stable``: the last stable
    offset, behind which an open transaction hides everything."""

    records: Iterable[int]
    high: int
    first: int = 0
    stable: int | None = None

    @property
    def end(self) -> int:
        """What a consumer that sees committed records only takes for the end."""
        return self.high if self.stable is None else self.stable


@dataclass
class FakeConsumer:
    """``most``: messages that have arrived when it is asked; ``troubles``: errors that it gives
    first, one a poll; ``committed_offsets``: what the group has committed."""

    logs: Mapping[Partition, Log]
    most: int = 3
    troubles: list[KafkaError] = field(default_factory=list)
    committed_offsets: Mapping[Partition, int] = field(default_factory=dict)
    closed: bool = False
    polls: int = 0
    paused: set[Partition] = field(default_factory=set)
    _next: dict[Partition, int] = field(default_factory=dict)
    _told: dict[Partition, int] = field(default_factory=dict)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._next = {(at.topic, at.partition): at.offset for at in partitions}
        self._told = {}

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*partition) for partition in self._next]

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        names = [(at.topic, at.partition) for at in partitions]
        return [TopicPartition(*name, self._next[name]) for name in names]

    def consume(self, count: int, timeout: float) -> list[Message]:
        del timeout
        self.polls += 1
        if self.troubles:
            return [Message(error=self.troubles.pop(0))]
        found: list[Message] = []
        for partition in self._next:
            if partition not in self.paused:
                found += self._fetch(partition, min(count, self.most) - len(found))
        return found

    def _fetch(self, partition: Partition, limit: int) -> list[Message]:
        log = self.logs[partition]
        if not log.first <= self._next[partition] <= log.high:
            self._next[partition] = log.first  # auto.offset.reset
        begin = self._next[partition]
        offsets = [at for at in sorted(log.records) if begin <= at < log.end][: max(0, limit)]
        named: Any = {"topic": partition[0], "partition": partition[1]}
        named |= {"key": b"k", "timestamp": (1, 0)}
        found = [Message(**named, offset=at, value=b"%d" % at) for at in offsets]
        if offsets:
            self._next[partition] = offsets[-1] + 1
        elif limit > 0:
            self._next[partition] = max(begin, log.end)
            if self._told.get(partition) != log.end:
                self._told[partition] = log.end
                end = KafkaError(KafkaError._PARTITION_EOF)
                found.append(Message(**named, offset=log.end, error=end))
        return found

    def get_watermark_offsets(
        self, at: TopicPartition, timeout: float = 0.0, cached: bool = False
    ) -> tuple[int, int]:
        del timeout
        log = self.logs[at.topic, at.partition]
        return log.first, log.high if cached else log.end

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        del timeout
        known = self.committed_offsets
        names = [(at.topic, at.partition) for at in partitions]
        return [TopicPartition(*name, known.get(name, -1001)) for name in names]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(at.topic, at.partition) for at in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(at.topic, at.partition) for at in partitions}

    def seek(self, at: TopicPartition) -> None:
        self._next[at.topic, at.partition] = at.offset

    def consumer_group_metadata(self) -> str:
        return "group metadata"

    def close(self) -> None:
        self.closed = True
