"""Limits over all workers: a worker's part in dividing them, on Kafka.

One topic, ``trunkline.limits``, is all that workers have in common: there they ask, and there one
of them, the coordinator, answers. ``trunkline.streams.quota.leases`` says why that is safe,
``docs/limits.md`` what it means for whoever runs it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import orjson
from confluent_kafka import Message, Producer

from trunkline import kafka, naming
from trunkline.kafka.tail import Tail
from trunkline.params import Backbone
from trunkline.streams.admission.gate import NEVER
from trunkline.streams.flow.definition import Destination
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.leases import LEASE
from trunkline.streams.quota.limiter import QuotaGate
from trunkline.streams.quota.member import QuotaMember
from trunkline.streams.quota.records import QuotaRecord, record_of
from trunkline.tasks import inheriting

log = logging.getLogger(__name__)

TOPIC = "trunkline.limits"

GRACE = 30.0
"""Seconds that a call is believed to last at most, where the destination has no ``timeout=``."""

POLL_TIMEOUT = 0.5
"""Seconds that one read waits: how late a stop is noticed."""

TOLD_OF_REFUSED = 100
"""Records that are none, of which one is logged."""

MAX_UNSENT = 20
"""Records that Kafka has not taken yet, from which on nothing more is sent."""


def topic() -> kafka.TopicSpec:
    """The topic of all limits of a backbone. What is older than a lease is of no use."""
    return kafka.TopicSpec(TOPIC, 1, config={"retention.ms": "600000", "segment.ms": "600000"})


def limited(destinations: Iterable[Destination[Any, Any]]) -> bool:
    """Whether one of them has a limit over all workers, so that the topic is needed."""
    return any(limits_of("", destination) for destination in destinations)


class QuotaClient:
    """The limits of one worker's destinations. For the event loop only; one thread of its own
    reads the topic. ``failure``: what reading cannot go on from, or None.

    While Kafka is away nothing is granted, and when the leases are over nothing is sent.
    ``compares``: log where others know another whole of a limit.
    """

    def __init__(self, backbone: Backbone, *, topic: str = TOPIC, compares: bool = True) -> None:
        self._backbone = backbone
        self._topic = topic
        self._member = QuotaMember(uuid.uuid4().hex, compares=compares)
        self._member.wake = self._schedule
        self._producer: Producer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._refused = 0
        self._reader = threading.Thread(
            target=inheriting(self._run), name="limits-read", daemon=True
        )
        self.failure: BaseException | None = None

    @property
    def coordinates(self) -> bool:
        """Whether this worker divides the limits now."""
        return self._member.coordinates

    def limit(self, key: str, whole: Share, *, who: str, timeout: float | None = None) -> QuotaGate:
        """A gate for one destination under the limit ``key``, which others may share.

        ``who``: the destination, for messages; ``timeout``: seconds that one call may last.
        """
        return self._member.register(key, whole, who=who, grace=timeout or GRACE)

    @property
    def member(self) -> str:
        """The name of this process in the log."""
        return self._member.member

    def release(self, gate: QuotaGate) -> bool:
        """Forget a gate that nobody uses; False: it has a share, or had one a moment ago."""
        return self._member.unregister(gate)

    def set_whole(self, gate: QuotaGate, whole: Share) -> None:
        """A limit is another one from now on. A lower one holds as soon as all who share it have
        heard of it, a higher one once all of them say so."""
        gate.whole = whole
        self._member.changed(gate)

    def sharers(self, key: str) -> list[str]:
        """The processes that use or want some of a limit, sorted, as far as the log was read."""
        return self._member.sharers(self._loop.time(), key)

    def gates(self, flow: str, destination: Destination[Any, Any]) -> list[QuotaGate]:
        """The gates of a destination: one for its own limits, one for its system's, as far as it
        has any."""
        who, timeout = naming.qualified(flow, destination.name), destination.policy.limits.timeout
        return [
            self.limit(key, whole, who=who, timeout=timeout)
            for key, whole in limits_of(flow, destination)
        ]

    async def start(self) -> None:
        """Begin to read; shares come as soon as somebody needs them."""
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(_producing(self._backbone), logger=log)
        self._reader.start()

    async def stop(self) -> None:
        """Use nothing from now on, and say so, that others have it at once."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        if self._producer is not None:
            for record in self._member.leave(self._loop.time()):
                self._append(self._producer, record)
            await asyncio.to_thread(self._producer.flush, LEASE)
        if self._reader.ident is not None:  # it may be stopped before it was started
            await asyncio.to_thread(self._reader.join)

    # The reader's thread.

    def _run(self) -> None:
        try:
            with closing(Tail(self._backbone, self._topic)) as tail:
                while not self._stopping:
                    read = tail.read(POLL_TIMEOUT)
                    records = [
                        (m.offset() or 0, record) for m in read for record in self._parsed(m)
                    ]
                    if records or tail.complete != self._member.complete:
                        self._enqueue(records, tail.complete)
        except Exception as failure:
            log.exception("the limits cannot be followed", extra={"topic": self._topic})
            self.failure = failure

    def _parsed(self, message: Message) -> list[QuotaRecord]:
        """The record, if it is one. Of others the first is told, then one in a hundred: whoever
        writes such may write a thousand a second."""
        try:
            return [record_of(message.value() or b"")]
        except ValueError as error:
            if self._refused % TOLD_OF_REFUSED == 0:
                at = f"{message.topic()} at {message.offset()}"
                log.warning("a record of %s is ignored, it is no quota's: %s", at, error)
            self._refused += 1
            return []

    def _enqueue(self, records: list[tuple[int, QuotaRecord]], complete: bool) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._received, records, complete)

    # The event loop.

    def _received(self, records: list[tuple[int, QuotaRecord]], complete: bool) -> None:
        now = self._loop.time()
        for offset, record in records:
            self._member.read(now, offset, record)
        self._member.complete = complete
        self._send()

    def _schedule(self) -> None:
        """Send when there is something to say."""
        if self._producer is None or self._stopping:
            return
        if self._timer is not None:
            self._timer.cancel()
        at = self._member.next_at(self._loop.time())
        self._timer = self._loop.call_at(at, self._send) if at < NEVER else None

    def _send(self) -> None:
        if self._producer is None or self._stopping:
            return
        self._producer.poll(0)
        if len(self._producer) > MAX_UNSENT:
            self._timer = self._loop.call_later(POLL_TIMEOUT, self._send)
            return
        for record in self._member.due(self._loop.time()):
            self._append(self._producer, record)
        self._schedule()

    def _append(self, producer: Producer, record: QuotaRecord) -> None:
        producer.produce(self._topic, orjson.dumps(record.to_json()))


def limits_of(flow: str, destination: Destination[Any, Any]) -> list[tuple[str, Share]]:
    """The keys of a destination's limits, and what each allows."""
    limits, system = destination.policy.limits, destination.policy.system
    found = []
    if limits.rate is not None or limits.concurrent is not None:
        own = Share(limits.rate, limits.concurrent)
        found.append((f"destination/{flow}.{destination.name}", own))
    if system is not None:
        found.append((f"system/{system.name}", Share(system.per_second, system.concurrent)))
    return found


def _producing(backbone: Backbone) -> dict[str, object]:
    """What is late is of no use: it is dropped and said anew. Order and doubles do not matter."""
    return kafka.settings(
        backbone,
        **{"acks": "all", "linger.ms": 0, "message.timeout.ms": int(LEASE * 1000)},
    )
