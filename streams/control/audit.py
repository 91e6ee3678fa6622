"""The audit topic of a flow: who did what by hand, when and why. Kept for ever.

One partition of JSON records. A command and its audit record are written in one transaction, so
neither is there without the other.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from confluent_kafka import KafkaException

from trunkline import kafka
from trunkline.kafka.tail import read_all
from trunkline.params import Backbone
from trunkline.streams.control import topic as control
from trunkline.streams.dlq.envelope import timestamp

log = logging.getLogger(__name__)


def who() -> str:
    """The person at this machine, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One deed. ``what``: pause, resume, replay, redrive, discard, …; ``on``: the destination.

    ``count``: how many events it concerned, or None. ``id``: of the deed, as a replay's; several
    records can tell of one. ``at``: ISO 8601, UTC. ``more``: what else belongs to it, as JSON.
    """

    what: str
    on: str
    why: str = ""
    who: str = field(default_factory=who)
    at: str = field(default_factory=lambda: timestamp(time.time()))
    count: int | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    more: dict[str, Any] = field(default_factory=dict)


def topic_of(flow: str) -> kafka.TopicSpec:
    """The audit topic of the flow of this name."""
    return kafka.TopicSpec(f"{flow}.audit", 1, config={"retention.ms": "-1"})


def record(flow: str, audit: Audit) -> kafka.Out:
    """The audit record, for writers that have a transaction of their own."""
    return f"{flow}.audit", audit.on.encode(), orjson.dumps(asdict(audit)), []


def put_audited(
    backbone: Backbone, flow: str, changes: Mapping[str, Mapping[str, Any] | None], audit: Audit
) -> None:
    """Write control records and the audit record of it: all of them or none. Blocks.

    Creates the two topics if need be. Raises ConfigurationError if they are missing and may not
    be created, and KafkaUnavailable.
    """
    topic = control.topic_of(flow)
    kafka.ensure_topics(backbone, [topic, topic_of(flow)])
    writes = [control.record(topic.name, key, value) for key, value in changes.items()]
    producer = kafka.producer(backbone, transactional_id=kafka.unique_id(flow, "command"))
    try:
        producer.init_transactions(30)
        kafka.transact(producer, [*writes, record(flow, audit)])
    except KafkaException as failure:
        raise kafka.KafkaUnavailable(
            f"{audit.what} {audit.on}: Kafka did not take it: {failure.args[0].str()}; try again"
        ) from failure


def read_audit(backbone: Backbone, flow: str) -> list[Audit]:
    """The flow's audit, oldest first. What is no audit record is logged and skipped.

    Blocks. Raises KafkaUnavailable.
    """
    found: list[Audit] = []
    for message in read_all(backbone, topic_of(flow).name):
        try:
            found.append(Audit(**orjson.loads(message.value() or b"")))
        except (TypeError, ValueError) as error:
            log.error("the audit record at offset %s is skipped: %s", message.offset(), error)
    return found
