"""What a replay is about: the offsets that it covers, and a count of what it would send.

``replays.plan_replay`` and ``replays.preview_replay`` are the way to ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from trunkline import kafka, naming
from trunkline.errors import ConfigurationError
from trunkline.kafka.messages import event_of
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.kafka.range_reader import reader_of
from trunkline.kafka.reading import records
from trunkline.params import Backbone
from trunkline.schemas.codec import Decode
from trunkline.streams.replay.predicate import Predicate
from trunkline.streams.replay.request import Request

TIMEOUT = 30.0
"""Seconds that Kafka has for each answer."""
Bound = datetime | int | None
"""Where a range begins or ends: a time, an offset of every partition, or None for all there is."""


@dataclass(slots=True)
class Preview:
    """What a replay would send.

    ``events``: how many, by ``ce_type``; ``keys``: of how many keys. ``superseded``: how many would
    not be sent as they are not the newest of their key; ``unfit``: as ``where`` is not true for
    them. ``problem``: why ``where`` could not be evaluated for some of these, "" if it could.
    """

    events: Counter[str] = field(default_factory=Counter)
    keys: set[bytes] = field(default_factory=set)
    superseded: int = 0
    unfit: int = 0
    problem: str = ""


class ReplayScope:
    """A canonical topic as the flow ``flow`` has routed it.

    All of it blocks and writes nothing. Its readers bear the name of the flow's group, to ask what
    that has committed; they never join it, so workers do not notice them. Raises
    ConfigurationError for a topic that is not there or that the flow does not route, and
    KafkaUnavailable.
    """

    def __init__(self, backbone: Backbone, flow: str, topic: str) -> None:
        self._backbone = backbone
        self._group = naming.route_group(flow)
        self._topic = topic
        there = kafka.existing_topics(kafka.admin(backbone), expected=[topic])
        self._count = there.get(topic, 0)
        if not self._count:
            raise ConfigurationError(f"there is no topic {topic!r} at {backbone.bootstrap}")

    def ranges(self, start: Bound, until: Bound) -> dict[Partition, range]:
        """The offsets from ``start`` to before ``until``, of those that there are and that the flow
        has routed. Each partition has a range, though it may be empty."""
        with self._reader() as reader:
            partitions = [TopicPartition(self._topic, n) for n in range(self._count)]
            routed = [at.offset for at in _asked(committed_offsets, reader, partitions, TIMEOUT)]
            if all(offset < 0 for offset in routed):
                raise ConfigurationError(
                    f"group {self._group!r} has routed nothing of {self._topic!r} yet: there is "
                    "no past to replay, or the flow's name is another one"
                )
            lows = [_asked(reader.get_watermark_offsets, at, TIMEOUT)[0] for at in partitions]
            firsts = self._offsets(reader, start, lows)
            ends = self._offsets(reader, until, routed)
        return {
            (self._topic, n): _within(range(first, end), low, behind)
            for n, (first, end, low, behind) in enumerate(
                zip(firsts, ends, lows, routed, strict=True)
            )
        }

    def count(self, request: Request, decode: Decode) -> Preview:
        """What the replay would send as of now, before routes have their say. In mode "state" it
        remembers a place for each key of the ranges. Raises RegistryUnavailable, too."""
        count, where = Preview(), Predicate(request.where) if request.where else None
        newest = self._newest(request) if request.mode == "state" else None
        for message in self._read(request.ranges, request.key):
            key, at = message.key() or b"", (message.partition() or 0, message.offset() or 0)
            event = event_of(message, decode)
            if newest is not None and newest.get(key) != at:
                count.superseded += 1
            elif where is not None and not where.matches(event):
                count.unfit += 1
            else:
                count.events[event.type] += 1
                count.keys.add(key)
        count.problem = where.problem if where is not None else ""
        return count

    def _newest(self, request: Request) -> dict[bytes, tuple[int, int]]:
        """Where the newest event of each key is, by partition and offset: among the events of the
        ranges and all that were routed after them, as a worker would find it."""
        routed = self.ranges(None, None)
        whole = {at: range(r.start, routed[at].stop) for at, r in request.ranges.items()}
        return {
            message.key() or b"": (message.partition() or 0, message.offset() or 0)
            for message in self._read(whole, request.key)
        }

    def _read(self, ranges: Mapping[Partition, range], key: str | None) -> Iterator[Message]:
        """The committed records of the ranges that have a key, or have this ``key``. A record
        without one is no event: routing dead-lettered it."""
        meant = None if key is None else key.encode()
        with self._reader() as reader:
            for message in records(reader, ranges):
                found = message.key()
                if found and (meant is None or found == meant):
                    yield message

    def _reader(self) -> closing[Consumer]:
        return closing(reader_of(self._backbone, self._group))

    def _offsets(self, reader: Consumer, bound: Bound, otherwise: list[int]) -> list[int]:
        """The offset of a bound in each partition: for a time, that of the first record that is
        not older."""
        if bound is None:
            return otherwise
        if isinstance(bound, int):
            return [bound] * self._count
        # Not before 1970: librdkafka takes -1 for the end, and -2 for the beginning.
        at = max(0, int(bound.timestamp() * 1000))
        partitions = [TopicPartition(self._topic, n, at) for n in range(self._count)]
        found = _asked(reader.offsets_for_times, partitions, TIMEOUT)
        # -1: no record is that late. Then the bound is behind all there is, whatever is written
        # until it is used.
        return [at.offset if at.offset >= 0 else 1 << 62 for at in found]


def _within(asked: range, low: int, routed: int) -> range:
    """The part of the range that is asked for which is still there, from ``low`` on, and which is
    routed: before ``routed``, -1 if nothing is. An empty range lies where it could be."""
    # What is not routed yet the flow sends by itself. Were it part of a replay, too, it would be
    # sent twice.
    end = max(low, min(asked.stop, routed))
    return range(min(max(low, asked.start), end), end)


def _asked(call: Any, *arguments: Any) -> Any:
    """What a call of librdkafka returns; its KafkaException becomes KafkaUnavailable."""
    try:
        return call(*arguments)
    except KafkaException as failure:
        raise kafka.unavailable("what was routed cannot be looked at", failure) from failure
