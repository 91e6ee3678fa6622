"""Reading topics outside of any group's progress, on confluent-kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from trunkline.kafka import admin, consumer
from trunkline.params import Backbone

NOT_LED_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
"""What a broker answers about a topic that was made a moment ago, or whose leader moves."""
LEADERLESS = 30.0
"""Seconds to wait for a leader."""


def last_record(backbone: Backbone, topic: str, group: str) -> Message | None:
    """The newest committed record of a one-partition topic, or None.

    Reads backwards in growing steps, since transaction markers take up offsets too.
    """
    reader = consumer(backbone, group, eof=True)
    try:
        low, high = reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        step = 50
        while True:
            start = max(low, high - step)
            found = _read_to_end(reader, TopicPartition(topic, 0, start))
            if found or start == low:
                return found[-1] if found else None
            step *= 8
    finally:
        reader.close()


def rest(backbone: Backbone, group: str, starts: Sequence[TopicPartition]) -> Iterator[Message]:
    """The committed records of partitions from their offsets on, to their ends as of now.

    To the high watermark and not to the last stable offset, which the open transaction of a
    worker that died holds back: that is waited for, at most its timeout (10 s).
    Raises KafkaException.
    """
    if not starts:
        return
    ends = _high_watermarks(backbone, starts)
    # Not OFFSET_INVALID, for which librdkafka would ask, and again only after 500 ms.
    begin = [TopicPartition(at.topic, at.partition, max(0, at.offset)) for at in starts]
    unread = [at for at in begin if at.offset < ends[at.topic, at.partition]]
    if not unread:
        return
    open_ = {(at.topic, at.partition) for at in unread}
    reader = consumer(backbone, group, eof=True)
    try:
        reader.assign(unread)
        while open_:
            for message in reader.consume(2000, timeout=0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                elif (message.offset() or 0) >= ends[_place(message)]:
                    open_.discard(_place(message))
    finally:
        reader.close()


def _place(message: Message) -> tuple[str, int]:
    return message.topic(), message.partition()  # type: ignore[return-value]


def _high_watermarks(
    backbone: Backbone, partitions: Sequence[TopicPartition]
) -> dict[tuple[str, int], int]:
    """The end of each partition, transactions that are still open included. Waits for leaders."""
    client = admin(backbone)  # without it there would be no answer
    deadline = time.monotonic() + LEADERLESS
    while True:
        try:
            return _ends(client, partitions)
        except KafkaException as failure:
            if failure.args[0].code() not in NOT_LED_YET or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _ends(client: AdminClient, partitions: Sequence[TopicPartition]) -> dict[tuple[str, int], int]:
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(p.topic, p.partition): latest for p in partitions}
    answers = client.list_offsets(
        asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=30
    )
    return {(p.topic, p.partition): answer.result().offset for p, answer in answers.items()}


def _read_to_end(reader: Consumer, start: TopicPartition) -> list[Message]:
    reader.assign([start])
    found: list[Message] = []
    while True:
        for message in reader.consume(500, timeout=0.1):
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                return found
            elif error.fatal():
                raise KafkaException(error)
