"""A source that calls us is answered when Kafka has acknowledged all of its records."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer

from engine_kit import eventually
from trunkline import Record, kafka
from trunkline.connectors.base import Publish, PushSource
from trunkline.errors import DataError
from trunkline.kafka import KafkaUnavailable
from trunkline.params import Backbone
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.metrics import Metrics, StepMetrics
from trunkline.streams.publish.letter_limit import LetterLimit
from trunkline.streams.publish.publisher import Publisher, TopicMapping
from trunkline.streams.publish.push_step import ANSWER_TIMEOUT, PushStep


class Acknowledging:
    """A producer whose reports come out of ``poll``, in its thread. ``refused``: keys of records
    that Kafka does not take; ``holds``: nothing is reported."""

    def __init__(self, *refused: bytes, holds: bool = False) -> None:
        self.refused = refused
        self.holds = holds
        self.topics: list[str] = []
        self._waiting: list[tuple[bytes, Callable[..., None]]] = []

    def produce(self, topic: str, value: bytes, key: bytes, **more: Any) -> None:
        self.topics.append(topic)
        self._waiting.append((key, more["on_delivery"]))

    def poll(self, timeout: float) -> None:
        while self._waiting and not self.holds:
            key, report = self._waiting.pop(0)
            error = KafkaError(KafkaError._MSG_TIMED_OUT) if key in self.refused else None
            report(error, None)


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and says nothing, as a frozen broker does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


class Caller(PushSource):
    """A source as a test uses it: ``publish`` is the step's."""

    async def start(self, publish: Publish) -> None:
        self.publish = publish

    async def stop(self) -> None:
        self.stopped = True


def run(
    producer: Acknowledging | Producer,
    scene: Callable[[Caller], Any],
    limit: DeadLetterLimit | None = None,
) -> StepMetrics:
    async def inside() -> StepMetrics:
        caller = Caller()
        metrics = StepMetrics(Metrics(), "desk", "publish", "hook")
        topic = TopicMapping("notices", function, lambda data: b"{}")
        step = PushStep(
            "hook",
            Publisher("/desk/hook", "desk.hook.dlq", [topic]),
            source=caller,
            make_producer=lambda: cast(Producer, producer),
            metrics=metrics,
            outcome_listener=metrics,
            limit=LetterLimit(limit),
        )
        await step.start()
        try:
            await scene(caller)
        finally:
            await step.stop()
        assert caller.stopped
        return metrics

    return asyncio.run(inside())


def function(record: Record) -> Any:
    if record.key == "odd":
        raise DataError("odd")
    if record.key == "defect":
        raise KeyError("a secret of ours")
    return None if record.key == "left out" else record.data


def records(*keys: str) -> list[Record]:
    return [Record(key=key, data={}) for key in keys]


def count(metrics: StepMetrics, name: str) -> float:
    counter: Any = getattr(metrics, name)
    return float(counter._value.get())


def test_the_caller_is_answered_when_kafka_has_all_of_them() -> None:
    producer = Acknowledging(holds=True)

    async def scene(caller: Caller) -> None:
        answer = asyncio.create_task(caller.publish(records("a", "b")))
        await eventually(lambda: len(producer.topics) == 2, "both are produced")
        assert not answer.done()
        producer.holds = False
        await answer

    metrics = run(producer, scene)
    assert count(metrics, "events_in") == count(metrics, "events_out") == 2


def test_one_that_kafka_does_not_take_refuses_the_whole_call() -> None:
    async def scene(caller: Caller) -> None:
        with pytest.raises(KafkaUnavailable):
            await caller.publish(records("a", "b", "c"))

    metrics = run(Acknowledging(b"b"), scene)
    assert count(metrics, "events_in") == 0


def test_what_is_refused_is_a_dead_letter_and_the_caller_is_answered() -> None:
    producer = Acknowledging()

    async def scene(caller: Caller) -> None:
        await caller.publish(records("a", "odd", "left out"))

    metrics = run(producer, scene)
    assert producer.topics == ["notices", "desk.hook.dlq"]
    counted = [count(metrics, name) for name in ("events_in", "events_out", "dead_letters")]
    assert counted == [3, 1, 1]


@pytest.mark.parametrize(
    ("key", "said"), [("odd", "'odd' cannot be taken: odd"), ("defect", "'defect' .*: KeyError$")]
)
def test_what_is_refused_is_told_to_a_caller_that_wants_to_hear_it(
    key: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A partner that mends its message and calls again needs no dead letter of ours."""
    producer = Acknowledging()

    async def scene(caller: Caller) -> None:
        caller.refuses = True
        with pytest.raises(DataError, match=said) as caught:
            await caller.publish(records("a", key))
        assert "secret of ours" not in str(caught.value)
        await caller.publish(records("left out", "b"))

    metrics = run(producer, scene)
    assert producer.topics == ["notices"], "nothing of the refused call"
    assert [count(metrics, name) for name in ("events_in", "dead_letters")] == [2, 0]
    assert "dead letter" not in caplog.text


def test_a_call_of_which_nothing_is_left_is_answered_at_once() -> None:
    async def scene(caller: Caller) -> None:
        await caller.publish(records("left out"))

    run(Acknowledging(holds=True), scene)


def test_a_caller_that_goes_away_disturbs_nobody() -> None:
    producer = Acknowledging(holds=True)

    async def scene(caller: Caller) -> None:
        answer = asyncio.create_task(caller.publish(records("a")))
        await eventually(lambda: producer.topics, "it is produced")
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
        producer.holds = False
        await caller.publish(records("b"))

    run(producer, scene)


def test_a_caller_hears_of_a_silent_kafka_while_it_still_listens() -> None:
    """A broker that stands still keeps its connections: records would wait for five minutes."""
    assert ANSWER_TIMEOUT < 10.0, "callers wait for ten seconds"

    async def scene(caller: Caller) -> None:
        with pytest.raises(KafkaUnavailable, match="timed out"):
            await caller.publish([Record(key="a", data={})])

    with silent_server() as bootstrap:
        run(kafka.producer(Backbone(bootstrap=bootstrap), timeout=0.5), scene)
