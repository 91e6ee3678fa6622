"""What the delivery step needs of Kafka: a reader, a look at what waits, and a transaction.

``KafkaBroker`` is Kafka; the in-memory one of ``trunkline.testing`` lets the same engine run in a
test with a virtual clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaException, Message, TopicPartition

from trunkline import kafka
from trunkline.kafka import LastingProducer, PartitionRecord, transact
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import POLL, PollListener, PollLoop
from trunkline.kafka.purge import RecordPurger
from trunkline.kafka.reading import records_to_end
from trunkline.params import Backbone
from trunkline.tasks import naming_flow


class Consumer(Protocol):
    """The consumer of a group, as its owner sees it; see ``PollLoop``."""

    group: Any
    ready: bool
    failure: BaseException | None

    @property
    def epoch(self) -> int:
        """The number of the assignment under which is read now."""
        ...

    @property
    def lag(self) -> int:
        """Messages of our partitions that nobody has read."""
        ...

    def start(self, listener: PollListener) -> None:
        """Begin to read, and tell the listener of partitions and batches."""
        ...

    async def stop(self) -> None:
        """Leave the group, which finishes and commits everything."""
        ...

    def finished(self, count: int, epoch: int) -> None:
        """So many messages that were received in that epoch are done with."""
        ...

    def hold(self, partitions: frozenset[Partition]) -> None:
        """Read nothing more of these partitions, and go on with all others."""
        ...

    def read_through(self, ends: Mapping[Partition, int]) -> None:
        """Read these partitions up to these offsets at once, whether what they hold is due or not;
        all others as ever."""
        ...


class Broker(Protocol):
    """The topics of one destination."""

    def reader(
        self,
        topics: list[str],
        *,
        max_in_flight: int,
        resume_at: Callable[[Message], float],
    ) -> Consumer:
        """A reader of these topics, not started."""
        ...

    def read_pending(self, starts: list[TopicPartition]) -> Iterator[Message]:
        """What is in these partitions from these offsets on, to their ends as of now. From the
        reader's thread. Raises KafkaException, KafkaUnavailable."""
        ...

    async def write(
        self, records: list[PartitionRecord], offsets: list[TopicPartition], group: Any
    ) -> None:
        """Records and offsets in one transaction. Raises KafkaException: nothing is written."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class KafkaBroker:
    """The topics of one destination on Kafka. ``group``: the consumer group; ``transactional_id``
    is this process's alone; ``tiers``: topics in which nothing stays that is done with.
    ``idle``: as ``PollLoop`` says."""

    def __init__(
        self,
        backbone: Backbone,
        group: str,
        transactional_id: str,
        tiers: Sequence[str] = (),
        *,
        idle: float = POLL,
    ) -> None:
        self._idle = idle
        self._backbone = backbone
        self._group = group
        self._producer = LastingProducer(
            partial(kafka.producer, backbone, transactional_id=transactional_id)
        )
        self._trim = RecordPurger(tiers, partial(kafka.admin, backbone))
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix=f"commit-{group}", initializer=naming_flow()
        )

    def reader(
        self,
        topics: list[str],
        *,
        max_in_flight: int,
        resume_at: Callable[[Message], float],
    ) -> PollLoop:
        """A poll loop. The range assignor gives partition i of all topics to one worker."""
        make = partial(kafka.consumer, self._backbone, self._group)
        return PollLoop(
            make, topics, max_in_flight=max_in_flight, resume_at=resume_at, idle=self._idle
        )

    def read_pending(self, starts: list[TopicPartition]) -> Iterator[Message]:
        """What waits in tiers, for whom their partitions are new."""
        return records_to_end(self._backbone, self._group, starts)

    async def write(
        self, records: list[PartitionRecord], offsets: list[TopicPartition], group: Any
    ) -> None:
        """One transaction, in a thread of its own."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._transact, records, offsets, group)

    def _transact(
        self, records: list[PartitionRecord], offsets: list[TopicPartition], group: Any
    ) -> None:
        producer = self._producer.ready()
        try:
            transact(producer, (), offsets, group, placed=records)
        except KafkaException as failure:
            self._producer.failed(failure)
            raise
        self._trim.committed(offsets)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()
