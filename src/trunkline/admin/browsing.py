"""The records of a topic as people read them: canonical events, inboxes, retry topics, dead
letters, and what flows keep for themselves.

A reader joins no consumer group and commits nothing. What is read is bounded by the caller.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import islice
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from trunkline import kafka, naming
from trunkline.admin.dead_letters import LetterValue, decoded_value
from trunkline.admin.replay_scope import Bound
from trunkline.admin.targets import SHOWN
from trunkline.errors import ConfigurationError, RegistryUnavailable
from trunkline.headers import CE_ID, CE_SOURCE, CE_TYPE, TL_CHANGE, TL_PERSONAL
from trunkline.kafka.clients import low_latency
from trunkline.kafka.offsets import Partition
from trunkline.kafka.partitioner import partition_of_key
from trunkline.kafka.reading import READ, poll, records, watermarks
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.dlq.letters import printable

TIMEOUT = 30.0
"""Seconds that Kafka has for one answer."""
FIRST_STEP = 50
"""Offsets before a partition's end that are looked at first for its newest records."""
POLL = 0.5
"""Seconds that following waits for the next record before it looks whether to stop."""


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record. ``written``: its time in Kafka, UTC. ``size``: bytes of its value, None where it
    has none. ``value``: the value, decoded, or why it cannot be."""

    topic: str
    partition: int
    offset: int
    written: datetime
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    size: int | None
    value: LetterValue

    def header(self, name: str) -> str:
        """The last header of this name, as text; "" where there is none."""
        return printable(dict(self.headers).get(name))

    @property
    def shown_key(self) -> str:
        """The key's text; ``0x…`` for bytes that are not UTF-8, "" for none."""
        return printable(self.key)

    @property
    def id(self) -> str:
        """``ce_id``."""
        return self.header(CE_ID)

    @property
    def type(self) -> str:
        """``ce_type``."""
        return self.header(CE_TYPE)

    @property
    def source(self) -> str:
        """``ce_source``."""
        return self.header(CE_SOURCE)

    @property
    def change(self) -> str:
        """What became of the entity; a record without a value is a delete. "" of no event."""
        return "delete" if self.size is None else self.header(TL_CHANGE)


class TopicBrowser:
    """Reads a topic. A context manager, for one thread.

    ``key``: only records of this key; ``partition``: only of this one. All methods block, write
    nothing, and raise KafkaUnavailable. A registry that is away is a reason why a value cannot be
    read, no error.
    """

    def __init__(
        self,
        backbone: Backbone,
        topic: str,
        *,
        key: str | None = None,
        partition: int | None = None,
    ) -> None:
        """Raises ConfigurationError for a topic or partition that is not there, and
        KafkaUnavailable."""
        self._backbone = low_latency(backbone)
        self._topic = topic
        self._key = None if key is None else key.encode()
        there = kafka.existing_topics(kafka.admin(backbone), expected=[topic])
        self._count = _partitions(backbone, topic, there)
        if partition is not None and not 0 <= partition < self._count:
            raise ConfigurationError(
                f"topic {topic!r} has {self._count} partitions, from 0 on: there is no {partition}"
            )
        self._only = partition
        self._registry = registry_of(backbone)
        self._shown = Codec(self._registry).shown_decoder()
        self._away = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._registry.close()

    def ranges(self, start: Bound = None, until: Bound = None) -> dict[Partition, range]:
        """The offsets that there are from ``start`` to before ``until``: times, or offsets of each
        partition; of all of it by default, as of now."""
        numbers = range(self._count) if self._only is None else [self._only]
        places = [(self._topic, number) for number in numbers]
        with self._reader() as reader:
            held = {place: self._asked(watermarks, reader, place) for place in places}
            begins = self._offsets(reader, start, places)
            ends = self._offsets(reader, until, places)
        found = {}
        for place, span in held.items():
            end = min(span.stop, ends.get(place, span.stop))
            found[place] = range(min(max(span.start, begins.get(place, span.start)), end), end)
        return found

    def first(self, ranges: Mapping[Partition, range], limit: int) -> list[TopicRecord]:
        """The first ``limit`` records of the ranges, in the order of their times; within a
        partition in that of their offsets."""
        return self._selected(ranges, lambda place, span: self._forward(place, span, limit))[:limit]

    def newest(self, ranges: Mapping[Partition, range], limit: int) -> list[TopicRecord]:
        """The last ``limit`` records of the ranges, ordered likewise."""
        return self._selected(ranges, lambda place, span: self._last(place, span, limit))[-limit:]

    def follow(
        self, starts: Mapping[Partition, int], stop: threading.Event
    ) -> Iterator[TopicRecord]:
        """What comes from these offsets on, as it comes, until ``stop`` is set."""
        with self._reader() as reader:
            reader.assign([TopicPartition(*place, at) for place, at in starts.items()])
            while not stop.is_set():
                arrived, _ = self._asked(poll, reader, READ, POLL)
                for message in arrived:
                    if message.error() is None and self._is_meant(message):
                        yield self._record(message)

    def _selected(self, ranges: Mapping[Partition, range], take: Any) -> list[TopicRecord]:
        """What ``take`` finds in each partition, by time. A key is looked for in its partition,
        and in the others if it is not there."""
        for group in self._in_order(ranges):
            found = [one for place in group for one in take(place, ranges[place])]
            if found:
                found.sort(key=lambda m: m.timestamp()[1])
                return [self._record(message) for message in found]
        return []

    def _in_order(self, ranges: Mapping[Partition, range]) -> list[list[Partition]]:
        if self._key is None:
            return [list(ranges)]
        own = (self._topic, partition_of_key(self._key, self._count))
        first = [place for place in ranges if place == own]
        return [first, [place for place in ranges if place != own]]

    def _forward(self, place: Partition, span: range, limit: int) -> list[Message]:
        return list(islice(self._read(place, span), limit))

    def _last(self, place: Partition, span: range, limit: int) -> list[Message]:
        """Backwards in growing steps, as markers of transactions take up offsets, too. A key is
        looked for from the beginning: it may be anywhere."""
        if self._key is not None:
            return list(deque(self._read(place, span), maxlen=limit))
        step = max(FIRST_STEP, 2 * limit)
        while True:
            part = span[-step:]
            found = deque(self._read(place, part), maxlen=limit)
            if len(found) == limit or len(part) == len(span):
                return list(found)
            step *= 8

    def _read(self, place: Partition, span: range) -> Iterator[Message]:
        if not span:
            return
        try:
            with self._reader() as reader:
                for message in records(reader, {place: span}):
                    if self._is_meant(message):
                        yield message
        except KafkaException as failure:
            raise self._unavailable(failure) from failure

    def _is_meant(self, message: Message) -> bool:
        return self._key is None or message.key() == self._key

    def _reader(self) -> closing[Consumer]:
        # Of dead letters the group is one that operators have a right to.
        group = naming.dlq_reader(self._topic) if naming.writer_of_dlq(self._topic) else self._topic
        return closing(kafka.consumer(self._backbone, group, eof=True))

    def _offsets(
        self, reader: Consumer, bound: Bound, places: Iterable[Partition]
    ) -> dict[Partition, int]:
        """The offset of a bound in each partition; where a time is later than all, the end."""
        if bound is None:
            return {}
        if isinstance(bound, int):
            return dict.fromkeys(places, bound)
        at = max(0, int(bound.timestamp() * 1000))
        asked = [TopicPartition(*place, at) for place in places]
        found = self._asked(reader.offsets_for_times, asked, TIMEOUT)
        return {
            (one.topic, one.partition): one.offset if one.offset >= 0 else 1 << 62 for one in found
        }

    def _asked(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except KafkaException as failure:
            raise self._unavailable(failure) from failure

    def _unavailable(self, failure: KafkaException) -> kafka.KafkaUnavailable:
        what = f"topic {self._topic!r} cannot be read"
        return kafka.unavailable(what, failure, topic=self._topic, group=self._topic)

    def _record(self, message: Message) -> TopicRecord:
        raw: Any = message.value()
        headers: Any = message.headers() or []
        return TopicRecord(
            message.topic() or "",
            message.partition() or 0,
            message.offset() or 0,
            datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
            message.key(),
            [(name, value or b"") for name, value in headers],
            None if raw is None else len(raw),
            decoded_value(raw, self._decode, printable(dict(headers).get(TL_PERSONAL))),
        )

    def _decode(self, raw: bytes) -> Any:
        """A registry that did not answer once is not waited for again, 10 seconds a record."""
        if self._away:
            raise RegistryUnavailable(self._away)
        try:
            return self._shown(raw)
        except RegistryUnavailable as away:
            self._away = str(away)
            raise


def _partitions(backbone: Backbone, topic: str, there: Mapping[str, int]) -> int:
    if topic in there:
        return there[topic]
    near = get_close_matches(topic, there, SHOWN, 0.5) or sorted(there)[:SHOWN]
    told = f"; did you mean {', '.join(near)}?" if near else ""
    raise ConfigurationError(f"there is no topic {topic!r} at {backbone.bootstrap}{told}")


def without_value(record: TopicRecord) -> TopicRecord:
    """The record without what is in it, for lists that others may see."""
    return replace(record, value=LetterValue(None))
