"""How much a destination has yet to get, as Kafka knows it: also where no worker runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicPartition

from trunkline import kafka, naming
from trunkline.admin.targets import Target
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.kafka.reading import records_to_end, watermarks
from trunkline.params import Backbone
from trunkline.streams.deliver.recovery import offsets_from_commits

TIMEOUT = 10.0
"""Seconds that Kafka has to tell how far the workers are."""

MAX_COUNTED = 10_000
"""Offsets that are looked at one by one: half a second."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Events that are neither delivered nor dead-lettered, as far as is committed: 0.2 seconds ago.

    ``inbox``: those that nobody has got, or that are under way; ``retries``: those that wait for
    another attempt. ``exact``: else it is so many at the most: of a long backlog the markers of
    transactions are not told from events.
    """

    inbox: int
    retries: int
    exact: bool


def destination_backlog(backbone: Backbone, target: Target) -> Backlog:
    """The destination's backlog. Blocks; writes nothing. Raises KafkaUnavailable."""
    topics = kafka.existing_topics(kafka.admin(backbone), expected=[target.inbox])
    names = [target.inbox]
    names += [name for name in topics if naming.is_tier_of(name, target.flow, target.destination)]
    places = [TopicPartition(name, n) for name in names for n in range(topics.get(name, 0))]
    group = naming.delivery_group(target.flow, target.destination)
    try:
        counts = _at_most(backbone, group, places)
        if exact := sum(counts.values()) <= MAX_COUNTED:
            counts = _counted(backbone, group, [place for place in places if counts[_of(place)]])
    except KafkaException as failure:
        what = f"{target}: its topics cannot be looked at"
        raise kafka.unavailable(what, failure, group=group) from failure
    inbox = sum(count for (name, _), count in counts.items() if name == target.inbox)
    return Backlog(inbox, sum(counts.values()) - inbox, exact)


@dataclass(frozen=True, slots=True)
class TopicBacklog:
    """Events of one topic that its group has not completed; ``exact``: as in ``Backlog``."""

    count: int
    exact: bool


def topic_backlog(backbone: Backbone, group: str, topic: str) -> TopicBacklog:
    """What waits in an inbox or a retry topic, one of a destination that is gone, too. ``group``:
    the destination's. Blocks; writes nothing. Raises KafkaUnavailable."""
    partitions = kafka.existing_topics(kafka.admin(backbone)).get(topic, 0)
    places = [TopicPartition(topic, number) for number in range(partitions)]
    try:
        counts = _at_most(backbone, group, places)
        if exact := sum(counts.values()) <= MAX_COUNTED:
            counts = _counted(backbone, group, [place for place in places if counts[_of(place)]])
    except KafkaException as failure:
        what = f"topic {topic!r} cannot be looked at"
        raise kafka.unavailable(what, failure, topic=topic, group=group) from failure
    return TopicBacklog(sum(counts.values()), exact)


def _at_most(
    backbone: Backbone, group: str, places: Sequence[TopicPartition]
) -> dict[Partition, int]:
    """The offsets of each partition that the group has not completed."""
    if not places:
        return {}
    with closing(kafka.consumer(backbone, group)) as client:
        commits = committed_offsets(client, list(places), TIMEOUT)
        held = {_of(place): watermarks(client, _of(place)) for place in places}
    progress = offsets_from_commits(commits)
    return {place: progress[place].incomplete_in(held[place]) for place in held}


def _counted(
    backbone: Backbone, group: str, places: Sequence[TopicPartition]
) -> dict[Partition, int]:
    """The events of these partitions that the group has not completed, read one by one."""
    counts = {_of(place): 0 for place in places}
    if not places:
        return counts
    with closing(kafka.consumer(backbone, group)) as client:
        commits = committed_offsets(client, list(places), TIMEOUT)
    progress = offsets_from_commits(commits)
    for message in records_to_end(backbone, group, commits):
        place = message.topic() or "", message.partition() or 0
        counts[place] += not progress[place].is_done(message.offset() or 0)
    return counts


def _of(place: TopicPartition) -> Partition:
    return place.topic, place.partition
