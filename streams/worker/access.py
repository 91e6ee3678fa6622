"""Whether a worker may do at Kafka what its steps need, looked at again and again: rights and
passwords are changed while it runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from typing import Any

from trunkline import kafka
from trunkline.kafka.rights import (
    GROUP,
    TRANSACTIONAL_ID,
    Right,
    may_write_transactions,
    missing_rights,
)
from trunkline.kafka.topics import require_answer
from trunkline.params import Backbone
from trunkline.streams.flow.definition import Flow
from trunkline.streams.plan.acls import rights
from trunkline.streams.publish.publishers import publishers_topic

log = logging.getLogger(__name__)

EVERY, EVERY_REFUSED, EVERY_UNSEEN = 30.0, 5.0, 0.5
"""Seconds between two looks; while something is missing; and until Kafka has answered once."""
OPTIONAL = ("Delete", "Create", "DescribeConfigs")
"""Operations without which a worker does what it must: topics grow, or are there already."""


class AccessMonitor:
    """Tells what a worker may not do. ``reason``: a sentence, "" if nothing is missing; ``seen``:
    whether it was looked at yet. ``failure``: a defect that ended it, or None.

    A cluster that is away is no reason: nothing about it is this worker's to mend.
    """

    def __init__(self, flow: Flow[Any], roles: Collection[str], backbone: Backbone) -> None:
        self._backbone = backbone
        self._rights = [_required(right) for right in rights(flow, roles) if not _spared(right)]
        self._unproven = [r for r in self._rights if r.resource == TRANSACTIONAL_ID and r.prefixed]
        self._stopped = threading.Event()
        self.reason = ""
        self.seen = False
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to look, in a thread that a stop does not wait for: Kafka may be away."""
        threading.Thread(target=self._run, name="access", daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()

    def look(self) -> None:
        """Ask Kafka once. Blocks, for up to a minute where it is away."""
        try:
            reason = self._missing()
        except (kafka.KafkaRefused, kafka.KafkaForbidden) as refused:
            reason = str(refused)
        except kafka.KafkaUnavailable as away:
            log.info("what this worker may do cannot be asked for now: %s", away)
            return
        if reason and reason != self.reason:
            log.error("%s", reason)
        elif self.reason and not reason:
            log.info("nothing is missing any more that this worker needs at Kafka")
        self.reason, self.seen = reason, True

    def _missing(self) -> str:
        client = kafka.admin(self._backbone)
        require_answer(client)
        missing = missing_rights(client, self._rights)
        # An id is proven once: each proof leaves one in Kafka's list of them for a week.
        unproven, proof = self._unproven, f"rights.{os.getpid()}.{time.time_ns():x}"
        self._unproven = [
            right
            for right in unproven
            if not may_write_transactions(self._backbone, right.name + proof)
        ]
        if not (missing := [*missing, *self._unproven]):
            return ""
        return (
            f"this account lacks rights on Kafka: {'; '.join(map(str, missing))}. Grant them: "
            "trunkline acls FLOW prints the commands"
        )

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self.look()
                refused = EVERY_REFUSED if self.reason else EVERY
                self._stopped.wait(refused if self.seen else EVERY_UNSEEN)
        except Exception as failure:  # noqa: BLE001 - it ends the worker, which raises it
            self.failure = failure


def _spared(right: Right) -> bool:
    """Whether nothing stops without it: the topic of publishers only warns, and a reader beside any
    group names one that it never joins."""
    beside = right.resource == GROUP and right.operations == ("Describe",)
    return beside or right.name == publishers_topic().name


def _required(right: Right) -> Right:
    kept = tuple(name for name in right.operations if name not in OPTIONAL)
    return Right(right.resource, right.name, kept, right.prefixed)
