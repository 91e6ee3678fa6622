"""KafkaSink: events as records of topics of another Kafka cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from trunkline import kafka
from trunkline.connectors.base import Finding, Sink
from trunkline.connectors.json_values import to_json
from trunkline.connectors.kafka.answers import delivery_error
from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.errors import (
    SCHEMA_UNAVAILABLE,
    ConfigurationError,
    DataError,
    DeliveryError,
    PartialFailure,
    Rejected,
    Unavailable,
)
from trunkline.event import AVRO, Event
from trunkline.headers import CONTENT_TYPE, TL_CHANGE, TRACEPARENT
from trunkline.kafka.clients import reasons_of
from trunkline.schemas.codec import Codec, Encode
from trunkline.schemas.registry import Registry
from trunkline.schemas.subjects import subject
from trunkline.schemas.types import schema_of

T = TypeVar("T")

JSON = "application/json"
_HANDED_ON = frozenset((TL_CHANGE, TRACEPARENT))
_TIMEOUTS = {"message.timeout.ms", "delivery.timeout.ms"}
"""With a longer one a record could be written after the sink has given it up, and sent a newer one
of its key."""
_GRACE = 5.0
"""Seconds beyond its timeout until a record counts as lost whose report has not come."""


class KafkaSink(Sink[T]):
    """Writes events to topics of another Kafka cluster, in the order of each key.

    ``topic``: its name, or a function of the event; it must exist. ``value``: "avro" (under the
    cluster's registry) or "json". ``register``: whether a schema that the topic's subject lacks is
    registered; ``subjects``: how subjects are named ("topic", "record", "topic-record").
    ``headers``: whether CloudEvents headers, ``tl_change`` and ``traceparent`` go along.
    ``idempotency_header``: the header with the message's idempotency key, "" for none.
    ``max_batch``: events of a call at the most. ``timeout``: seconds after which a record that the
    cluster has not acknowledged is given up. ``appends``: whether the topic keeps all events, and
    is read as a log: then a replay may send old ones again.

    A record's key is the event's, in the partition where Java's clients put it; a delete has no
    value, as compaction wants it. At-least-once: each call returns when all in-sync replicas have
    its records (idempotent producer, acks=all); what is repeated has the same idempotency key.

    Errors: Rejected for a value that does not fit or that the cluster refuses (too large, no valid
    record), by PartialFailure where others are delivered; Unavailable while the cluster, its
    registry, the topic or a right is missing. Of a key whose record failed the later ones of the
    call count as failed, too, so that they come again behind it. Raises ConfigurationError for
    arguments that cannot work, and from ``open`` where the registry refuses the schema.
    """

    accepts_deletes = True
    keeps_timeout = True

    def __init__(
        self,
        cluster: KafkaCluster,
        type: type[T],
        topic: str | Callable[[Event[T]], str],
        *,
        value: Literal["avro", "json"] = "avro",
        register: bool = True,
        subjects: Literal["topic", "record", "topic-record"] = "topic",
        headers: bool = True,
        idempotency_header: str = "idempotency-key",
        max_batch: int = 1000,
        timeout: float = 30.0,
        appends: bool = False,
    ) -> None:
        if value not in ("avro", "json"):
            raise ConfigurationError(f"KafkaSink: value={value!r} is neither avro nor json")
        if not topic or max_batch < 1 or timeout <= 0:
            raise ConfigurationError(
                "KafkaSink: topic= is named, max_batch= is 1 or more, timeout= above 0"
            )
        if named := _TIMEOUTS & cluster.settings.keys():
            raise ConfigurationError(
                f"KafkaSink: {', '.join(sorted(named))} in settings= of the cluster: give timeout="
            )
        self.type = type
        self.max_batch = max_batch
        self.appends = appends
        self._cluster = cluster
        self._topic = topic
        self._avro = value == "avro"
        self._register = register
        self._subjects = subjects
        self._with_headers = headers
        self._idempotency_header = idempotency_header
        self._timeout = timeout
        if self._avro:
            schema_of(type)
            cluster.open_registry("KafkaSink").close()
        self._registry: Registry | None = None
        self._encoders: dict[str, Encode] = {}
        self._producer: Producer | None = None
        self._thread: ThreadPoolExecutor | None = None

    def configure(self, limits: Any) -> None:
        """Take over ``timeout`` and ``batch``."""
        if limits.timeout is not None:
            self._timeout = limits.timeout
        if limits.batch is not None:
            self.max_batch = limits.batch
        super().configure(limits)

    async def open(self) -> None:
        """Ask the registry for the schema's id, and the cluster for its topics. Raises
        ConfigurationError, Unavailable."""
        if self._thread is None:  # it may be called again after Unavailable
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-sink")
        await self._in_thread(self._open)

    def check(self) -> list[Finding]:
        """See ``Sink.check``: whether the cluster answers these settings."""
        try:
            kafka.existing_topics(self._cluster.client(kafka.admin), self._timeout)
        except kafka.KafkaUnavailable as error:
            return [Finding(self._cluster.told(error))]
        return []

    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """Write the events. Raises PartialFailure naming those that failed, or the error of a
        single event."""
        failures = await self._in_thread(self._write, list(events))
        if failures:
            raise failures[0] if len(events) == 1 else PartialFailure(failures)

    async def close(self) -> None:
        """Wait for the call under way, also a cancelled one, and close the connections."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
            self._thread = None
        if self._registry is not None:
            self._registry.close()
            self._registry = None
        self._encoders, self._producer = {}, None

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        assert self._thread is not None, "the sink is not open"
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    # The sink's own thread.

    def _open(self) -> None:
        if self._avro and self._registry is None:
            self._registry = self._cluster.open_registry("KafkaSink")
        if isinstance(self._topic, str):
            self._encoder(self._topic)
        try:
            kafka.existing_topics(self._cluster.client(kafka.admin), self._timeout)
        except kafka.KafkaUnavailable as error:
            raise Unavailable(self._cluster.told(error)) from error

    def _write(self, events: list[Event[T]]) -> dict[int, DeliveryError]:
        """Write all of them; returns the errors by index.

        A broker refuses a whole request for one record in it: what is refused so is sent again
        record by record, with all that follows of its keys, and then the refusal is one record's.
        """
        made: dict[int, tuple[str, bytes, bytes | None, list[tuple[str, bytes]]]] = {}
        failures: dict[int, DeliveryError] = {}
        for index, event in enumerate(events):
            try:
                made[index] = self._record(event)
            except DataError as error:
                failures[index] = Rejected(str(error))
            except Rejected as error:
                failures[index] = error
        failed = self._send(made)
        if any(isinstance(error, Rejected) for error in failed.values()) and len(made) > 1:
            failed = self._send_one_by_one({index: made[index] for index in failed})
        return failures | failed

    def _send_one_by_one(self, records: Mapping[int, tuple[Any, ...]]) -> dict[int, DeliveryError]:
        """As ``_send``, each record for itself. What is behind one of its key that comes again is
        not sent before it; and a cluster that goes away meanwhile is waited for once, not by each
        of a thousand records."""
        found: dict[int, DeliveryError] = {}
        waits: dict[tuple[str, bytes], DeliveryError] = {}
        last: DeliveryError | None = None
        deadline = time.monotonic() + self._timeout
        for index, record in records.items():
            topic, key, *_ = record
            error = waits.get((topic, key)) or (last if time.monotonic() >= deadline else None)
            error = error or self._send({index: record}).get(index)
            if error is not None:
                found[index] = error
                if not isinstance(error, Rejected):
                    waits[topic, key] = last = error
        return found

    def _record(self, event: Event[T]) -> tuple[str, bytes, bytes | None, list[tuple[str, bytes]]]:
        topic = self._topic_of(event)
        value = None
        if event.value is not None:
            data = event.data
            value = self._encoder(topic)(data) if self._avro else to_json(data)
        elif event.change == "truncate":
            raise Rejected("a truncate is no record of a topic: leave it out in the route")
        return topic, event.key.encode(), value, self._headers(event)

    def _topic_of(self, event: Event[T]) -> str:
        """Raises Rejected for an event that has none: it must not fail the others of its call."""
        if isinstance(self._topic, str):
            return self._topic
        try:
            topic = self._topic(event)
        except (DataError, DeliveryError):
            raise
        except Exception as error:
            raise Rejected(f"topic= raised {type(error).__name__}: {error}") from error
        if not isinstance(topic, str) or not topic:
            raise Rejected(f"topic= returned {topic!r}, which is no topic's name")
        return topic

    def _headers(self, event: Event[T]) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        if self._with_headers:
            found = [
                (name, value)
                for name, value in event.headers
                if value is not None and (name.startswith("ce_") or name in _HANDED_ON)
            ]
            found.append((CONTENT_TYPE, (AVRO if self._avro else JSON).encode()))
        if self._idempotency_header:
            found.append((self._idempotency_header, event.idempotency_key.encode()))
        return found

    def _encoder(self, topic: str) -> Encode:
        """What writes values of a topic. Raises Unavailable while the registry is away."""
        if not self._avro:
            return to_json
        if topic not in self._encoders:
            assert self._registry is not None, "the sink is not open"
            name = subject(topic, schema_of(self.type).json, self._subjects)
            try:
                self._encoders[topic] = Codec(self._registry).encoder(
                    self.type, name, register=self._register
                )
            except SCHEMA_UNAVAILABLE as error:
                raise Unavailable(self._cluster.told(error)) from error
        return self._encoders[topic]

    def _send(self, records: Mapping[int, tuple[Any, ...]]) -> dict[int, DeliveryError]:
        """Produce these records and wait for all reports; returns the errors by index, in order.

        Of a key with a failure everything behind it fails as well: else a retry would bring the
        older one behind the newer one."""
        if not records:
            return {}
        producer = self._ready()
        reports: dict[int, KafkaError | None] = {}
        for index, (topic, key, value, headers) in records.items():

            def report(error: KafkaError | None, _: Message, index: int = index) -> None:
                reports[index] = error

            self._produce(producer, topic, key, value, headers, report)
        deadline = time.monotonic() + self._timeout + _GRACE
        while len(reports) < len(records) and time.monotonic() < deadline:
            producer.poll(0.1)
        lost = KafkaError(KafkaError._MSG_TIMED_OUT)
        errors = {index: reports.get(index, lost) for index in records}
        if len(reports) < len(records) or any(e is not None and e.fatal() for e in errors.values()):
            self._producer = None  # it can never go on; the next call gets a new one
        return self._failures(records, errors, producer)

    def _failures(
        self,
        records: Mapping[int, tuple[Any, ...]],
        errors: Mapping[int, KafkaError | None],
        producer: Producer,
    ) -> dict[int, DeliveryError]:
        reasons = reasons_of(producer)
        found: dict[int, DeliveryError] = {}
        of_key: dict[tuple[str, bytes], DeliveryError] = {}
        for index, (topic, key, *_) in records.items():
            if (error := errors[index]) is not None:
                hint = reasons.text if reasons is not None else ""
                of_key[topic, key] = delivery_error(self._cluster, topic, error, hint)
            if (topic, key) in of_key:
                found[index] = of_key[topic, key]
        return found

    def _produce(
        self,
        producer: Producer,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        report: Callable[[KafkaError | None, Any], None],
    ) -> None:
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, on_delivery=report)  # type: ignore[arg-type]
                return
            except BufferError:
                producer.poll(0.1)
            except KafkaException as failure:  # at once, as for one that is too large
                report(failure.args[0], None)
                return

    def _ready(self) -> Producer:
        if self._producer is None:
            self._producer = self._cluster.client(
                lambda of: kafka.producer(of, timeout=self._timeout)
            )
        return self._producer
