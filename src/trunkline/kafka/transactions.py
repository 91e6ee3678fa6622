"""Records that are written all or none: transactions, and a producer that survives the broker's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

log = logging.getLogger(__name__)

OFFSETS_TIMEOUT = 15.0
"""Seconds for a transaction's offsets: Kafka gives up a transaction before (KIP-98)."""


class ProducerRecord(NamedTuple):
    """A record to produce, in the partition of its key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class PartitionRecord(NamedTuple):
    """A record for one partition. ``timestamp``: milliseconds since the epoch."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int


def produce(
    to: Producer, records: Iterable[ProducerRecord], report: Callable[..., None] | None = None
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


def produce_at(to: Producer, records: Iterable[PartitionRecord]) -> None:
    """As ``produce``, each record to the partition that it names."""
    for topic, partition, key, value, headers, timestamp in records:
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
    records: Iterable[ProducerRecord],
    offsets: Sequence[TopicPartition] = (),
    group: object | None = None,
    *,
    placed: Iterable[PartitionRecord] = (),
) -> None:
    """One transaction: ``records``, ``placed`` ones, and a group's offsets if given. Everything or
    nothing.

    Raises KafkaException after it has aborted; then ``reusable`` says whether the producer can
    go on. The transaction protocol is KIP-98, fencing by group metadata KIP-447.
    """
    by.begin_transaction()
    with aborting(by):
        produce(by, records)
        produce_at(by, placed)
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
