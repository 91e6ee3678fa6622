"""What an intake does without Kafka: it counts what is outstanding, and ends as it should.

With Kafka it is tested through what runs on it: tests/integration and tests/crash.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from trunkline import kafka
from trunkline.kafka.poll_loop import MicroBatch, PollListener, PollLoop
from trunkline.params import Backbone


class Nobody(PollListener):
    """An owner that is never told anything."""

    def on_assigned(self, *_: Any) -> NoReturn:
        raise AssertionError("told of partitions")

    def on_revoked(self, *_: Any, **__: Any) -> NoReturn:
        raise AssertionError("told of partitions")

    def on_batch(self, batch: MicroBatch) -> NoReturn:
        raise AssertionError("told of messages")


def nowhere() -> Consumer:
    return kafka.consumer(Backbone(bootstrap="127.0.0.1:1"), "group")


def refused() -> Consumer:
    raise LookupError("no such setting")


@pytest.fixture
def intake() -> PollLoop:
    return PollLoop(nowhere, ["orders"])


def test_one_that_never_started_stops(intake: PollLoop) -> None:
    asyncio.run(intake.stop())


def test_one_that_reaches_nobody_stops_and_was_never_ready(intake: PollLoop) -> None:
    intake.start(Nobody())
    asyncio.run(intake.stop())
    assert not intake.ready
    assert intake.failure is None


def test_what_ends_it_is_kept_for_its_owner() -> None:
    intake = PollLoop(refused, ["orders"])
    intake.start(Nobody())
    asyncio.run(intake.stop())
    assert isinstance(intake.failure, LookupError)


class Forgetful(Nobody):
    """An owner for whom Kafka has no answer at first."""

    def __init__(self, failures: list[KafkaError]) -> None:
        self.failures = failures

    def on_assigned(self, *_: Any) -> list[TopicPartition]:  # type: ignore[override]
        if self.failures:
            raise KafkaException(self.failures.pop())
        return [TopicPartition("orders", 0, 7)]


def telling(listener: PollListener) -> PollLoop:
    """A loop as it is once it was started for this listener, but without its thread."""
    intake = PollLoop(nowhere, ["orders"])
    intake._listener = listener
    return intake


def test_where_to_go_on_is_asked_for_until_kafka_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    intake = telling(Forgetful([KafkaError(KafkaError._TIMED_OUT)] * 2))
    monkeypatch.setattr(intake._changed, "wait_for", lambda true, timeout: true())
    assert intake._starts(nowhere(), [TopicPartition("orders", 0)])[0].offset == 7


def test_a_fatal_answer_is_no_reason_to_ask_again() -> None:
    fatal = KafkaError(KafkaError._FATAL, "fenced", fatal=True)
    with pytest.raises(KafkaException, match="fenced"):
        telling(Forgetful([fatal]))._starts(nowhere(), [])


def test_nobody_is_asked_again_who_stops() -> None:
    intake = telling(Forgetful([KafkaError(KafkaError._TIMED_OUT)]))
    intake._stop()
    assert intake._starts(nowhere(), []) == []


def test_it_is_idle_when_everything_of_this_epoch_is_finished(intake: PollLoop) -> None:
    intake._outstanding = 3  # as after a batch
    intake.finished(2, intake.epoch)
    assert not intake.wait_idle(0)
    intake.finished(1, intake.epoch - 1)
    assert not intake.wait_idle(0), "what an older epoch finishes is another's"
    intake.finished(1, intake.epoch)
    assert intake.wait_idle(0)


def test_a_rewind_forgets_what_is_outstanding(intake: PollLoop) -> None:
    intake._outstanding = 3
    before = intake.epoch
    intake.rewind()
    assert intake.epoch == before + 1
    assert intake.wait_idle(0)
    intake.finished(3, before)
    assert intake.wait_idle(0)


def test_nothing_outstanding_has_no_age(intake: PollLoop) -> None:
    assert intake.oldest_age() == 0
