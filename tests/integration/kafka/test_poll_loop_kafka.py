"""What was paused is read again after a rebalance: librdkafka keeps a partition's pause through
``unassign`` and ``assign``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from trunkline import kafka
from trunkline.kafka.poll_loop import MicroBatch, PollLoop
from trunkline.params import Backbone
from worker_kit import eventually


class Reader:
    """An owner that keeps what it is given, from the beginning of each partition. ``pause``: until
    when (epoch seconds) reading on can wait."""

    def __init__(self, backbone: Backbone, topic: str, max_in_flight: int = 1000) -> None:
        self.read: list[bytes | None] = []
        self.assignments = 0
        self.pause = 0.0
        make = partial(kafka.consumer, backbone, topic)
        self.intake = PollLoop(
            make, [topic], max_in_flight=max_in_flight, resume_at=self._resume_at
        )

    def _resume_at(self, message: Message) -> float:
        return self.pause

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        self.assignments += 1
        self.read.clear()
        return [TopicPartition(at.topic, at.partition, 0) for at in partitions]

    def on_revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Nothing is under way."""

    def on_batch(self, batch: MicroBatch) -> None:
        self.read += [message.value() for message in batch.messages]


@contextmanager
def running(reader: Reader) -> Iterator[Reader]:
    reader.intake.start(reader)
    try:
        eventually(lambda: reader.intake.ready, "it has joined")
        yield reader
    finally:
        asyncio.run(reader.intake.stop())


@pytest.fixture
def orders(bootstrap: str, topic: Callable[[str], str]) -> tuple[Backbone, str]:
    """A topic of two partitions, with an event in each."""
    backbone, name = Backbone(bootstrap=bootstrap), topic("orders")
    kafka.ensure_topics(backbone, [kafka.TopicSpec(name, 2)])
    producer = kafka.producer(backbone)
    kafka.produce_at(producer, [(name, p, None, b"%d" % p, [], 0) for p in range(2)])
    assert producer.flush(30) == 0
    return backbone, name


def rebalanced(reader: Reader, backbone: Backbone, name: str) -> None:
    """Another joins and goes."""
    before = reader.assignments
    with running(Reader(backbone, name)):
        eventually(lambda: reader.assignments > before, "they share")
    eventually(lambda: reader.assignments > before + 1, "it has everything again")


def test_what_could_wait_when_it_was_rebalanced(orders: tuple[Backbone, str]) -> None:
    reader = Reader(*orders)
    reader.pause = time.time() + 3600
    with running(reader):
        eventually(lambda: len(reader.intake._paused.until) == 2, "it has read, and pauses")
        reader.pause = 0.0
        rebalanced(reader, *orders)
        eventually(lambda: sorted(map(bytes, reader.read)) == [b"0", b"1"], "it reads", 10)


def test_one_that_kafka_throws_out_for_good_ends_with_the_reason(
    orders: tuple[Backbone, str],
) -> None:
    """It stayed, ready and deaf: a consumer's fatal error looks like one that passes."""
    backbone, name = orders
    static = backbone.model_copy(update={"kafka": {"group.instance.id": "worker-0"}})
    first = Reader(static, name)
    with running(first), running(Reader(static, name)):
        eventually(lambda: first.intake.failure is not None, "it has ended")
    assert "fenced" in str(first.intake.failure)
    assert not first.intake.ready


def test_what_had_no_room_when_it_was_rebalanced(orders: tuple[Backbone, str]) -> None:
    with running(Reader(*orders, max_in_flight=1)) as reader:
        eventually(lambda: len(reader.read) >= 1, "it has no room")
        rebalanced(reader, *orders)
        reader.intake.finished(2, reader.intake.epoch)
        eventually(lambda: len(reader.read) == 2, "it reads", 10)
