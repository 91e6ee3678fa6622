"""What Kafka itself knows of a consumer group's topics: how much waits, since when, how much comes.

True whether workers run or not. Questions go out in batches: the offsets of all topics of all flows
cost three requests. What is read one by one is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from trunkline import kafka
from trunkline.headers import TL_ERROR, TL_ERROR_CLASS, TL_HALTED
from trunkline.kafka.clients import low_latency
from trunkline.kafka.messages import event_of, partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.reading import records
from trunkline.params import Backbone
from trunkline.streams.deliver.offsets import PartitionOffsets
from trunkline.streams.deliver.recovery import offsets_from_commits
from trunkline.streams.retry.tiers import due_of, failures_of

TIMEOUT = 15.0
"""Seconds that Kafka has for one answer."""
MINUTE = 60.0
"""Seconds over which the rate of what comes is told."""
MAX_READ = 2_000
"""Offsets that are looked at one by one for a group: some tenths of a second."""
MAX_FIRST = 50
"""Offsets of each partition that are looked at for its oldest event, where there are too many."""

_ABSENT = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART)


@dataclass(frozen=True, slots=True)
class Measure:
    """What waits in one topic for its group, and what comes.

    ``waiting``: events that the group has not completed; ``exact``: else it is so many at the most,
    as the markers of transactions are not told from events. ``oldest``: when the oldest of them was
    written, in epoch seconds, None if none waits. ``rate``: events a second that came in the last
    minute, "at most" likewise. Of a retry topic ``next_due``: when the first of what waits is
    attempted (epoch seconds), and of what failed last ``error``, and ``error_at`` when it was
    written.
    """

    waiting: int = 0
    exact: bool = True
    oldest: float | None = None
    rate: float = 0.0
    next_due: float | None = None
    error: str = ""
    error_at: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The offsets that a partition holds, also those of transaction markers; ``lately``: those of
    the last minute."""

    all: range
    lately: range


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: how many ``members`` it has, which topics they have between them, and how
    far it is in each partition."""

    members: int
    assigned: frozenset[str]
    progress: Mapping[Partition, PartitionOffsets]


def held_offsets(
    client: AdminClient, places: Sequence[Partition], now: float
) -> dict[Partition, Held]:
    """What these partitions hold; one that has no leader, or went, is left out. Blocks. Raises
    KafkaUnavailable."""
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    earliest: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    since: Any = OffsetSpec.for_timestamp(int((now - MINUTE) * 1000))
    ends, begins, lately = (_listed(client, places, spec) for spec in (latest, earliest, since))
    found = {}
    for place in places:
        if place in ends and place in begins:
            low, high = begins[place], ends[place]
            start = lately.get(place, -1)  # -1: no record is that young
            found[place] = Held(range(low, high), range(high if start < 0 else start, high))
    return found


def _listed(client: AdminClient, places: Sequence[Partition], spec: Any) -> dict[Partition, int]:
    if not places:
        return {}
    answers = client.list_offsets(
        {TopicPartition(*place): spec for place in places},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=TIMEOUT,
    )
    found = {}
    for place, answer in answers.items():
        try:
            found[place.topic, place.partition] = int(answer.result().offset)
        except KafkaException as failure:
            if failure.args[0].code() not in (*_ABSENT, KafkaError.LEADER_NOT_AVAILABLE):
                what = f"topic {place.topic!r} cannot be looked at"
                raise kafka.unavailable(what, failure, topic=place.topic) from failure
    return found


def groups_of(client: AdminClient, names: Iterable[str]) -> dict[str, Group]:
    """How these groups are; one that never was has no members and no progress. Blocks. Raises
    KafkaUnavailable."""
    names = list(dict.fromkeys(names))
    if not names:
        return {}
    described = client.describe_consumer_groups(names, request_timeout=TIMEOUT)
    asked = {  # one group a question; all are on their way before the first answer is awaited
        name: client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(name)], request_timeout=TIMEOUT
        )[name]
        for name in names
    }
    found = {}
    for name in names:
        members = _answer(described[name], name, lambda it: it.members, [])
        commits = _answer(asked[name], name, lambda it: it.topic_partitions, [])
        kept = [
            TopicPartition(at.topic, at.partition, max(at.offset, 0), at.metadata or "")
            for at in commits
            if at.error is None
        ]
        assigned = {at.topic for one in members for at in one.assignment.topic_partitions}
        found[name] = Group(len(members), frozenset(assigned), offsets_from_commits(kept))
    return found


def _answer(future: Any, group: str, take: Callable[[Any], Any], otherwise: Any) -> Any:
    try:
        return take(future.result())
    except KafkaException as failure:
        if failure.args[0].code() in _ABSENT:  # no worker has run yet
            return otherwise
        raise kafka.unavailable(f"group {group!r}", failure, group=group) from failure


def measures(
    backbone: Backbone,
    group: str,
    progress: Mapping[Partition, PartitionOffsets],
    held: Mapping[Partition, Held],
    *,
    retries: Iterable[str] = (),
) -> dict[str, Measure]:
    """What waits in the topics of ``held`` for the group, and what comes, by topic.

    ``retries``: which of them are retry topics, where nothing newly comes. Blocks; writes nothing.
    Raises KafkaUnavailable.
    """
    retries = frozenset(retries)
    parts = {
        place: _Part(span, progress.get(place), place[0] in retries) for place, span in held.items()
    }
    exact = sum(len(part.interesting) for part in parts.values()) <= MAX_READ
    ranges = {place: part.interesting if exact else part.first for place, part in parts.items()}
    if any(ranges.values()):
        try:
            with closing(kafka.consumer(low_latency(backbone), group, eof=True)) as client:
                for message in records(client, ranges):
                    parts[partition_of(message)].see(message)
        except KafkaException as failure:
            what = f"the topics of group {group!r} cannot be read"
            raise kafka.unavailable(what, failure, group=group) from failure
    by_topic: dict[str, Measure] = {}
    for (topic, _), part in parts.items():
        measure = part.measure(exact=exact)
        by_topic[topic] = _together(by_topic[topic], measure) if topic in by_topic else measure
    return by_topic


class _Part:
    """One partition while it is read."""

    def __init__(self, held: Held, progress: PartitionOffsets | None, is_retry: bool) -> None:
        self._held = held
        self._progress = progress or PartitionOffsets()
        self._is_retry = is_retry
        begin = min(max(held.all.start, self._progress.committable), held.all.stop)
        self.open = range(begin, held.all.stop)
        self.open = self.open if self._incomplete() else range(held.all.stop, held.all.stop)
        self._waiting = self._came = 0
        self._found = Measure()

    def _incomplete(self) -> int:
        return self._progress.incomplete_in(self.open)

    @property
    def interesting(self) -> range:
        """What is to be read for exact numbers."""
        lately = range(0) if self._is_retry else self._held.lately
        starts = [span.start for span in (self.open, lately) if span]
        return (
            range(max(min(starts), self._held.all.start), self._held.all.stop)
            if starts
            else self.open
        )

    @property
    def first(self) -> range:
        """What is to be read where that is too much."""
        return self.open[:MAX_FIRST]

    def see(self, message: Message) -> None:
        """Count a record in."""
        offset, at = message.offset() or 0, message.timestamp()[1] / 1000
        self._came += offset in self._held.lately
        if offset not in self.open or self._progress.is_done(offset):
            return
        self._waiting += 1
        oldest = at if self._found.oldest is None else min(self._found.oldest, at)
        self._found = replace(self._found, oldest=oldest)
        if self._is_retry:
            self._see_retry(message, at)

    def _see_retry(self, message: Message, at: float) -> None:
        event, found = event_of(message, bytes), self._found
        if not event.header(TL_HALTED):
            due = due_of(event)
            next_due = due if found.next_due is None else min(found.next_due, due)
            found = replace(found, next_due=next_due)
        if failures_of(event) and at >= (found.error_at or 0.0):
            error = f"{event.header(TL_ERROR_CLASS)}: {event.header(TL_ERROR)}"
            found = replace(found, error=error, error_at=at)
        self._found = found

    def measure(self, *, exact: bool) -> Measure:
        """What was found."""
        waiting = self._waiting if exact else self._incomplete()
        came = self._came if exact else len(self._held.lately)
        rate = 0.0 if self._is_retry else came / MINUTE
        return replace(self._found, waiting=waiting, exact=exact or not waiting, rate=rate)


def _together(one: Measure, other: Measure) -> Measure:
    newest = max(one, other, key=lambda each: each.error_at or 0.0)
    return Measure(
        one.waiting + other.waiting,
        one.exact and other.exact,
        least(one.oldest, other.oldest),
        one.rate + other.rate,
        least(one.next_due, other.next_due),
        newest.error,
        newest.error_at,
    )


def total(found: Iterable[Measure]) -> Measure:
    """Of several topics together."""
    whole = Measure()
    for one in found:
        whole = _together(whole, one)
    return whole


def least(one: float | None, other: float | None) -> float | None:
    """The smaller one of those that there are."""
    return min((each for each in (one, other) if each is not None), default=None)


def age(at: float | None, now: float | None = None) -> float:
    """Seconds since then; 0 for None."""
    return 0.0 if at is None else max(0.0, (time.time() if now is None else now) - at)
