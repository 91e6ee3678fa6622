"""Reading what a partition holds, beside the consumer group that reads on: for replays.

A consumer that joins no group and commits nothing, in a thread of its own: only one thread may
call it. It fetches little ahead, and leaves live traffic half of the time while there is any.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from trunkline import kafka
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.params import Backbone

log = logging.getLogger(__name__)

T = TypeVar("T")

READ = 500
"""Records of one piece: a few milliseconds."""
POLL = 0.5
"""Seconds that one read waits: how late a stop can be noticed."""

Keep = Callable[[list[Message]], list[Any]]
"""Takes from a piece what is needed, in the reader's thread."""


def reader_of(backbone: Backbone, group: str) -> Consumer:
    """A consumer for Past. ``group``: whose committed offsets it can tell."""
    small = {
        "queued.min.messages": "1000",
        "queued.max.messages.kbytes": "2048",
        "fetch.wait.max.ms": "10",  # the end is told without waiting
    }
    calm = backbone.model_copy(update={"kafka": {**small, **backbone.kafka}})
    return kafka.consumer(calm, group, eof=True)


class RangeReader:
    """Reads ranges of partitions, one after the other. An async context manager.

    ``busy``: whether there is live traffic. ``at``: the next offset of the range.
    """

    def __init__(self, make: Callable[[], Consumer], busy: Callable[[], bool]) -> None:
        self._make = make
        self._busy = busy
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="replay-read")
        self.at = 0
        self._start = self._until = 0

    async def __aenter__(self) -> RangeReader:
        self._consumer = await self._in_thread(self._make)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown()

    async def position(self, place: Partition) -> int:
        """Where the group stands: its committed offset, when no transaction is open that may
        change it; the first offset if it has none yet. Raises KafkaException."""
        return await self._in_thread(self._position, TopicPartition(*place))

    async def seek(self, place: Partition, start: int, until: int) -> None:
        """Begin with a range: from ``start`` to before ``until``."""
        self._start, self._until, self.at = start, until, start
        if start < until:
            await self._in_thread(self._consumer.assign, [TopicPartition(*place, start)])

    @property
    def ended(self) -> bool:
        """Whether the range is read."""
        return self.at >= self._until

    async def read(self, keep: Keep = list) -> list[Any]:
        """The next committed records of the range, maybe none yet. Raises KafkaException."""
        began = time.monotonic()
        found = await self._in_thread(self._take, keep)
        if self._busy():
            await asyncio.sleep(min(time.monotonic() - began, POLL))
        return found

    def _take(self, keep: Keep) -> list[Any]:
        polled = self._consumer.consume(1, POLL)
        if polled:
            polled += self._consumer.consume(READ - 1, 0)
        records = [message for message in polled if self._is_ours(message)]
        return keep(records)

    def _is_ours(self, message: Message) -> bool:
        """Whether it is a record of the range; notes how far the range is read."""
        error, offset = message.error(), message.offset()
        if error is not None:
            if error.fatal():
                raise KafkaException(error)
            if error.code() != KafkaError._PARTITION_EOF:
                log.warning("Kafka: %s", error.str())
            elif self._is_over(message):
                self.at = self._until
            return False
        assert offset is not None
        if offset < self._start:  # the topic was made anew, or cut
            return False
        self.at = max(self.at, min(offset + 1, self._until))
        return offset < self._until

    def _is_over(self, end: Message) -> bool:
        """Whether nothing of the range can come: not yet if an open transaction hides its rest."""
        place = TopicPartition(end.topic() or "", end.partition() or 0)
        _, high = self._consumer.get_watermark_offsets(place, cached=True)
        return (end.offset() or 0) >= self._until or high < self._until

    def _position(self, at: TopicPartition) -> int:
        (found,) = committed_offsets(self._consumer, [at], timeout=15)
        if found.offset >= 0:
            return int(found.offset)
        low, _ = self._consumer.get_watermark_offsets(at, timeout=10)
        return int(low)

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
