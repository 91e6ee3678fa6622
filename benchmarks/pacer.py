"""Who produces events at a fixed rate, whatever becomes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

from benchmarks.topics import Message

TICK = 0.02
"""Seconds between two portions."""


class Pacer:
    """Produces ``rate`` events a second, in a thread; notes when it produced which."""

    def __init__(self, bootstrap: str, topic: str, events: Iterator[Message], rate: int) -> None:
        settings = {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 0}
        self._producer = Producer(settings)
        self._topic = topic
        self._events = events
        self._rate = rate
        self._stop = threading.Event()
        self.produced: dict[str, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Produce meanwhile."""
        thread = threading.Thread(target=self._run, name="pacer")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            self._producer.flush()

    def _run(self) -> None:
        began = time.time()
        while not self._stop.wait(TICK):
            while len(self.produced) < (time.time() - began) * self._rate:
                self._one()
            self._producer.poll(0)

    def _one(self) -> None:
        key, value, headers = next(self._events)
        self.produced[dict(headers)["ce_id"].decode()] = time.time()
        self._producer.produce(self._topic, value, key, headers=headers)
