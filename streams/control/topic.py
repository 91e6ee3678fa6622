"""The control topic of a flow: what operators ask for, and how far long tasks have come.

One partition, compacted: the newest record of a key is its state, a JSON object. Every worker
reads it whole at its start and follows it then. What a worker writes comes back to it through the
topic too, so that all workers see the same changes in the same order.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Protocol

import orjson
from confluent_kafka import KafkaError, Message, Producer

from trunkline import kafka, naming
from trunkline.errors import DataError
from trunkline.kafka.tail import Tail, low_latency, read_all
from trunkline.params import Backbone

log = logging.getLogger(__name__)

POLL = 0.2
"""Seconds that one poll waits: how late a stop can be noticed."""

ACKNOWLEDGED = 30.0
"""Seconds that a write waits for Kafka."""

GOODBYE = 5.0
"""Seconds that it still waits once the worker ends."""

Value = dict[str, Any]
Callback = Callable[[str, Value | None], None]
"""Takes a key and its new value; None: the key is gone."""


class ControlTopic(Protocol):
    """A flow's control topic as a worker sees it. For the event loop only.

    ``state``: the newest value of each key. Do not change the values in it.
    """

    state: dict[str, Value]

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` for each key that begins with ``prefix``: now for what is there, then
        for each change, in order, after ``state`` has it. Returns what ends this."""
        ...

    async def put(self, key: str, value: Mapping[str, Any] | None) -> None:
        """Write a value, or with None remove the key. Returns when Kafka has acknowledged it; it
        is in ``state`` once it has come back. Raises KafkaUnavailable."""
        ...


class _StateStore:
    """A state that is followed. ``failure``: what a callback raised; the worker must end then."""

    def __init__(self) -> None:
        self.state: dict[str, Value] = {}
        self.failure: BaseException | None = None
        self._callbacks: list[tuple[str, Callback]] = []

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        entry = (prefix, callback)
        self._callbacks.append(entry)
        for key, value in list(self.state.items()):
            self._call(entry, key, value)

        def unsubscribe() -> None:
            if entry in self._callbacks:
                self._callbacks.remove(entry)

        return unsubscribe

    def _changed(self, key: str, value: Value | None) -> None:
        _apply(self.state, key, value)
        for entry in list(self._callbacks):
            self._call(entry, key, value)

    def _call(self, entry: tuple[str, Callback], key: str, value: Value | None) -> None:
        prefix, callback = entry
        if not key.startswith(prefix):
            return
        try:
            callback(key, value)
        except Exception as failure:
            log.exception("the control record %r could not be acted on", key)
            self.failure = self.failure or failure


class KafkaControl(_StateStore):
    """The control topic itself, read by a thread of its own: only one may call a consumer.

    It survives that the broker goes away: reading goes on when it is back.
    """

    def __init__(self, backbone: Backbone, topic: str) -> None:
        super().__init__()
        self._backbone = backbone
        self._topic = topic
        self._writer = Writer(backbone, topic)
        # One thread writes, so that what is put first comes first.
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="control-write")
        self._reading = threading.Thread(target=self._run, name="control-read", daemon=True)
        self._stopping = False

    async def start(self) -> None:
        """Returns when ``state`` has everything that is in the topic now. Waits for Kafka as long
        as it takes; raises KafkaException if the topic can never be read."""
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._reading.start()
        await self._ready

    async def stop(self) -> None:
        """End reading; a write that is under way is finished, if Kafka takes it in 5 seconds."""
        self._stopping = True
        self._writer.set_deadline(GOODBYE)
        if self._reading.ident is not None:  # it may be stopped before it was started
            await asyncio.to_thread(self._reading.join)
        await asyncio.to_thread(self._writing.shutdown)

    async def put(self, key: str, value: Mapping[str, Any] | None) -> None:
        """As Control.put says."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writing, self._writer.write, {key: value})

    def _run(self) -> None:
        try:
            with closing(Tail(low_latency(self._backbone), self._topic)) as tail:
                self._read(tail, lambda: tail.complete)
            self._in_loop(self._started)
            with closing(Tail(self._backbone, self._topic, tail.next)) as tail:
                self._read(tail, lambda: False)
        except Exception as failure:
            log.exception("the control topic cannot be followed", extra={"topic": self._topic})
            self._in_loop(self._failed, failure)

    def _read(self, tail: Tail, enough: Callable[[], bool]) -> None:
        while not (self._stopping or enough()):
            records = tail.read(POLL)
            if records:
                self._in_loop(self._received, records)

    def _in_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _received(self, records: list[Message]) -> None:
        for record in records:
            if (change := _parsed(record)) is not None:
                self._changed(*change)

    def _started(self) -> None:
        if not (self._ready.done() or self._stopping):  # whoever waited may have been cancelled
            self._ready.set_result(None)

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure
        if not self._ready.done():
            self._ready.set_exception(failure)


class Writer:
    """Writes control records. For one thread at a time."""

    def __init__(self, backbone: Backbone, topic: str) -> None:
        wait = {"message.timeout.ms": str(int(ACKNOWLEDGED * 1000)), **backbone.kafka}
        self._backbone = backbone.model_copy(update={"kafka": wait})
        self._topic = topic
        self._producer: Producer | None = None
        self._deadline = math.inf

    def set_deadline(self, seconds: float) -> None:
        """Wait for Kafka that much longer at the most, from now on. From any thread."""
        self._deadline = time.monotonic() + seconds

    def write(self, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Write values, None to remove a key; returns when Kafka has acknowledged all of them.

        Raises KafkaUnavailable: then some or all of them may have been written.
        """
        if self._producer is None:
            self._producer = kafka.producer(self._backbone)
        errors: list[KafkaError] = []

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error)

        records = [record(self._topic, key, value) for key, value in changes.items()]
        kafka.produce(self._producer, records, report)
        self._flush(self._producer)
        if errors:
            self._producer = None  # it may be one that can never go on
            raise kafka.KafkaUnavailable(
                f"topic {self._topic!r} could not be written: {errors[0].str()}; "
                "try again once Kafka is up"
            )

    def _flush(self, producer: Producer) -> None:
        while producer.flush(POLL):
            if time.monotonic() > self._deadline:
                producer.purge()  # each that is left is reported as an error


def record(topic: str, key: str, value: Mapping[str, Any] | None) -> kafka.Out:
    """A control record, for writers that have a transaction of their own."""
    return topic, key.encode(), None if value is None else orjson.dumps(dict(value)), []


def topic_of(flow: str) -> kafka.TopicSpec:
    """The control topic of the flow of this name. Small segments keep it short."""
    config = {"segment.bytes": "10485760", "min.cleanable.dirty.ratio": "0.1"}
    return kafka.TopicSpec(naming.control(flow), 1, compact=True, config=config)


def read_control(backbone: Backbone, topic: str) -> dict[str, Value]:
    """The newest value of each key in a control topic; {} if there is no such topic.

    Blocks. Raises KafkaUnavailable.
    """
    state: dict[str, Value] = {}
    for message in read_all(backbone, topic):
        if (change := _parsed(message)) is not None:
            _apply(state, *change)
    return state


def put_control(
    backbone: Backbone, topic: str, changes: Mapping[str, Mapping[str, Any] | None]
) -> None:
    """Write values, None to remove a key; returns when Kafka has acknowledged all of them.

    Blocks. Raises KafkaUnavailable: then some or all of them may have been written.
    """
    Writer(backbone, topic).write(changes)


def _apply(state: dict[str, Value], key: str, value: Value | None) -> None:
    if value is None:
        state.pop(key, None)
    else:
        state[key] = value


def _parsed(message: Message) -> tuple[str, Value | None] | None:
    """Key and value; None for a record that is none of ours, which is logged and skipped."""
    key, value = message.key(), message.value()
    try:
        if key is None:
            raise DataError("it has no key")
        parsed = None if value is None else orjson.loads(value)
        if not isinstance(parsed, dict | None):
            raise DataError("its value is no JSON object")
        return key.decode(), parsed
    except (DataError, ValueError) as error:
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        log.error("the control record %s is skipped: %s", place, error)
        return None
