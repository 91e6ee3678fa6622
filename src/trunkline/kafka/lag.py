"""How many messages of a worker's partitions nobody has read."""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from confluent_kafka import Consumer

from trunkline.kafka.offsets import Partition

EVERY = 1.0
"""Seconds between two counts."""


class LagMeter:
    """Counts what a consumer has not read of its partitions. For the consumer's thread; ``lag``,
    the last count, may be read from any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = 0.0
        self.lag = 0

    def measure(self, consumer: Consumer, paused: Container[Partition]) -> None:
        """Count anew if a second is over. ``paused``: partitions that do not count, since nothing
        of them is due: what waits in a retry tier is not late.

        Kafka is not asked: each answer to a fetch has the partition's high watermark.
        """
        if self._clock() < self._next:
            return
        lag = 0
        for at in consumer.position(consumer.assignment()):
            if (at.topic, at.partition) in paused or at.offset < 0:
                continue  # below 0: nothing was read yet, and nobody knows where it begins
            _, high = consumer.get_watermark_offsets(at, cached=True)
            lag += max(0, high - at.offset)
        self.lag = lag
        self._next = self._clock() + EVERY
