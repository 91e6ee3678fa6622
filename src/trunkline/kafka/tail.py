"""A topic of one partition, read from its beginning to its end, and on.

Flows keep what must outlive a worker in such topics: the control topic and the audit.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from trunkline import kafka
from trunkline.params import Backbone

log = logging.getLogger(__name__)

CHUNK = 500
"""Most records of one ``read``."""


class Tail:
    """The committed records of a one-partition topic, in order. For one thread.

    Joins no consumer group and commits nothing. A broker that goes away is waited for.
    ``complete``: whether everything has been read that was there when reading began, also what an
    open transaction held back then. ``trouble``: what Kafka complained about last, or "".
    ``start``: the first offset that is read; ``next``: the one to go on from.
    """

    def __init__(self, backbone: Backbone, topic: str, start: int = 0) -> None:
        # Not OFFSET_BEGINNING: librdkafka asks where that is before it knows the leader, and again
        # only after 500 ms. Where the topic begins later, auto.offset.reset goes there.
        self._partition = TopicPartition(topic, 0, start)
        self._consumer = kafka.consumer(backbone, topic, eof=True)
        self._consumer.assign([self._partition])
        self._end: int | None = None
        self.next = start
        self.complete = False
        self.trouble = ""

    def read(self, timeout: float) -> list[Message]:
        """What has arrived, at least one record unless ``timeout`` seconds pass before.

        Raises KafkaException if the client can never go on.
        """
        polled = self._consumer.consume(1, timeout)
        if polled:
            polled += self._consumer.consume(CHUNK - 1, 0)
        records = [message for message in polled if self._is_record(message)]
        if polled:
            self._move_on(polled[-1])
        return records

    def close(self) -> None:
        """Release the connections."""
        self._consumer.close()

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.fatal():
                raise KafkaException(error)
            self.trouble = error.str()
            log.warning("Kafka: %s", self.trouble, extra={"topic": self._partition.topic})
        return error is None

    def _move_on(self, newest: Message) -> None:
        """The end is the high watermark as first heard: an open transaction hides what stands
        behind its first record, until it ends or the broker gives it up."""
        if self._end is None:
            _, high = self._consumer.get_watermark_offsets(self._partition, cached=True)
            self._end = high if high >= 0 else None
        error, offset = newest.error(), newest.offset()
        if offset is None or (error is not None and error.code() != KafkaError._PARTITION_EOF):
            return
        self.next = offset + 1 if error is None else offset
        self.complete = self.complete or (self._end is not None and self.next >= self._end)


def low_latency(backbone: Backbone) -> Backbone:
    """For a ``Tail`` that is asked for the end only: Kafka tells it without waiting for more."""
    return backbone.model_copy(update={"kafka": {"fetch.wait.max.ms": "10", **backbone.kafka}})


def read_all(backbone: Backbone, topic: str, patience: float = 30.0) -> list[Message]:
    """The committed records of a one-partition topic; none if there is no such topic.

    Raises KafkaUnavailable if the end is not reached in ``patience`` seconds.
    """
    if topic not in kafka.existing_topics(kafka.admin(backbone)):
        return []
    with closing(Tail(low_latency(backbone), topic)) as tail:
        return _to_the_end(tail, topic, patience)


def _to_the_end(tail: Tail, topic: str, patience: float) -> list[Message]:
    deadline = time.monotonic() + patience
    found: list[Message] = []
    while not tail.complete:
        if time.monotonic() > deadline:
            raise kafka.KafkaUnavailable(
                f"topic {topic!r} could not be read to its end in {patience:.0f} s: "
                f"{tail.trouble or 'Kafka does not answer'}; try again once Kafka is up"
            )
        found += tail.read(0.1)
    return found
