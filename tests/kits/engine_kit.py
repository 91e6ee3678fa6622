"""What the engine's tests share: flows of one's own, scripted sinks, events, what a topic holds."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from trunkline import Event, Flow, Params, Record, Rejected, Retry, Retryable, kafka
from trunkline.connectors.base import Sink
from trunkline.errors import PartialFailure
from trunkline.event import event_headers
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from trunkline.streams.plan.topics import required_topics
from trunkline.streams.worker.process import Options, Worker

PATIENCE = 60.0
QUICK = Retry("20ms", "100ms", "1s", "10s")

Answer = Callable[[Event[Order], int], Exception | None]
"""What becomes of an event at its first, second, … attempt; None: it is delivered."""


class Env(Params):
    """No parameters."""


class Scripted(Sink[Order]):
    """A user's own sink, which does with each event what its script says.

    ``attempts``: the events of each call. ``at``: when each call came.
    """

    type = Order

    def __init__(
        self, answer: Answer = lambda event, attempt: None, *, deletes: bool = False, **limits: int
    ) -> None:
        self._answer = answer
        self._tried: dict[str, int] = {}
        self.accepts_deletes = deletes
        self.max_batch = limits.get("max_batch", 1)
        self.concurrency = limits.get("concurrency", 1)
        self.under_way: list[str] = []
        self.attempts: list[list[str]] = []
        self.at: list[float] = []
        self.delivered: list[Event[Order]] = []
        self.closed = False

    @property
    def ids(self) -> list[str]:
        """The ids of what is delivered, in order."""
        return [event.id for event in self.delivered]

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        keys = {event.key for event in events}
        assert keys.isdisjoint(self.under_way), "two calls have events of one key at once"
        self.attempts.append([event.id for event in events])
        self.at.append(time.monotonic())
        self.under_way += keys
        await asyncio.sleep(0.001)
        self.under_way = [key for key in self.under_way if key not in keys]
        self._answer_to(events)

    def _answer_to(self, events: Sequence[Event[Order]]) -> None:
        failures: dict[int, Any] = {}
        for index, event in enumerate(events):
            attempt = self._tried[event.id] = self._tried.get(event.id, 0) + 1
            failure = self._answer(event, attempt)
            if failure is not None:
                failures[index] = failure
        for failure in failures.values():
            if len(events) == 1 or not isinstance(failure, Rejected | Retryable):
                raise failure
        self.delivered += [event for i, event in enumerate(events) if i not in failures]
        if failures:
            raise PartialFailure(failures)

    async def close(self) -> None:
        self.closed = True


def delivering(*sinks: Scripted, **policy: Any) -> Flow[Env]:
    """A flow that delivers what is in ``<flow>.erp.inbox``; each worker takes the next sink, and
    further ones the last."""
    coming = list(sinks)
    flow = Flow(f"engine-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(f"{flow.name}.orders", Order)

    @flow.destination(**{"retry": QUICK, **policy})
    def erp(env: Env) -> Scripted:
        return coming.pop(0) if len(coming) > 1 else coming[0]

    @flow.route(orders, to=erp)
    def every_order(order: Event[Order]) -> Order:
        return order.data

    return flow


def order(number: int = 1, *, status: str = "paid") -> Order:
    """An order, told from others by its number."""
    return Order(id=str(number), status=status, total_cents=100)


class Kit:
    """Kafka and the registry, as a test uses them: produce events, read topics, run workers."""

    def __init__(self, bootstrap: str, registry_url: str, partitions: int = 2) -> None:
        self.backbone = Backbone(bootstrap=bootstrap, registry=registry_url, partitions=partitions)
        at_once = {"fetch.wait.max.ms": "10"}  # the end of a topic is told without waiting
        self._reading = self.backbone.model_copy(update={"kafka": at_once})
        self._registry = Registry(registry_url)
        self.codec = Codec(self._registry)
        self.encode = self.codec.encoder(Order, "engine-tests-value", register=True)
        self._producer = kafka.producer(self.backbone)

    def close(self) -> None:
        """Release the connections."""
        self._registry.close()

    def create(self, flow: Flow[Any]) -> None:
        """The flow's topics."""
        kafka.ensure_topics(self.backbone, required_topics(flow, self.backbone.partitions))

    def event(
        self, key: str, id: str, data: Order | bytes | None = None, *, type: str = "order.paid"
    ) -> tuple[bytes, bytes | None, list[tuple[str, bytes]]]:
        """Key, value and headers of a canonical event; bytes are a value as it is."""
        value = data if isinstance(data, bytes) else self.encode(data or order())
        headers = event_headers(Record(key=key, data={}, id=id), source="/tests", type=type)
        return key.encode(), value, headers

    def delete(self, key: str, id: str) -> tuple[bytes, None, list[tuple[str, bytes]]]:
        """Key and headers of a delete."""
        record = Record(key=key, data={}, change="delete", id=id)
        return key.encode(), None, event_headers(record, source="/tests", type="order.deleted")

    def produce(self, topic: str, events: Iterable[tuple[Any, Any, Any]]) -> None:
        """Put events into a topic; returns when Kafka has them."""
        failed: list[str] = []

        def report(failure: KafkaError | None, message: Message) -> None:
            if failure is not None:
                failed.append(f"{message.topic()}/{message.partition()}: {failure}")

        kafka.produce(self._producer, [(topic, *event) for event in events], report)
        assert self._producer.flush(PATIENCE) == 0
        assert not failed, f"{len(failed)} records did not reach Kafka: {failed[:3]}"

    def read(self, topic: str) -> list[Message]:
        """Every committed record of a topic, partition by partition."""
        reader = kafka.consumer(self._reading, f"reader-{uuid.uuid4().hex}", eof=True)
        try:
            partitions = range(self.backbone.partitions)
            reader.assign([TopicPartition(topic, number, 0) for number in partitions])
            return _until_the_end(reader, len(partitions))
        finally:
            reader.close()

    def committed(self, group: str, topic: str) -> list[TopicPartition]:
        """What the group has committed in the topic."""
        reader = kafka.consumer(self.backbone, group)
        try:
            partitions = range(self.backbone.partitions)
            return reader.committed([TopicPartition(topic, n) for n in partitions], timeout=10)
        finally:
            reader.close()

    @asynccontextmanager
    async def running(
        self, flow: Flow[Any], *roles: str, port: int | None = None
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A worker of the flow; stopped at the end, when it has committed everything."""
        stop = asyncio.Event()
        options = Options(roles=roles or ("route", "deliver"), port=port)
        task = asyncio.create_task(Worker(flow, Env(), self.backbone, options).run(stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.wait_for(task, PATIENCE)


def _until_the_end(reader: Any, partitions: int) -> list[Message]:
    found: list[Message] = []
    ends = 0
    while ends < partitions:
        for message in reader.consume(1, timeout=1.0):
            if message.error() is None:
                found.append(message)
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ends += 1
    return found


def headers_of(message: Message) -> dict[str, str]:
    """A record's headers as text; each name must stand once."""
    headers = message.headers() or []
    named = {name: (value or b"").decode() for name, value in headers}  # type: ignore[union-attr]
    assert len(named) == len(headers), f"a header stands twice: {headers}"
    return named


async def eventually(happened: Callable[[], object], what: str, *, asks: bool = False) -> None:
    """Wait until it has happened. ``asks``: who says so asks Kafka, and so does it in a thread: a
    worker in this event loop hardly comes to work if the loop stands still most of the time."""
    begin = time.monotonic()
    deadline = begin + PATIENCE
    while not (await asyncio.to_thread(happened) if asks else happened()):
        now = time.monotonic()
        assert now < deadline, f"not in {PATIENCE:.0f} s: {what}"
        # As long as the look took, so that the worker has at least half of the time.
        await asyncio.sleep(min(max(0.01, now - begin), 1.0))
        begin = time.monotonic()
