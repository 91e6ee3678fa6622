"""What is done with in a retry tier is deleted; what waits there stays."""

from __future__ import annotations

import uuid
from functools import partial

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from trunkline import kafka
from trunkline.kafka.purge import ENOUGH, EVERY, RecordPurger
from trunkline.params import Backbone
from worker_kit import eventually


@pytest.fixture
def backbone(bootstrap: str, registry_url: str) -> Backbone:
    return Backbone(bootstrap=bootstrap, registry=registry_url)


class Clock:
    """Moves when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def filled(backbone: Backbone, partitions: int = 2) -> str:
    """A topic whose partitions have a few more records than are enough for deletion."""
    topic = f"trim-{uuid.uuid4().hex[:8]}"
    kafka.ensure_topics(backbone, [kafka.TopicSpec(topic, partitions)])
    producer = kafka.producer(backbone)
    for number in range(partitions * (ENOUGH + 500)):
        producer.produce(topic, b"waits", partition=number % partitions)
        if number % 5000 == 0:
            producer.flush()
    assert producer.flush(30) == 0
    return topic


def begins(backbone: Backbone, topic: str, partition: int) -> int:
    """The first offset that is still there."""
    reader = kafka.consumer(backbone, "trim-test")
    try:
        low, _ = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        return low
    finally:
        reader.close()


def test_everything_before_the_committed_offset_goes_and_nothing_else(backbone: Backbone) -> None:
    tier, other, clock = filled(backbone), filled(backbone), Clock()
    trim = RecordPurger([tier], partial(kafka.admin, backbone), clock)
    offsets = [
        TopicPartition(tier, 0, ENOUGH + 7),
        TopicPartition(tier, 1, ENOUGH - 1),
        TopicPartition(other, 0, ENOUGH + 7),
    ]
    trim.committed(offsets)
    clock.now += EVERY
    trim.committed([])
    eventually(lambda: begins(backbone, tier, 0) == ENOUGH + 7, "what is done with is gone")
    assert begins(backbone, tier, 1) == 0, "too few to be worth it"
    assert begins(backbone, other, 0) == 0, "not a tier"


class Refusing:
    """An admin client without the right to delete."""

    asked = 0

    def delete_records(self, before: list[TopicPartition], **options: float) -> None:
        self.asked += 1
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))


def test_without_the_right_to_delete_it_asks_seldom_and_raises_nothing() -> None:
    clock, admin = Clock(), Refusing()
    trim = RecordPurger(["tier"], lambda: admin, clock)  # type: ignore[arg-type, return-value]
    for _ in range(60):
        clock.now += EVERY
        trim.committed([TopicPartition("tier", 0, ENOUGH)])
    assert admin.asked == 1
