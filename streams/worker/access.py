"""Whether a worker may do at Kafka what its steps need, looked at again and again: rights and
passwords are changed while it runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from contextvars import copy_context
from typing import Any

from confluent_kafka.admin import AdminClient

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
from trunkline.tasks import FLOW, inheriting

log = logging.getLogger(__name__)

EVERY, EVERY_REFUSED, EVERY_UNSEEN = 30.0, 5.0, 0.5
"""Seconds between two looks; while something is missing; and until Kafka has answered once."""
OPTIONAL = ("Delete", "Create", "DescribeConfigs")
"""Operations without which a worker does what it must: topics grow, or are there already."""


class AccessMonitor:
    """Tells what a worker may not do. ``reason``: a sentence, "" if nothing is missing; ``seen``:
    whether it was looked at yet. ``failure``: a defect that ended it, or None.

    A cluster that is away is no reason: nothing about it is this worker's to mend. ``rounds``: who
    looks for it, together with others; without one it has a thread of its own.
    """

    def __init__(
        self,
        flow: Flow[Any],
        roles: Collection[str],
        backbone: Backbone,
        rounds: AccessRounds | None = None,
    ) -> None:
        self._rounds = rounds
        self._name = flow.name
        self._backbone = backbone
        self._rights = [_required(right) for right in rights(flow, roles) if not _spared(right)]
        self._unproven = [r for r in self._rights if r.resource == TRANSACTIONAL_ID and r.prefixed]
        self._stopped = threading.Event()
        self.reason = ""
        self.seen = False
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to look, in a thread that a stop does not wait for: Kafka may be away."""
        threading.Thread(target=inheriting(self._run), name="access", daemon=True).start()

    def stop(self) -> None:
        """End. It is looked at no more, but for a look that is under way."""
        self._stopped.set()
        if self._rounds is not None:
            self._rounds.remove(self)

    @property
    def stopped(self) -> bool:
        """Whether nobody needs to know any more."""
        return self._stopped.is_set()

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        refused = EVERY_REFUSED if self.reason else EVERY
        return refused if self.seen else EVERY_UNSEEN

    def look(self, client: AdminClient | None = None) -> None:
        """Ask Kafka once, with this client if one is given. Blocks, for up to a minute where it is
        away."""
        try:
            reason = self.missing(client)
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

    def look_again(self, client: AdminClient) -> None:
        """As ``look``, from a thread that works for several flows."""
        copy_context().run(self._look_as_flow, client)

    def _look_as_flow(self, client: AdminClient) -> None:
        FLOW.set(self._name)
        self.look(client)

    def missing(self, client: AdminClient | None = None) -> str:
        """What this account may not do at Kafka, in a sentence; "" if nothing is missing. Asks with
        this client if one is given. Blocks; leaves, once, the proof of each kind of transactional
        id there. Raises KafkaUnavailable."""
        client = client or kafka.admin(self._backbone)
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
                if self.seen and self._rounds is not None:
                    self._rounds.add(self)
                    return
                self._stopped.wait(self.pause)
        except Exception as failure:  # noqa: BLE001 - it ends the worker, which raises it
            self.failure = failure


class AccessRounds:
    """Looks again for many monitors of one account, in one thread, with one client a round: one for
    each look and flow would log in at Kafka a hundred times a minute. From any thread.

    The first look is each monitor's own: it proves transactional ids, which takes a second, and
    fifty of them would be a minute here.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._lock = threading.Lock()
        self._due: dict[AccessMonitor, float] = {}
        self._new = threading.Event()
        self._running = False

    def add(self, monitor: AccessMonitor) -> None:
        """Look for it again when its pause is over, and so on."""
        with self._lock:
            if monitor.stopped:
                return
            self._due[monitor] = time.monotonic() + monitor.pause
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="access", daemon=True).start()
        self._new.set()

    def remove(self, monitor: AccessMonitor) -> None:
        """Look for it no more."""
        with self._lock:
            self._due.pop(monitor, None)
        self._new.set()

    def _run(self) -> None:
        while True:
            self._new.clear()
            with self._lock:
                self._running = bool(self._due)
                now, due = time.monotonic(), dict(self._due)
            if not due:
                return
            # With those that are due soon: else each flow would have a round of its own.
            near = [monitor for monitor, at in due.items() if at <= now + EVERY_REFUSED]
            if near and min(due.values()) <= now:
                self._look(near)
            else:
                self._new.wait(min(due.values()) - now)

    def _look(self, monitors: list[AccessMonitor]) -> None:
        client: AdminClient | None = None
        for monitor in monitors:
            try:
                # Within the try: else one that cannot be made would end this thread without a word.
                client = client or kafka.admin(self._backbone)
                monitor.look_again(client)
            except Exception as failure:  # noqa: BLE001 - it ends the worker, which raises it
                monitor.failure = failure
            with self._lock:
                if monitor in self._due:
                    self._due[monitor] = time.monotonic() + monitor.pause


def _spared(right: Right) -> bool:
    """Whether nothing stops without it: the topic of publishers only warns, and a reader beside any
    group names one that it never joins."""
    beside = right.resource == GROUP and right.operations == ("Describe",)
    return beside or right.name == publishers_topic().name


def _required(right: Right) -> Right:
    kept = tuple(name for name in right.operations if name not in OPTIONAL)
    return Right(right.resource, right.name, kept, right.prefixed)
