"""The audit topic of a flow: which operator did what, when and why. Kept for ever.

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
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from trunkline import kafka, naming
from trunkline.times import iso

log = logging.getLogger(__name__)


def who() -> str:
    """The person at this machine, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Something that a person did to a destination.

    ``what``: pause, resume, replay, redrive, discard, …; ``on``: the destination. ``count``: how
    many events it concerned, or None. ``id``: that of a replay or re-drive, whose request and
    completion are two records. ``at``: ISO 8601, UTC. ``more``: what else belongs to it, as JSON.
    """

    what: str
    on: str
    why: str = ""
    who: str = field(default_factory=who)
    at: str = field(default_factory=lambda: iso(time.time()))
    count: int | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    more: dict[str, Any] = field(default_factory=dict)


def audit_topic(flow: str) -> kafka.TopicSpec:
    """The audit topic of the flow of this name; Kafka deletes nothing of it."""
    return kafka.TopicSpec(naming.audit(flow), 1, config={"retention.ms": "-1"})


def audit_record(flow: str, audit: AuditRecord) -> kafka.ProducerRecord:
    """The audit record, for writers that have a transaction of their own."""
    value = orjson.dumps(asdict(audit))
    return kafka.ProducerRecord(naming.audit(flow), audit.on.encode(), value, [])
