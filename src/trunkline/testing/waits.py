"""What a destination has not finished, as its topics and its group's commits tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from trunkline import naming
from trunkline.event import Event
from trunkline.headers import TL_HALTED
from trunkline.kafka.messages import StoredMessage, event_of
from trunkline.kafka.offsets import Partition
from trunkline.streams.deliver.offsets import PartitionOffsets
from trunkline.streams.flow.definition import Destination
from trunkline.streams.retry.tiers import due_of, failures_of
from trunkline.testing.log import EVERYTHING
from trunkline.testing.topics import Topics


@dataclass(frozen=True, slots=True)
class Wait:
    """An event that is neither delivered nor dead-lettered. ``tier``: where it waits, as ``10s``;
    "" in the inbox. ``due``: seconds since the test began; 0 in the inbox. ``failures``: attempts
    that failed. ``halted``: until somebody decides about it."""

    id: str
    key: str
    tier: str
    due: float
    failures: int
    halted: bool

    def __str__(self) -> str:
        place = f"in tier {self.tier}, due at {self.due:.3f} s" if self.tier else "in the inbox"
        halted = ", halted" if self.halted else ""
        return f"{self.id} of key {self.key!r} {place}, {self.failures} attempts failed{halted}"


def waits(topics: Topics, destination: Destination[Any, Any], start: float) -> list[Wait]:
    """All of one destination. ``start``: the test's beginning, in epoch seconds."""
    group = naming.delivery_group(destination.flow.name, destination.name)
    names = [destination.inbox, *destination.tiers]
    places = [(name, number) for name in names for number in range(topics.partitions)]
    left = [message for place in places for message in _unfinished(topics, group, place)]
    return [_wait(message, destination.inbox, start) for message in left]


def _unfinished(topics: Topics, group: str, place: Partition) -> Iterator[StoredMessage]:
    at = topics.committed(group, TopicPartition(*place))
    offset = max(0, at.offset)
    if offset >= topics.end(place):
        return
    progress = PartitionOffsets(offset, at.metadata or "")
    for message in topics.read(place, offset, EVERYTHING):
        if not progress.is_done(message.offset()):
            yield message


def _wait(message: StoredMessage, inbox: str, start: float) -> Wait:
    event: Event[Any] = event_of(message, bytes)
    inside = event.topic == inbox
    return Wait(
        id=event.id,
        key=event.key,
        tier=naming.delay_of(event.topic),
        due=0.0 if inside else round(due_of(event) - start, 3),
        failures=failures_of(event),
        halted=bool(event.header(TL_HALTED)),
    )
