"""A transactional producer without Kafka."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition


class KeepingProducer:
    """A transactional producer. ``committed``: records and offsets of each transaction;
    ``failures``: what the next commits raise."""

    def __init__(self) -> None:
        self.committed: list[tuple[list[bytes], dict[int, int]]] = []
        self.aborted = 0
        self.failures: list[KafkaError] = []
        self._records: list[bytes] = []
        self._offsets: dict[int, int] = {}

    def init_transactions(self, timeout: float) -> None:
        pass

    def begin_transaction(self) -> None:
        self._records, self._offsets = [], {}

    def produce(self, topic: str, value: bytes, key: bytes, **more: Any) -> None:
        self._records.append(key)

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], group: object) -> None:
        assert group == "metadata", "the offsets are sent as a member of the group"
        self._offsets = {at.partition: at.offset for at in offsets}

    def commit_transaction(self) -> None:
        if self.failures:
            raise KafkaException(self.failures.pop(0))
        if self._records or self._offsets:
            self.committed.append((self._records, self._offsets))

    def abort_transaction(self) -> None:
        self.aborted += 1
