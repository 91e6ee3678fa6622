"""The control topic on Kafka: one thread follows it, another writes it.

Changes reach the event loop in the topic's order. Nothing in here looks into a record: what keys
there are says ``records.py``. Flows that share a process share the clients, too (``clients.py``).
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
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from trunkline import kafka
from trunkline.kafka.clients import low_latency
from trunkline.kafka.reading import read_all
from trunkline.kafka.tail import Tail
from trunkline.params import Backbone
from trunkline.streams.control.clients import ControlClients, patient
from trunkline.streams.control.topic import (
    StateStore,
    Value,
    apply_change,
    control_record,
    parse_record,
)
from trunkline.tasks import inheriting, naming_flow

log = logging.getLogger(__name__)

POLL_TIMEOUT = 0.2
"""Seconds that one poll waits: how late a stop can be noticed."""

STOP_TIMEOUT = 5.0
"""Seconds that a write still waits once the worker ends."""


class KafkaControl(StateStore):
    """The control topic itself, read by a thread of its own: only one may call a consumer.

    It survives that the broker goes away: reading goes on when it is back. ``clients``: those that
    it shares with other control topics; without them it has its own.
    """

    def __init__(
        self, backbone: Backbone, topic: str, clients: ControlClients | None = None
    ) -> None:
        super().__init__()
        self._backbone = backbone
        self._topic = topic
        self._clients = clients
        self._writer = ControlWriter(backbone, topic, clients)
        # One thread writes, so that what is put first comes first.
        self._writing = ThreadPoolExecutor(
            1, thread_name_prefix="control-write", initializer=naming_flow()
        )
        # A daemon: a process that ends by an error, without `stop`, must not wait for a thread that
        # waits for Kafka.
        self._reading = threading.Thread(
            target=inheriting(self._run), name="control-read", daemon=True
        )
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
        # Else a write that Kafka does not take would hold the end for WRITE_TIMEOUT.
        self._writer.set_deadline(STOP_TIMEOUT)
        if self._reading.ident is not None:  # it may be stopped before it was started
            await asyncio.to_thread(self._reading.join)
        if self._clients is not None:
            self._clients.follower.leave(self._topic)
        await asyncio.to_thread(self._writing.shutdown)

    async def put(self, key: str, value: Mapping[str, Any] | None) -> None:
        """As ControlTopic says."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writing, self._writer.write, {key: value})

    def _run(self) -> None:
        try:
            # Two readers, one after the other: the start waits for the whole topic, so the first
            # asks Kafka with low latency, at the price of CPU that a follower should not pay.
            with closing(Tail(low_latency(self._backbone), self._topic)) as tail:
                self._read(tail, lambda: tail.complete)
            self._in_loop(self._started)
            # From where the first one ended: no change is missed, and none is told twice.
            if self._clients is not None:
                if not self._stopping:
                    self._clients.follower.follow(self._topic, tail.next, self)
                return
            with closing(Tail(self._backbone, self._topic, tail.next)) as tail:
                self._read(tail, lambda: False)
        # Whatever it is: a worker without this thread would look well, and obey no pause any more.
        except Exception as failure:
            log.exception("the control topic cannot be followed", extra={"topic": self._topic})
            self.on_lost(failure)

    def on_records(self, records: list[Message]) -> None:
        """Records came. From the thread that reads."""
        self._in_loop(self._received, records)

    def on_lost(self, failure: BaseException) -> None:
        """Nobody reads the topic any more. From the thread that read."""
        self._in_loop(self._failed, failure)

    def _read(self, tail: Tail, enough: Callable[[], bool]) -> None:
        while not (self._stopping or enough()):
            records = tail.read(POLL_TIMEOUT)
            if records:
                self.on_records(records)

    def _in_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        # A record may still come while the loop ends; a closed one raises RuntimeError here.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _received(self, records: list[Message]) -> None:
        for message in records:
            if (change := parse_record(message)) is not None:
                self.apply(*change)

    def _started(self) -> None:
        if not (self._ready.done() or self._stopping):  # whoever waited may have been cancelled
            self._ready.set_result(None)

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure
        if not self._ready.done():
            self._ready.set_exception(failure)


class ControlWriter:
    """Writes control records. For one thread at a time. ``clients``: whose producer it takes; it
    has its own without them."""

    def __init__(
        self, backbone: Backbone, topic: str, clients: ControlClients | None = None
    ) -> None:
        self._backbone = patient(backbone)
        self._topic = topic
        self._clients = clients
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
            shared = self._clients
            self._producer = shared.producer() if shared else kafka.producer(self._backbone)
        told: list[KafkaError | None] = []
        records = [control_record(self._topic, key, value) for key, value in changes.items()]
        kafka.produce(self._producer, records, lambda error, _: told.append(error))
        while len(told) < len(records):
            self._producer.poll(POLL_TIMEOUT)
            # In pieces: `set_deadline` may come from another thread while this one waits.
            if time.monotonic() > self._deadline:
                if self._clients is not None:  # in its queue are others' records, too
                    told.append(KafkaError(KafkaError._TIMED_OUT))
                    break
                self._producer.purge()  # each that is left is reported as an error
        errors = [error for error in told if error is not None]
        if errors:
            if self._clients is not None:
                self._clients.renew(self._producer)
            self._producer = None  # it may be one that can never go on
            what = f"topic {self._topic!r} could not be written"
            raise kafka.unavailable(what, errors[0], topic=self._topic)


def read_control(backbone: Backbone, topic: str) -> dict[str, Value]:
    """The newest value of each key in a control topic; {} if there is no such topic.

    Blocks. Raises KafkaUnavailable.
    """
    state: dict[str, Value] = {}
    for message in read_all(backbone, topic):
        if (change := parse_record(message)) is not None:
            apply_change(state, *change)
    return state
