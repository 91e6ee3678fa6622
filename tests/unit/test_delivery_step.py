"""The delivery step without Kafka, where a real server would not get into the corner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from trunkline import ConfigurationError, Event, Flow, Params, Retry, Unavailable, kafka
from trunkline.connectors.base import Sink
from trunkline.errors import RegistryUnavailable, SerializationError
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.streams.delivery import DeliveryStep
from trunkline.streams.intake import MicroBatch
from trunkline.streams.metrics import Metrics, StepMetrics
from trunkline.streams.progress import Progress


@dataclass
class Raw:
    """A message as Kafka's client gives it; its value is its key again."""

    text: str
    at: int

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes:
        return self.text.encode()

    def value(self) -> bytes:
        return self.text.encode()

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 0, int(time.time() * 1000)


class Env(Params):
    pass


class Watched(Sink[Order]):
    """Fails its first ``failures`` calls; ``held``: whether the step was held at each call."""

    type = Order

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.step: DeliveryStep | None = None
        self.held: list[bool] = []
        self.delivered: list[str] = []
        self.closed = False

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        assert self.step is not None
        self.held.append(self.step.held)
        if len(self.held) <= self.failures:
            raise Unavailable("down")
        self.delivered += [event.key for event in events]

    async def close(self) -> None:
        self.closed = True


def nowhere() -> Consumer:
    return kafka.consumer(Backbone(bootstrap="127.0.0.1:1"), "group")


def no_producer() -> NoReturn:
    raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def step_of(sink: Watched, decode: Callable[[bytes], Any]) -> DeliveryStep:
    flow = Flow("sales", Env)

    @flow.destination(retry=Retry("10ms"))
    def erp(env: Env) -> Watched:
        return sink

    sink.step = DeliveryStep(
        sink,
        erp,
        decode=decode,
        make_consumer=nowhere,
        make_producer=no_producer,
        metrics=StepMetrics(Metrics(), "sales", "deliver", "erp"),
    )
    return sink.step


def deliver(sink: Watched, decode: Callable[[bytes], Any], keys: list[str], until: int) -> None:
    """Hand these to a step, until so many are delivered."""

    async def run() -> None:
        step = step_of(sink, decode)
        step._commits.assigned({0: Progress()})
        await step.start()
        messages: Any = [Raw(key, at) for at, key in enumerate(keys)]
        await step.accept(MicroBatch(messages, step.intake.epoch, None))
        async with asyncio.timeout(10):
            while len(sink.delivered) < until:  # noqa: ASYNC110 - the sink knows of no event loop
                await asyncio.sleep(0.005)
        await step.stop()

    asyncio.run(run())
    assert sink.closed


@pytest.mark.parametrize("hold", [RegistryUnavailable("down"), ConfigurationError("no access")])
def test_a_schema_that_cannot_be_asked_for_holds_and_loses_nothing(hold: Exception) -> None:
    asked: list[bytes] = []

    def decode(value: bytes) -> Any:
        asked.append(value)
        if len(asked) <= 3:
            raise hold
        return {"id": "1"}

    sink = Watched()
    deliver(sink, decode, ["a", "b"], 2)
    assert sorted(sink.delivered) == ["a", "b"]


def test_an_error_that_no_reader_should_raise_loses_nothing() -> None:
    asked: list[bytes] = []

    def decode(value: bytes) -> Any:
        asked.append(value)
        if len(asked) == 1:
            raise MemoryError("for a moment")
        return {"id": "1"}

    sink = Watched()
    deliver(sink, decode, ["a", "b"], 2)
    assert sorted(sink.delivered) == ["a", "b"]


def test_a_probe_that_was_dead_lettered_whole_is_no_answer_of_the_destination() -> None:
    """``b`` cannot be read and is the first probe: the destination is still thought down."""

    def decode(value: bytes) -> Any:
        if value == b"b":
            raise SerializationError("no order")
        return {"id": "1"}

    sink = Watched(failures=1)
    deliver(sink, decode, ["a", "b", "c"], 2)
    assert sink.held[:2] == [False, True]
    assert sorted(sink.delivered) == ["a", "c"]
