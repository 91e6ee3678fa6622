"""The Kafka clients with which all flows of a process follow and write their control topics."""

from __future__ import annotations

import threading

from confluent_kafka import Producer

from trunkline import kafka
from trunkline.kafka.follower import TopicFollower
from trunkline.params import Backbone

WRITE_TIMEOUT = 30.0
"""Seconds that a write waits for Kafka."""


def patient(backbone: Backbone) -> Backbone:
    """With the time that a write waits; the environment's own settings come last, so that they
    win."""
    wait = {"message.timeout.ms": str(int(WRITE_TIMEOUT * 1000)), **backbone.kafka}
    return backbone.model_copy(update={"kafka": wait})


class ControlClients:
    """One follower of control topics, and one producer for what is written to them. From any
    thread. ``follower``: tells of each topic whoever follows it."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = patient(backbone)
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self.follower = TopicFollower(backbone)

    def producer(self) -> Producer:
        """The producer of all; records of one caller stay in their order."""
        with self._lock:
            if self._producer is None:
                self._producer = kafka.producer(self._backbone)
            return self._producer

    def renew(self, failed: Producer) -> None:
        """Whoever asks next gets another one than this, which may never go on."""
        with self._lock:
            if self._producer is failed:
                self._producer = None
