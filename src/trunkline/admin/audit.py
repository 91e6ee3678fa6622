"""What operators did: every deed is written together with its audit record, and can be read.

All functions of this room that change something write through ``put_audited``, or, where they
decide by what is there, an ``AuditedWriter``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


class AuditedWriter:
    """One command's transaction. Whoever decides by what is there makes it before reading: of
    several commands of one ``role`` the newest fences those before it, and so either sees what they
    have written, or they write nothing. By default no command knows of another.

    ``fences``: the transactional id of a step that must not write any more what it has under way.
    ``what``: the command, for errors. Creates the flow's control and audit topics if need be.
    Blocks. Raises ConfigurationError if they are missing and may not be created, and
    KafkaUnavailable.
    """

    def __init__(
        self,
        backbone: Backbone,
        flow: str,
        what: str,
        *,
        role: str | None = None,
        fences: str | None = None,
    ) -> None:
        self._flow = flow
        self._what = what
        self._topic = control_topic(flow)
        kafka.ensure_topics(backbone, [self._topic, audit_topic(flow)])
        own = f"trunkline.{flow}.command.{role}" if role else kafka.unique_id(flow, "command")
        self._producer = kafka.producer(backbone, transactional_id=fences or own)
        with self._errors():
            self._producer.init_transactions(TRANSACTION_SECONDS)

    def put(
        self,
        changes: Mapping[str, Mapping[str, Any] | None],
        audit: AuditRecord,
        *,
        events: Sequence[kafka.ProducerRecord] = (),
    ) -> None:
        """Write control records (None removes one), the audit record of it, and ``events``: all of
        them or none. Blocks until Kafka has committed it. Raises KafkaUnavailable, also if a newer
        command has fenced this one."""
        writes = [control_record(self._topic.name, key, value) for key, value in changes.items()]
        with self._errors():
            kafka.transact(self._producer, [*events, *writes, audit_record(self._flow, audit)])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as failure:
            what = f"{self._what}: Kafka did not take it"
            raise kafka.unavailable(what, failure) from failure


def put_audited(
    backbone: Backbone,
    flow: str,
    changes: Mapping[str, Mapping[str, Any] | None],
    audit: AuditRecord,
    *,
    events: Sequence[kafka.ProducerRecord] = (),
    fences: str | None = None,
) -> None:
    """Write control records (None removes one) and the audit record of it in one transaction, as
    ``AuditedWriter`` does, which has the errors and ``fences``; ``events``: more records of it.
    Blocks until Kafka has committed it."""
    writer = AuditedWriter(backbone, flow, f"{audit.what} {audit.on}", fences=fences)
    writer.put(changes, audit, events=events)


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
