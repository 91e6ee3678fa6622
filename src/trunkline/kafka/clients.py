"""Kafka clients as Trunkline uses them, all on confluent-kafka (librdkafka).

Settings of a user's cluster (``Backbone.kafka``) come last and win.
"""

from __future__ import annotations

import logging
import os
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from trunkline.errors import TrunklineError
from trunkline.params import Backbone

log = logging.getLogger(__name__)

MAX_VALUE = 10_000_000
"""The largest value in bytes that travels; topics take more, so that headers always fit."""
TOPIC_MAX = MAX_VALUE + 1_000_000


TRANSACTION_TIMEOUT = 10.0
"""Seconds after which Kafka aborts a transaction, counted from its first record. What a worker that
was killed left open holds back readers for so long, so it is short."""


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


def low_latency(backbone: Backbone) -> Backbone:
    """For a consumer that reads to the end: Kafka tells of an end without waiting for more, which
    is 500 ms else."""
    return backbone.model_copy(update={"kafka": {"fetch.wait.max.ms": "10", **backbone.kafka}})


def producer(
    backbone: Backbone, *, transactional_id: str = "", timeout: float | None = None
) -> Producer:
    """An idempotent producer with acks=all; transactional if it has an id.

    ``timeout``: seconds after which a record that Kafka has not acknowledged is given up; without
    it a transactional producer waits as long as its transaction, another one for five minutes.

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
        more |= {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": round(TRANSACTION_TIMEOUT * 1000),
        }
    else:
        # Five requests on their way lose records of a partition that was just created. The first
        # is refused, since its leader does not know it yet, and the second is taken: a broker that
        # knows nothing of a producer accepts any sequence number. The first, sent again, then
        # counts as a duplicate, and the client is told that it is written. Transactions are safe:
        # brokers verify where their sequences begin (KIP-890).
        more["max.in.flight.requests.per.connection"] = 1
    if timeout is not None:
        more["message.timeout.ms"] = round(timeout * 1000)
    return Producer(settings(backbone, **more), logger=log)


def transaction_timeout(backbone: Backbone) -> float:
    """Seconds after which Kafka aborts a transaction of this backbone's producers."""
    given = backbone.kafka.get("transaction.timeout.ms")
    return float(given) / 1000 if given else TRANSACTION_TIMEOUT


def unique_id(flow: str, role: str) -> str:
    """A transactional id of this process alone: fencing is by the consumer group's generation."""
    return f"trunkline.{flow}.{role}.{os.getpid()}.{time.time_ns():x}"


def admin(backbone: Backbone) -> AdminClient:
    """An admin client."""
    return AdminClient(settings(backbone), logger=log)  # type: ignore[arg-type]
