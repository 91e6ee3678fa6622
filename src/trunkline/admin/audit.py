"""What operators did: every deed is written together with its audit record, and can be read.

All functions of this room that change something write through ``put_audited``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import KafkaException

from trunkline import kafka
from trunkline.kafka.reading import read_all
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord, audit_record, audit_topic, log
from trunkline.streams.control.topic import control_record, control_topic

TRANSACTION_SECONDS = 30
"""How long a command waits for Kafka to begin its transaction."""


def put_audited(
    backbone: Backbone,
    flow: str,
    changes: Mapping[str, Mapping[str, Any] | None],
    audit: AuditRecord,
    *,
    events: Sequence[kafka.ProducerRecord] = (),
    role: str | None = None,
    fences: str | None = None,
) -> None:
    """Write control records (None removes one) and the audit record of it in one transaction: all
    of them or none. Blocks until Kafka has committed it.

    ``events``: more records of the transaction. ``role``: of several commands of one role only one
    writes, as the newest fences the others; by default none knows of another. ``fences``: the
    transactional id of a step that must not write any more what it has under way.

    Creates the flow's control and audit topics if need be. Raises ConfigurationError if they are
    missing and may not be created, and KafkaUnavailable.
    """
    topic = control_topic(flow)
    kafka.ensure_topics(backbone, [topic, audit_topic(flow)])
    writes = [control_record(topic.name, key, value) for key, value in changes.items()]
    own = f"trunkline.{flow}.command.{role}" if role else kafka.unique_id(flow, "command")
    producer = kafka.producer(backbone, transactional_id=fences or own)
    try:
        producer.init_transactions(TRANSACTION_SECONDS)
        kafka.transact(producer, [*events, *writes, audit_record(flow, audit)])
    except KafkaException as failure:
        what = f"{audit.what} {audit.on}: Kafka did not take it"
        raise kafka.unavailable(what, failure) from failure


def read_audit(backbone: Backbone, flow: str) -> list[AuditRecord]:
    """What people did to the flow's destinations, oldest first; [] for a flow that nobody touched
    or that is not there. Blocks; writes nothing. Raises KafkaUnavailable.

    A record that is none of ours is logged and skipped: whoever may write to the topic must not
    be able to hide what others did.
    """
    found: list[AuditRecord] = []
    for message in read_all(backbone, audit_topic(flow).name):
        try:
            found.append(AuditRecord(**orjson.loads(message.value() or b"")))
        except (TypeError, ValueError) as error:
            log.error("the audit record at offset %s is skipped: %s", message.offset(), error)
    return found
