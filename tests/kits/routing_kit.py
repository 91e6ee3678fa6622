"""A routing step over a poll loop that reads nothing and a producer that keeps what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import orjson
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from keeping_producer import KeepingProducer
from trunkline.event import Event
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.poll_loop import MicroBatch, PollLoop
from trunkline.streams.metrics import Metrics, StepMetrics
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router
from trunkline.streams.route.step import RoutingListener, RoutingStep
from trunkline.streams.route.transactions import RoutingTransactions

TOPIC, INBOX, DLQ = "orders", "f.erp.inbox", "f.erp.dlq"


class Told(RoutingListener):
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.owned: list[frozenset[tuple[str, int]]] = []
        self.batches: list[MicroBatch] = []

    def on_assigned(self, partitions: frozenset[tuple[str, int]]) -> None:
        self.owned.append(partitions)

    def on_committed(self, batch: MicroBatch) -> None:
        self.batches.append(batch)


class Group:
    """A consumer as ``on_assigned`` sees it: the group stands at offset 7 everywhere."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(at.topic, at.partition, 7) for at in partitions]

    def consumer_group_metadata(self) -> str:
        return "metadata"


class Routing:
    """A routing step under test. ``route``: the flow's only one; ``producers``: all that there
    were, the newest last. To be made in an event loop."""

    def __init__(self, route: Callable[[Event[Any]], Any]) -> None:
        self.producers: list[KeepingProducer] = []
        self.all_metrics = Metrics()
        self.metrics = StepMetrics(self.all_metrics, "f", "route", "f")
        self.listener = Told()
        self.enqueued: list[MicroBatch] = []
        self.intake = PollLoop(_nowhere, [TOPIC])
        self.intake.group = "metadata"
        self.transactions = RoutingTransactions(self.intake, self._producer, self.metrics)
        compiled = CompiledRoute.of(route, inbox=INBOX, dlq=DLQ, encode=orjson.dumps)
        self.step = RoutingStep(
            Router({TOPIC: CompiledTopic(orjson.loads, [compiled])}),
            self.intake,
            self.transactions,
            self.listener,
            enqueue=self.enqueued.append,
            metrics=self.metrics,
            outcome_listener=self.metrics,
        )

    def _producer(self) -> Producer:
        self.producers.append(KeepingProducer())
        return cast(Producer, self.producers[-1])

    @property
    def producer(self) -> KeepingProducer:
        """The one that is used now."""
        return self.producers[-1]

    def batch(self, *keys: bytes, value: bytes | None = b"{}") -> MicroBatch:
        """Events of these keys, one behind the other, as the poll loop would hand them over."""
        messages: Any = [StoredMessage(TOPIC, 0, at, key, value) for at, key in enumerate(keys)]
        self.intake._in_flight.received(messages)
        return MicroBatch(cast("list[Message]", messages), self.intake.epoch, "metadata")

    def counted(self, name: str) -> float:
        """A counter of the step's metrics."""
        counter: Any = getattr(self.metrics, name)
        return float(counter._value.get())


def _nowhere() -> Consumer:
    raise NotImplementedError
