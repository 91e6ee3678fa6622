"""How many messages of a worker's partitions nobody has read."""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from confluent_kafka import Consumer, KafkaException, TopicPartition

from trunkline.kafka.offsets import Partition

EVERY = 1.0
"""Seconds between two counts."""
ASK_EVERY = 5.0
"""Seconds between two questions where a paused partition ends, which costs a request each."""
TIMEOUT = 1.0
"""Seconds that such an answer may take."""


class LagMeter:
    """Counts what a consumer has not read of its partitions. For the consumer's thread; ``lag``,
    the last count, may be read from any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = 0.0
        self._ask_next = 0.0
        self._ends: dict[Partition, int] = {}  # of paused partitions, when they were asked for
        self.lag = 0

    def measure(
        self,
        consumer: Consumer,
        not_due: Container[Partition],
        paused: Container[Partition] = (),
    ) -> None:
        """Count anew if a second is over. ``not_due``: partitions that do not count: what waits in
        a retry tier is not late. ``paused``: partitions of which nothing is fetched now.

        Kafka is not asked, but for paused partitions: each answer to a fetch has the partition's
        high watermark, and without fetches it would stand still while events go on to arrive.
        """
        if self._clock() < self._next:
            return
        lag, asks = 0, self._clock() >= self._ask_next
        for at in consumer.position(consumer.assignment()):
            if (at.topic, at.partition) in not_due or at.offset < 0:
                continue  # below 0: nothing was read yet, and nobody knows where it begins
            if (at.topic, at.partition) in paused:
                end = self._end(consumer, at, asks)
            else:
                _, end = consumer.get_watermark_offsets(at, cached=True)
            lag += max(0, end - at.offset)
        self.lag = lag
        self._next = self._clock() + EVERY
        if asks:
            self._ask_next = self._clock() + ASK_EVERY

    def _end(self, consumer: Consumer, at: TopicPartition, asks: bool) -> int:
        """Where a partition ends that is not fetched, as of the last question."""
        partition = (at.topic, at.partition)
        if not asks:
            return self._ends.get(partition, 0)
        try:
            _, self._ends[partition] = consumer.get_watermark_offsets(at, timeout=TIMEOUT)
        except KafkaException:  # Kafka is away: what was known stays so
            _, cached = consumer.get_watermark_offsets(at, cached=True)
            self._ends[partition] = max(cached, self._ends.get(partition, 0))
        return self._ends[partition]
