"""Puts a call into the inbox of its destination."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from trunkline import kafka
from trunkline.event import AVRO, new_traceparent
from trunkline.gateway.catalog import Offered
from trunkline.headers import (
    CE_ID,
    CE_SOURCE,
    CE_SPECVERSION,
    CE_TIME,
    CE_TYPE,
    CONTENT_TYPE,
    TL_ACCEPTED_AT,
    TL_CLIENT,
    TL_EXPIRES_AT,
    TL_FINGERPRINT,
    TL_OPERATION,
    TL_ORIGIN,
    TRACEPARENT,
)
from trunkline.params import Backbone
from trunkline.streams.journal.record import CallRecord, moment_of

TIMEOUT = 10.0
"""Seconds that Kafka has to take a call."""


class CallWriter:
    """Writes calls: that they are accepted, and the inbox record. No transaction: one that a dying
    gateway leaves open would hold up the inbox of everybody until it is aborted.

    Both records are written side by side. A gateway that dies in between leaves one of them: an
    inbox record alone is run, and the worker tells of it; an ``accepted`` alone is not, and the
    caller, who has no answer, comes again with the same key and completes it.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._producer: Producer = kafka.producer(backbone, timeout=TIMEOUT)
        self._retired: list[Producer] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="gateway-write", daemon=True)

    def start(self) -> None:
        """Begin to serve delivery reports. In the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Write what is under way, and end."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._producer.flush, TIMEOUT)

    async def write(
        self, offered: Offered, call: CallRecord, value: bytes, traceparent: str
    ) -> None:
        """Return when Kafka has both records. Raises KafkaException."""
        producer = self._producer
        try:
            accepted = self._sent(
                offered.calls, call.record_key(by_gateway=True), call.encoded(), []
            )
            headers = call_headers(offered, call, traceparent)
            entity = (call.key or call.call).encode()
            await asyncio.gather(accepted, self._sent(offered.inbox, entity, value, headers))
        except KafkaException as failure:
            # An idempotent producer that has lost its place can never go on.
            if failure.args[0].fatal() and producer is self._producer:
                self._retired.append(producer)
                self._producer = kafka.producer(self._backbone, timeout=TIMEOUT)
            raise

    def _sent(
        self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
    ) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(KafkaException(error))

        def report(error: KafkaError | None, message: Message) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(settle, error)

        try:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=report)  # type: ignore[arg-type]  # a list of pairs is one
        except BufferError:
            full = KafkaError(KafkaError._QUEUE_FULL, "too many calls wait for Kafka")
            done.set_exception(KafkaException(full))
        return done

    def _serve(self) -> None:
        while not self._stopping.is_set():
            # What others have given to a producer that can never go on fails: they are told of it,
            # and would wait for ever else.
            while self._retired:
                retired = self._retired.pop()
                retired.purge()
                retired.flush(TIMEOUT)
            self._producer.poll(0.1)


def call_headers(offered: Offered, call: CallRecord, traceparent: str) -> list[tuple[str, bytes]]:
    """The headers of a call's inbox record: a CloudEvent whose id is the call's."""
    accepted = moment_of(call.accepted_at)
    texts = {
        CE_SPECVERSION: "1.0",
        CE_ID: call.call,
        CE_SOURCE: f"/gateway/{call.client}",
        CE_TYPE: f"{offered.flow}.{offered.name}",
        CE_TIME: accepted,
        CONTENT_TYPE: AVRO,
        TRACEPARENT: traceparent or new_traceparent(),
        TL_ORIGIN: "operation",
        TL_OPERATION: offered.name,
        TL_CLIENT: call.client,
        TL_FINGERPRINT: call.fingerprint,
        TL_ACCEPTED_AT: accepted,
        TL_EXPIRES_AT: moment_of(call.expires_at),
    }
    return [(name, text.encode()) for name, text in texts.items()]
