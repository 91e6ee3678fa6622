"""Reading topics: what a broker says of a topic that was made a moment ago is waited out."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from trunkline.kafka import reading as kafka_read
from trunkline.params import Backbone

BACKBONE = Backbone(bootstrap="nowhere:1", registry="http://nowhere")


class Broker:
    """Answers ``list_offsets``: with each of ``errors`` once, then with offset 0."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[Any, Future[Any]]:
        answer: Future[Any] = Future()
        if self._errors:
            answer.set_exception(KafkaException(KafkaError(self._errors.pop(0))))
        else:
            answer.set_result(SimpleNamespace(offset=0))
        return dict.fromkeys(asked, answer)


def rest(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> list[Any]:
    monkeypatch.setattr(kafka_read, "admin", lambda backbone: broker)
    return list(kafka_read.rest(BACKBONE, "group", [TopicPartition("new", 0, 0)]))


def test_a_new_topic_without_a_leader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART
    assert rest(monkeypatch, Broker(*waits)) == []


def test_any_other_error_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KafkaException, match="AUTHORIZATION"):
        rest(monkeypatch, Broker(KafkaError.TOPIC_AUTHORIZATION_FAILED))


def test_a_leader_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_read, "LEADERLESS", -1.0)
    with pytest.raises(KafkaException):
        rest(monkeypatch, Broker(KafkaError.LEADER_NOT_AVAILABLE))
