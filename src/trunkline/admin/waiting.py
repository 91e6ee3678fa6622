"""Events that wait in a destination's retry topics: listed, attempted now, discarded.

What waits is read from Kafka; what is decided are control records of the flow, which the workers
that deliver obey at once, in the order of each key. They stand for ten minutes, so that they also
hold where no worker runs just now, or one is killed.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from trunkline import kafka, naming
from trunkline.admin.audit import put_audited
from trunkline.admin.targets import Target, require_destination
from trunkline.errors import ConfigurationError
from trunkline.event import Event
from trunkline.headers import TL_ERROR, TL_ERROR_CLASS, TL_HALTED
from trunkline.kafka.messages import event_of
from trunkline.kafka.offsets import committed_offsets
from trunkline.kafka.reading import records_to_end
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.records import RetryKey
from trunkline.streams.deliver.recovery import offsets_from_commits
from trunkline.streams.retry.decisions import MAX_EVENTS, RetryAction, RetryDecision
from trunkline.streams.retry.tiers import due_of, failures_of
from trunkline.times import iso

TIMEOUT = 30.0
"""Seconds that Kafka has to tell how far the workers are."""

MAX_DECIDED = 100_000
"""Events that one command decides about at the most: workers hold the decision in memory."""


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event in a retry topic.

    ``attempts``: how many failed; 0 of one that waits behind another of its key. ``due``: when it
    is attempted again, if all before it are through. ``partition``, ``sequence``: where it was in
    the inbox. ``halted``: it is dead, and its key waits for what is decided about its dead letter.
    ``topic``, ``offset``: its record.
    """

    key: str
    id: str
    type: str
    attempts: int
    due: datetime
    error: str
    message: str
    halted: bool
    partition: int
    sequence: int
    topic: str
    offset: int

    @property
    def tier(self) -> str:
        """The delay of its retry topic, as ``10m``."""
        return naming.delay_of(self.topic)


def list_waiting(
    backbone: Backbone, target: Target, *, key: str | None = None, id: str | None = None
) -> list[WaitingEvent]:
    """What waits in the destination's retry topics, by partition in the order of the inbox; only of
    this key, or with this event id.

    What waits in a worker's memory, right behind one that is attempted, is still in the inbox and
    no part of it. Blocks; writes nothing. Raises ConfigurationError for a destination that is not
    there, and KafkaUnavailable.
    """
    require_destination(backbone, target)
    try:
        events = [_waiting(event) for event in _read(backbone, target)]
    except KafkaException as failure:
        what = f"{target}: its retry topics cannot be read"
        raise kafka.unavailable(what, failure) from failure
    found = [
        one for one in events if (key is None or one.key == key) and (id is None or one.id == id)
    ]
    return sorted(found, key=lambda one: (one.partition, one.sequence))


def retry_waiting(
    backbone: Backbone,
    target: Target,
    *,
    key: str | None = None,
    id: str | None = None,
    why: str = "",
    by: str = "",
) -> Sequence[WaitingEvent]:
    """Have events attempted now, and not when they are due: all that waits, or that of a key.

    With ``id`` all that waits of that event's key: those before it go first, and those behind it
    follow. No attempt is given or taken. Events of a key that is halted are left out. Returns what
    it is about; none if nothing of that waits. ``by``: who asks; the user of this process by
    default. Blocks. Writes control records and an audit record in one transaction. Raises
    ConfigurationError for a destination that is not there and for more than 100,000 events, and
    KafkaUnavailable.
    """
    events = list_waiting(backbone, target, key=key)
    halted = {(one.partition, one.key) for one in events if one.halted}
    keys = {(one.partition, one.key) for one in events if id is None or one.id == id} - halted
    meant = [one for one in events if (one.partition, one.key) in keys]
    return _decide(backbone, target, "now", meant, why, by)


def discard_waiting(
    backbone: Backbone,
    target: Target,
    *,
    key: str | None = None,
    id: str | None = None,
    why: str = "",
    by: str = "",
) -> Sequence[WaitingEvent]:
    """Have events that wait removed without sending them: all, those of a key, or the one of an id.

    They are gone for good, and no dead letter tells of them; the audit does. What waited behind one
    is attempted now. A halted event is left out: its dead letter is to be discarded. Returns,
    blocks, writes and raises as ``retry_waiting`` does.
    """
    every = list_waiting(backbone, target, key=key)
    meant = [one for one in every if (id is None or one.id == id) and not one.halted]
    return _decide(backbone, target, "discard", meant, why, by, freed(meant, every))


def freed(discarded: Sequence[WaitingEvent], every: Sequence[WaitingEvent]) -> list[WaitingEvent]:
    """Those that wait behind what is discarded, and that nothing else holds up then.

    Why they must be told: an event behind one that is due in an hour is due in an hour itself.
    """
    gone = {(one.partition, one.sequence) for one in discarded}
    first_left: dict[tuple[int, str], WaitingEvent] = {}
    for one in every:
        if (one.partition, one.sequence) not in gone:
            first_left.setdefault((one.partition, one.key), one)
    behind = {place for place, one in first_left.items() if not one.attempts and not one.halted}
    return [
        one
        for one in every
        if (one.partition, one.key) in behind and (one.partition, one.sequence) not in gone
    ]


def _decide(
    backbone: Backbone,
    target: Target,
    action: RetryAction,
    events: Sequence[WaitingEvent],
    why: str,
    by: str,
    freed: Sequence[WaitingEvent] = (),
) -> Sequence[WaitingEvent]:
    if len(events) > MAX_DECIDED:
        raise ConfigurationError(
            f"{target}: {len(events)} events wait, and one command decides about {MAX_DECIDED:,} "
            "at the most: give a key"
        )
    if not events:
        return events
    audit = AuditRecord(
        what="retry" if action == "now" else "retry-discard",
        on=target.destination,
        why=why,
        who=by or who(),
        count=len(events),
        more={"ids": [one.id for one in events[:100]]},
    )
    changes = dict(decision_records(target.destination, action, events, audit))
    changes |= decision_records(target.destination, "now", freed, audit)
    put_audited(backbone, target.flow, changes, audit)
    return events


def decision_records(
    destination: str, action: RetryAction, events: Iterable[WaitingEvent], audit: AuditRecord
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The control records of a decision, by their keys: of each partition as many as it takes."""
    by_partition: dict[int, list[WaitingEvent]] = defaultdict(list)
    for event in events:
        by_partition[event.partition].append(event)
    at, asked = iso(time.time()), uuid.uuid4().hex[:12]
    for partition, found in by_partition.items():
        for number, start in enumerate(range(0, len(found), MAX_EVENTS)):
            part = found[start : start + MAX_EVENTS]
            ends: dict[str, int] = {}
            for one in part:
                ends[one.topic] = max(one.offset + 1, ends.get(one.topic, 0))
            named = {one.sequence: one.attempts for one in part}
            decision = RetryDecision(action, named, ends, at, audit.who, audit.why)
            yield RetryKey(destination, partition, f"{asked}-{number}").text, decision.to_record()


def _read(backbone: Backbone, target: Target) -> Iterator[Event[Any]]:
    """The events in the destination's retry topics that are not done with."""
    topics = kafka.existing_topics(kafka.admin(backbone))
    places = [
        TopicPartition(topic, number)
        for topic, partitions in topics.items()
        if naming.is_tier_of(topic, target.flow, target.destination)
        for number in range(partitions)
    ]
    if not places:
        return
    group = naming.delivery_group(target.flow, target.destination)
    with closing(kafka.consumer(backbone, group)) as client:
        starts = committed_offsets(client, places, timeout=TIMEOUT)
    progress = offsets_from_commits(starts)
    for message in records_to_end(backbone, group, starts):
        if not progress[_place(message)].is_done(message.offset() or 0):
            yield event_of(message, bytes)


def _place(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _waiting(event: Event[Any]) -> WaitingEvent:
    return WaitingEvent(
        key=event.key,
        id=event.id,
        type=event.type,
        attempts=failures_of(event),
        due=datetime.fromtimestamp(max(0.0, due_of(event)), UTC),
        error=event.header(TL_ERROR_CLASS),
        message=event.header(TL_ERROR),
        halted=bool(event.header(TL_HALTED)),
        partition=event.partition,
        sequence=event.sequence,
        topic=event.topic,
        offset=event.offset,
    )
