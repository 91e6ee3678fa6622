"""Where a group goes on reading.

librdkafka (2.16) finds that out by itself when partitions are assigned, and may find it wrong. An
offset that a transaction still holds back (KIP-447) it asks for again and again, but after a
rebalance meanwhile it takes it for none, and begins with the topic's first message: everything
would be routed a second time. And a partition whose question failed it never reads at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

Partition = tuple[str, int]
"""A topic and the number of one of its partitions."""


def committed_offsets(
    consumer: Consumer, partitions: list[TopicPartition], timeout: float
) -> list[TopicPartition]:
    """The partitions with the group's committed offset, or 0 where there is none: if the beginning
    is gone, ``auto.offset.reset`` leads to what is left, and no half second is lost by asking.

    Waits up to ``timeout`` seconds, also for transactions that are about to change an offset, as
    a dead worker's until it is aborted. Raises KafkaException.
    """
    return [
        TopicPartition(at.topic, at.partition, max(at.offset, 0), at.metadata or "")
        for at in checked(consumer.committed(partitions, timeout=timeout))
    ]


def checked(answer: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
    """What Kafka answered of partitions. Raises KafkaException if it is an error for any."""
    for at in answer:
        if at.error is not None:
            raise KafkaException(at.error)
    return answer
