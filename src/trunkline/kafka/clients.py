"""Kafka clients as Trunkline uses them, all on confluent-kafka (librdkafka).

Settings of a user's cluster (``Backbone.kafka``) come last and win.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from trunkline.errors import ConfigurationError, TrunklineError
from trunkline.params import Backbone

log = logging.getLogger(__name__)

MAX_VALUE = 10_000_000
"""The largest value in bytes that travels; topics take more, so that headers always fit."""
TOPIC_MAX = MAX_VALUE + 1_000_000

OFFSETS_TIMEOUT = 15.0
"""Seconds for a transaction's offsets: Kafka gives up a transaction before (KIP-98)."""

Out = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]
"""A record to produce: topic, key, value, headers."""

Move = tuple[str, int, bytes | None, bytes | None, list[tuple[str, bytes]], int]
"""A record for one partition: topic, partition, key, value, headers, timestamp in ms."""


class KafkaUnavailable(TrunklineError):
    """The Kafka cluster does not answer."""


def settings(backbone: Backbone, **more: object) -> dict[str, object]:
    """librdkafka settings for any client of this backbone."""
    common: dict[str, object] = {
        "bootstrap.servers": backbone.bootstrap,
        "client.id": "trunkline",
        "message.max.bytes": TOPIC_MAX,
        "socket.nagle.disable": True,
        # The default back-off (100 ms, growing) is what a transaction waits that follows close on
        # the one before, and what a client waits for a coordinator that moves.
        "retry.backoff.ms": 2,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 2000,
        "log.connection.close": False,
    }
    return common | more | dict(backbone.kafka)


def consumer(
    backbone: Backbone, group: str, *, assignor: str = "range", eof: bool = False
) -> Consumer:
    """A consumer that sees committed records only and commits nothing by itself.

    ``eof``: whether the end of a partition is told, as an error of code _PARTITION_EOF.
    """
    return Consumer(
        settings(
            backbone,
            **{
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "partition.assignment.strategy": assignor,
                "session.timeout.ms": 10_000,
                "heartbeat.interval.ms": 1_000,
                # Bounds of what is fetched ahead: memory stays flat on a topic of any length.
                "queued.min.messages": 20_000,
                "queued.max.messages.kbytes": 16_384,
                "fetch.queue.backoff.ms": 20,
                "fetch.error.backoff.ms": 50,
                "enable.partition.eof": eof,
            },
        ),
        logger=log,
    )


def producer(backbone: Backbone, *, transactional_id: str = "") -> Producer:
    """An idempotent producer with acks=all; transactional if it has an id.

    The partitioner is Java's (murmur2), so that every client puts a key into one partition.
    """
    more: dict[str, object] = {
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        # A commit flushes at once, so a transaction's linger costs no latency: it only keeps a
        # thousand records of a micro-batch from leaving in hundreds of requests.
        "linger.ms": 20 if transactional_id else 0,
        "batch.size": 500_000,
    }
    if transactional_id:
        more |= {"transactional.id": transactional_id, "transaction.timeout.ms": 10_000}
    return Producer(settings(backbone, **more), logger=log)


def unique_id(flow: str, role: str) -> str:
    """A transactional id of this process alone: fencing is by the consumer group's generation."""
    return f"trunkline.{flow}.{role}.{os.getpid()}.{time.time_ns():x}"


def produce(
    to: Producer, records: Iterable[Out], report: Callable[..., None] | None = None
) -> None:
    """Put records into the producer's queue; waits while the queue is full."""
    send = to.produce
    for topic, key, value, headers in records:
        while True:
            try:
                send(topic, value, key, headers=headers, on_delivery=report)  # type: ignore[arg-type]
                break
            except BufferError:
                to.poll(0.1)


def produce_at(to: Producer, moves: Iterable[Move]) -> None:
    """As ``produce``, each record to the partition that it names."""
    for topic, partition, key, value, headers, timestamp in moves:
        while True:
            try:
                to.produce(
                    topic,
                    value,
                    key,
                    partition,
                    headers=headers,  # type: ignore[arg-type]
                    timestamp=timestamp,
                )
                break
            except BufferError:
                to.poll(0.1)


def transact(
    by: Producer,
    records: Iterable[Out],
    offsets: Sequence[TopicPartition] = (),
    group: object | None = None,
    *,
    moves: Iterable[Move] = (),
) -> None:
    """One transaction: ``records``, ``moves``, and a group's offsets if given. Everything or
    nothing.

    Raises KafkaException after it has aborted; then ``reusable`` says whether the producer can
    go on. The transaction protocol is KIP-98, fencing by group metadata KIP-447.
    """
    by.begin_transaction()
    with aborting(by):
        produce(by, records)
        produce_at(by, moves)
        finish(by, offsets, group)


def finish(by: Producer, offsets: Sequence[TopicPartition], group: object | None) -> None:
    """Commit the transaction that was begun and filled, and a group's offsets with it."""
    if offsets:
        _or_left_behind(lambda: by.send_offsets_to_transaction(list(offsets), group))
    _retried(by.commit_transaction)


@contextmanager
def aborting(by: Producer) -> Iterator[None]:
    """Abort the transaction if what is done with it fails; the error goes on."""
    try:
        yield
    except BaseException as failure:
        if not isinstance(failure, KafkaException) or reusable(failure):
            _retried(by.abort_transaction)
        raise


def reusable(failure: KafkaException) -> bool:
    """Whether the producer that raised this can begin another transaction after an abort.

    One that cannot must be replaced by a new one of the same transactional id.
    """
    error = failure.args[0]
    under_way = error.code() == KafkaError._TIMED_OUT and not error.txn_requires_abort()
    return not (error.fatal() or under_way)


class LastingProducer:
    """A transactional producer, made when it is first needed and anew once it is not reusable.
    For one thread at a time."""

    def __init__(self, make: Callable[[], Producer]) -> None:
        self._make = make
        self._producer: Producer | None = None

    def ready(self) -> Producer:
        """The producer, initialized. Raises KafkaException."""
        if self._producer is None:
            producer = self._make()
            producer.init_transactions(60)
            self._producer = producer
        return self._producer

    def failed(self, failure: KafkaException) -> None:
        """A transaction failed: the next one gets a new producer if this one cannot go on."""
        if not reusable(failure):
            self._producer = None


def _or_left_behind(call: Callable[[], object]) -> None:
    """A call that may never return, in a thread that is left behind then: librdkafka (2.16) loses
    the offsets of a transaction if the broker goes away under them, and keeps to no timeout.

    Raises what the call raises, and a KafkaException of a producer that is not ``reusable``.
    """
    ended: Future[None] = Future()

    def run() -> None:
        try:
            call()
            ended.set_result(None)
        except BaseException as failure:  # noqa: BLE001 - it is raised where it is waited for
            ended.set_exception(failure)

    threading.Thread(target=run, name="transaction-offsets", daemon=True).start()
    try:
        ended.result(OFFSETS_TIMEOUT)
    except TimeoutError:
        error = KafkaError(KafkaError._TIMED_OUT, "Kafka did not answer a transaction's offsets")
        raise KafkaException(error) from None


def _retried(call: Callable[[], object]) -> None:
    """Calls that librdkafka calls retriable are continued by calling them again."""
    while True:
        try:
            call()
            return
        except KafkaException as failure:
            if not failure.args[0].retriable():
                raise
            log.warning("retrying a transaction step", extra={"error": str(failure)})


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that a flow needs. ``compact``: keep the newest record per key, for ever.

    ``like``: another topic, whose number of partitions this one must have; where that one exists
    already, its number counts and not ``partitions``.
    """

    name: str
    partitions: int
    compact: bool = False
    config: dict[str, str] = field(default_factory=dict)
    like: str = ""


def admin(backbone: Backbone) -> AdminClient:
    """An admin client."""
    return AdminClient(settings(backbone), logger=log)  # type: ignore[arg-type]


def existing_topics(client: AdminClient, timeout: float = 10.0) -> dict[str, int]:
    """Every topic's partition count. Raises KafkaUnavailable."""
    try:
        topics = client.list_topics(timeout=timeout).topics
    except KafkaException as failure:
        raise KafkaUnavailable(
            f"Kafka does not answer: {failure.args[0].str()}; "
            "is TRUNKLINE_BOOTSTRAP right, and is it up (trunkline up)?"
        ) from failure
    return {name: len(topic.partitions) for name, topic in topics.items()}


def ensure_topics(
    backbone: Backbone, specs: Iterable[TopicSpec], there: Mapping[str, int] | None = None
) -> list[str]:
    """Create the missing topics; returns their names. ``there``: ``existing_topics``, if known.

    Raises ConfigurationError naming the missing ones where ``backbone.create`` forbids it, and
    those whose partitions are not as many as those of the topic that they are ``like``;
    KafkaUnavailable. Existing topics stay as they are.
    """
    client = admin(backbone)
    there = existing_topics(client) if there is None else there
    wanted = [matched(spec, there) for spec in specs]
    missing = {spec.name: spec for spec in wanted if spec.name not in there}
    if missing and not backbone.create:
        raise ConfigurationError(
            f"topics are missing: {', '.join(sorted(missing))}; "
            "create them, or allow it with create = true"
        )
    if not missing:
        return []
    made = client.create_topics([_new_topic(backbone, spec) for spec in missing.values()])
    for name, future in made.items():
        _created(name, future.exception())
    return sorted(missing)


def matched(spec: TopicSpec, there: Mapping[str, int]) -> TopicSpec:
    """The spec with as many partitions as the topic that it is like, if that one exists."""
    count = there.get(spec.like, spec.partitions)
    if (has := there.get(spec.name, count)) != count and spec.like:
        fewer, most = (spec.like, has) if has > count else (spec.name, count)
        raise ConfigurationError(
            f"topic {spec.name!r} has {has} partitions, but {spec.like!r} has {count}, and they "
            f"must have equally many: while nothing waits in them, stop the flow and run "
            f"kafka-topics.sh --alter --topic {fewer} --partitions {most}"
        )
    return replace(spec, partitions=count)


def _new_topic(backbone: Backbone, spec: TopicSpec) -> NewTopic:
    config = {"max.message.bytes": str(TOPIC_MAX), **spec.config}
    if spec.compact:
        config["cleanup.policy"] = "compact"
    if backbone.replication >= 3:
        config["min.insync.replicas"] = "2"
    return NewTopic(
        spec.name,
        num_partitions=spec.partitions,
        replication_factor=backbone.replication,
        config=config,
    )


def _created(name: str, failure: BaseException | None) -> None:
    if failure is None:
        return
    code = failure.args[0].code() if isinstance(failure, KafkaException) else None
    if code != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was first
        raise ConfigurationError(f"topic {name!r} could not be created: {failure}") from failure
