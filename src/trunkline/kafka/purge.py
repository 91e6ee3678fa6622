"""Retry tiers are kept for ever, as what waits must outlast any outage; so it is us who delete what
is done with: everything before an offset that the group has committed.

Of what is deleted nobody has any use: a group goes on at its committed offset, and reads what waits
from there. Kafka frees the disk as whole segments (of SEGMENT bytes) are behind that offset.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from trunkline.kafka.offsets import Partition

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks."""
ENOUGH = 10_000
"""Records that a partition must have for deletion."""
SEGMENT = 64 * 1024 * 1024
"""Bytes of a tier's segments: what a partition takes on disk at most beyond what waits."""


class RecordPurger:
    """Deletes what is done with from the partitions of some topics. Not thread-safe.

    ``admin``: makes the client, when it is needed for the first time. Nothing is raised: what
    could not be deleted is tried again, and without the right to do so once an hour.
    """

    def __init__(
        self,
        topics: Iterable[str],
        admin: Callable[[], AdminClient],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = frozenset(topics)
        self._make = admin
        self._clock = clock
        self._admin: AdminClient | None = None
        self._next = clock() + EVERY
        self._reached: dict[Partition, int] = {}
        self._deleted: dict[Partition, int] = {}
        self._asked: dict[Partition, tuple[int, Future[Any]]] = {}

    def committed(self, offsets: Iterable[TopicPartition]) -> None:
        """The group has committed these offsets."""
        for at in offsets:
            if at.topic in self._topics:
                self._reached[at.topic, at.partition] = at.offset
        if self._clock() >= self._next:
            self._next = self._clock() + EVERY
            self._hear()
            self._ask()

    def _ask(self) -> None:
        due = {
            partition: offset
            for partition, offset in self._reached.items()
            if offset - self._deleted.get(partition, 0) >= ENOUGH and partition not in self._asked
        }
        if not due:
            return
        before = [TopicPartition(topic, number, offset) for (topic, number), offset in due.items()]
        try:
            self._admin = self._admin or self._make()
            asked = self._admin.delete_records(before, request_timeout=EVERY / 2)
        except KafkaException as failure:
            self._failed(next(iter(due)), failure)
            return
        for at, future in asked.items():
            partition = at.topic, at.partition
            self._asked[partition] = due[partition], future

    def _hear(self) -> None:
        """What became of the last question."""
        for partition, (offset, future) in list(self._asked.items()):
            if not future.done():
                continue
            del self._asked[partition]
            failure = future.exception()
            if failure is None:
                self._deleted[partition] = offset
            else:
                self._failed(partition, failure)

    def _failed(self, partition: Partition, failure: BaseException) -> None:
        log.warning("what is done with in %s/%d cannot be deleted yet: %s", *partition, failure)
        code = failure.args[0].code() if isinstance(failure, KafkaException) else None
        if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            log.warning("grant Delete on %s, or it grows for ever", partition[0])
            self._next = self._clock() + 3600
