"""Kafka clients as Trunkline uses them, all on confluent-kafka (librdkafka).

Settings of a user's cluster (``Backbone.kafka``) come last and win. Each client gathers why Kafka
does not let it in (``reasons_of``).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Container
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from trunkline.errors import ConfigurationError
from trunkline.kafka.reasons import ClientLog, Reasons
from trunkline.kafka_settings import CONSUMERS, PRODUCERS
from trunkline.params import Backbone

log = logging.getLogger(__name__)

MAX_VALUE = 10_000_000
"""The largest value in bytes that travels; topics take more, so that headers always fit."""
TOPIC_MAX = MAX_VALUE + 1_000_000


TRANSACTION_TIMEOUT = 10.0
"""Seconds after which Kafka aborts a transaction, counted from its first record. What a worker that
was killed left open holds back readers for so long, so it is short."""


class _Consumer(Consumer):
    reasons: Reasons


class _Producer(Producer):
    reasons: Reasons


class _Admin(AdminClient):
    reasons: Reasons


def reasons_of(client: object) -> Reasons | None:
    """What a client that was made here has heard; None of any other."""
    found = getattr(client, "reasons", None)
    return found if isinstance(found, Reasons) else None


def settings(
    backbone: Backbone, without: Container[str] = (), /, **more: object
) -> dict[str, object]:
    """librdkafka settings for any client of this backbone. ``without``: those of the user's that
    this kind of client would warn of."""
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
    given = {name: text for name, text in backbone.kafka.items() if name not in without}
    return common | more | given


def _made(
    kind: Any, backbone: Backbone, given: dict[str, object], to: logging.Logger | None = log
) -> Any:
    """A client with its reasons. ``to``: where its log goes. Raises ConfigurationError for a value
    that librdkafka does not take, as of a certificate's file that is not there."""
    reasons = Reasons(backbone)
    try:
        client = kind({**given, "error_cb": reasons.on_error}, logger=ClientLog(reasons, to))
    except (KafkaException, TypeError, ValueError) as failure:
        error = failure.args[0]
        text = error.str() if isinstance(failure, KafkaException) else str(error)
        gone = [name for name, path in backbone.kafka.items() if _is_no_file(name, path)]
        text += f" (there is no file {', '.join(gone)})" if gone else ""
        raise ConfigurationError(
            f"a setting of Kafka's clients is wrong: {reasons.without_secrets(text)}; see "
            "[trunkline.kafka] of the environment's file, and TRUNKLINE_KAFKA__… variables"
        ) from None
    client.reasons = reasons
    return client


def _is_no_file(name: str, path: str) -> bool:
    # Not Path.exists, which raises for a path that is too long, and its error shows it.
    return name.endswith((".location", ".keytab")) and path != "probe" and not os.path.exists(path)


def consumer(
    backbone: Backbone, group: str, *, assignor: str = "range", eof: bool = False
) -> Consumer:
    """A consumer that sees committed records only and commits nothing by itself.

    ``eof``: whether the end of a partition is told, as an error of code _PARTITION_EOF.
    """
    made: Consumer = _made(
        _Consumer,
        backbone,
        settings(
            backbone,
            PRODUCERS,
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
    )
    return made


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
    made: Producer = _made(_Producer, backbone, settings(backbone, CONSUMERS, **more))
    return made


def transaction_timeout(backbone: Backbone) -> float:
    """Seconds after which Kafka aborts a transaction of this backbone's producers."""
    given = backbone.kafka.get("transaction.timeout.ms")
    return float(given) / 1000 if given else TRANSACTION_TIMEOUT


def unique_id(flow: str, role: str) -> str:
    """A transactional id of this process alone: fencing is by the consumer group's generation."""
    return f"trunkline.{flow}.{role}.{os.getpid()}.{time.time_ns():x}"


def admin(backbone: Backbone) -> AdminClient:
    """An admin client."""
    # That a broker hangs up is all that a client of the wrong protocol hears.
    more = {"log.connection.close": True}
    made: AdminClient = _made(
        _Admin, backbone, settings(backbone, CONSUMERS | PRODUCERS, **more), to=None
    )
    return made
