"""A topic of one partition, read from its beginning to its end, and on.

Flows keep what must outlive a worker in such topics: the control topic and the limits.
"""

from __future__ import annotations

from confluent_kafka import Message, TopicPartition

from trunkline import kafka
from trunkline.kafka.reading import READ, poll
from trunkline.params import Backbone


class Tail:
    """The committed records of a one-partition topic, in order. For one thread.

    Joins no consumer group and commits nothing. A broker that goes away is waited for.
    ``complete``: whether everything has been read that was there when reading began, also what an
    open transaction held back then. ``start``: the first offset that is read; ``next``: the one to
    go on from.
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

    def read(self, timeout: float) -> list[Message]:
        """What has arrived, at least one record unless ``timeout`` seconds pass before.

        Raises KafkaException if the client can never go on.
        """
        arrived, _ = poll(self._consumer, READ, timeout)
        if arrived:
            self._note_end(arrived[-1])
        return [message for message in arrived if message.error() is None]

    def close(self) -> None:
        """Release the connections."""
        self._consumer.close()

    def _note_end(self, newest: Message) -> None:
        """See whether the end is reached.

        The end is the high watermark as first heard. Not the end that Kafka tells of: an open
        transaction hides its own records and all that stand behind its first one, until it ends or
        the broker gives it up; a pause that an operator put there would be overlooked.
        """
        if self._end is None:
            _, high = self._consumer.get_watermark_offsets(self._partition, cached=True)
            self._end = high if high >= 0 else None
        offset = newest.offset() or 0
        self.next = offset + 1 if newest.error() is None else offset
        self.complete = self.complete or (self._end is not None and self.next >= self._end)
