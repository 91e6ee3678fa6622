"""The Kafka transactions in which a worker writes to inboxes, one at a time whoever writes.

Two write there: the routing step what it made of a batch, and the jobs of replays and re-drives
past events. One producer and one lock serve both. Why: a replay with a producer of its own races
live routing. It reads version 1 of an order, routing sends version 2, the replay sends version 1
behind it, and the destination ends on the older state (1.4 % of simulated interleavings).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from trunkline.kafka import LastingProducer, ProducerRecord, aborting, finish, produce, transact
from trunkline.kafka.poll_loop import PollLoop
from trunkline.streams.metrics import StepMetrics
from trunkline.tasks import naming_flow

T = TypeVar("T")


class RoutingTransactions:
    """One worker's transactions to inboxes. For the event loop; calls that block run in a thread.

    ``lock``: whoever writes holds it, from looking at what is to be written until that is
    committed. It is the last lock that a chunk of a replay takes (``streams/replay/job.py`` says
    which come before it).
    ``intake``: the poll loop of the routing step, which knows the worker's assignment.
    """

    def __init__(
        self, intake: PollLoop, make_producer: Callable[[], Producer], metrics: StepMetrics
    ) -> None:
        self.lock = asyncio.Lock()
        self._intake = intake
        self._producer = LastingProducer(make_producer)
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="route-commit", initializer=naming_flow()
        )

    @property
    def epoch(self) -> int:
        """The assignment's number: another one means that partitions may be another worker's."""
        return self._intake.epoch

    async def write(
        self, records: Sequence[ProducerRecord], at: TopicPartition, epoch: int
    ) -> None:
        """Write records in one transaction; for the holder of ``lock``.

        ``at``: where the group stands in a partition that the worker owned in ``epoch``. The
        offset is committed again, unchanged. Raises KafkaException: then nothing is written, as
        in a worker that has lost the partition.
        """
        # The group is read before the epoch is compared, so it is never of a newer assignment.
        group = self._intake.group
        if epoch != self.epoch:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        async with self._failures_counted():
            producer = await self._in_thread(self._producer.ready)
            # An offset is sent although it does not move, since Kafka looks at the group's
            # generation only where offsets come along. Worker A stands still, B gets its
            # partition, A wakes up: Kafka refuses its transaction.
            await self._in_thread(transact, producer, records, [at], group)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[OpenTransaction]:
        """Open a transaction; for the holder of ``lock``. It is aborted if the block raises.

        Raises KafkaException, as the block may: then nothing of it is written.
        """
        async with self._failures_counted():
            producer = await self._in_thread(self._producer.ready)
            producer.begin_transaction()
            with aborting(producer):
                yield OpenTransaction(producer, self._thread)

    def close(self) -> None:
        """End the thread, when nobody writes any more."""
        self._thread.shutdown()

    @asynccontextmanager
    async def _failures_counted(self) -> AsyncIterator[None]:
        try:
            yield
        except KafkaException as failure:
            self._metrics.transaction_failures.inc()
            self._producer.failed(failure)
            raise

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class OpenTransaction:
    """A transaction that is filled piece by piece. ``thread``: where it commits."""

    def __init__(self, producer: Producer, thread: ThreadPoolExecutor) -> None:
        self._producer = producer
        self._thread = thread

    def produce(self, records: Sequence[ProducerRecord]) -> None:
        """Add records; waits while the producer's queue is full."""
        produce(self._producer, records)

    async def commit(self, offsets: Sequence[TopicPartition], group: object) -> None:
        """Commit the records and the group's offsets, all or nothing."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, finish, self._producer, offsets, group)
