"""The ends of partitions on a real Kafka: waited for, by more clients than one."""

from __future__ import annotations

import threading
import uuid

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from trunkline import kafka
from trunkline.kafka import TopicSpec, reading
from trunkline.params import Backbone


def test_a_topic_that_is_made_meanwhile_is_waited_for_with_a_new_client(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, topic = Backbone(bootstrap=bootstrap), f"ends-{uuid.uuid4().hex}"
    made: list[AdminClient] = []

    def admin(backbone: Backbone) -> AdminClient:
        made.append(kafka.admin(backbone))
        if len(made) == 2:
            threading.Timer(0.5, kafka.ensure_topics, (backbone, [TopicSpec(topic, 2)])).start()
        return made[-1]

    monkeypatch.setattr(reading, "admin", admin)
    monkeypatch.setattr(reading, "RENEWED", 0.3)
    ends = reading.high_watermarks(backbone, [TopicPartition(topic, n) for n in (0, 1)])
    assert ends == {(topic, 0): 0, (topic, 1): 0}
    assert len(made) >= 2


def test_one_that_nobody_makes_is_named(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, topic = Backbone(bootstrap=bootstrap), f"ends-{uuid.uuid4().hex}"
    monkeypatch.setattr(reading, "LEADERLESS", 0.5)
    with pytest.raises(KafkaException, match=f"{topic}/1"):
        reading.high_watermarks(backbone, [TopicPartition(topic, 1)])
