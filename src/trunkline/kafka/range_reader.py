"""Reading ranges of a partition from an event loop, beside the consumer group that reads on: for
replays.

The consumer joins no group and commits nothing. It lives in a thread of its own, which alone may
call it. It fetches little ahead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from confluent_kafka import Consumer, Message, TopicPartition

from trunkline import kafka
from trunkline.kafka.clients import low_latency
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.kafka.reading import POLL, BoundedRead
from trunkline.params import Backbone
from trunkline.tasks import naming_flow

T = TypeVar("T")

Keep = Callable[[list[Message]], list[Any]]
"""Takes from a piece what is needed, in the reader's thread."""


def reader_of(backbone: Backbone, group: str) -> Consumer:
    """A consumer that reads ranges and fetches little ahead. ``group``: whose committed offsets it
    can tell."""
    small = {"queued.min.messages": "1000", "queued.max.messages.kbytes": "2048"}
    calm = backbone.model_copy(update={"kafka": {**small, **backbone.kafka}})
    return kafka.consumer(low_latency(calm), group, eof=True)


class RangeReader:
    """Reads ranges of partitions, one after the other. An async context manager.

    ``make``: makes the consumer, in the reader's thread. ``yield_to_live``: whether there is live
    traffic, which then gets half of the time. ``at``: the next offset of the range.
    """

    def __init__(self, make: Callable[[], Consumer], yield_to_live: Callable[[], bool]) -> None:
        self._make = make
        self._yield_to_live = yield_to_live
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="replay-read", initializer=naming_flow()
        )
        self._range: BoundedRead | None = None
        self.at = 0

    async def __aenter__(self) -> RangeReader:
        self._consumer = await self._in_thread(self._make)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown()

    async def position(self, partition: Partition) -> int:
        """Where the group stands: its committed offset, when no transaction is open that may
        change it; 0 if it has none yet. Raises KafkaException."""
        return await self._in_thread(self._position, TopicPartition(*partition))

    async def seek(self, partition: Partition, start: int, until: int) -> None:
        """Begin with a range: from ``start`` to before ``until``."""
        self._partition, self.at = partition, start
        self._range = await self._in_thread(self._begin, {partition: range(start, until)})

    @property
    def ended(self) -> bool:
        """Whether the range is read."""
        return self._range is None or self._range.ended

    async def read(self, keep: Keep = list) -> list[Any]:
        """The next committed records of the range, maybe none yet. Raises KafkaException."""
        assert self._range is not None, "read() follows seek()"
        began = time.monotonic()
        found = await self._in_thread(self._read, self._range, keep)
        self.at = self._range.next[self._partition]
        if self._yield_to_live():
            # As long as reading took: the replay of a year must not make live events late.
            await asyncio.sleep(min(time.monotonic() - began, POLL))
        return found

    # The reader's thread.

    def _begin(self, ranges: dict[Partition, range]) -> BoundedRead:
        return BoundedRead(self._consumer, ranges, cut=True)

    def _read(self, span: BoundedRead, keep: Keep) -> list[Any]:
        found, _ = span.read()
        return keep(found)

    def _position(self, at: TopicPartition) -> int:
        (found,) = committed_offsets(self._consumer, [at], timeout=15)
        return int(found.offset)

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
