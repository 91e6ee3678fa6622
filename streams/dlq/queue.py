"""Reading a dead-letter queue: as it is now, letter by letter, and grouped by cause.

The queue can be of any length: what is read ahead is bounded, and nothing is kept. A reader joins
no consumer group and commits nothing; workers do not notice it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from trunkline import kafka
from trunkline.kafka.clients import low_latency
from trunkline.kafka.offsets import Partition
from trunkline.kafka.reading import records
from trunkline.params import Backbone
from trunkline.streams.dlq.causes import mask
from trunkline.streams.dlq.handled import handled_by_origin, origin_of
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter

MOST = 1000
"""Causes that are told apart; the letters of further ones are one group for each stage and class,
so that messages that have nothing in common cannot fill the memory."""


class HandledLetters:
    """Which letters of one queue are handled, as a control topic's ``state`` says.

    ``name``: of the destination or source.
    """

    def __init__(self, state: Mapping[str, Mapping[str, Any]], name: str) -> None:
        self._homes = handled_by_origin(state, name)

    def has(self, letter: DeadLetter) -> bool:
        """Whether the letter is re-driven or discarded."""
        home = self._homes.get(origin_of(letter.headers))
        return home is not None and home.has(letter.partition, letter.offset)


class DeadLetterQueue:
    """A dead-letter queue as it is now: what comes later is not part of it.

    ``ranges``: the offsets that it holds, also those of transaction markers. Raises
    KafkaUnavailable, here and while reading.
    """

    def __init__(self, backbone: Backbone, topic: str, handled: HandledLetters) -> None:
        self._backbone = low_latency(backbone)
        self._topic = topic
        self._handled = handled
        self.ranges = self._ranges()

    def _ranges(self) -> dict[Partition, range]:
        with closing(self._reader()) as reader:
            numbers = _partitions(reader, self._topic)
            return {(self._topic, n): _watermarks(reader, self._topic, n) for n in numbers}

    def letters(
        self, selection: DeadLetterFilter | None = None, *, handled: bool = False
    ) -> Iterator[DeadLetter]:
        """The letters that are meant, in order within a partition; without those that are handled,
        unless ``handled``."""
        selection = selection or DeadLetterFilter()
        for letter in self._read(self.ranges):
            if (handled or not letter.handled) and selection.matches(letter):
                yield letter

    def at(self, partition: int, offset: int) -> DeadLetter | None:
        """The letter at this place, handled or not; None if there is none."""
        queue = (self._topic, partition)
        if offset not in self.ranges.get(queue, ()):
            return None
        with closing(self._read({queue: range(offset, offset + 1)})) as found:
            return next(found, None)

    def _read(self, ranges: Mapping[Partition, range]) -> Generator[DeadLetter, None, None]:
        with closing(self._reader()) as reader:
            for message in records(reader, ranges):
                letter = DeadLetter.of(message)
                yield replace(letter, handled=True) if self._handled.has(letter) else letter

    def _reader(self) -> Consumer:
        return kafka.consumer(self._backbone, f"{self._topic}.reader", eof=True)


def covering_ranges(letters: Iterable[DeadLetter]) -> tuple[dict[Partition, range], int]:
    """The smallest ranges that hold these letters, which are in order, and how many they are."""
    ranges: dict[Partition, range] = {}
    count = 0
    for letter in letters:
        queue, end = (letter.topic, letter.partition), letter.offset + 1
        ranges[queue] = range(ranges[queue].start if queue in ranges else letter.offset, end)
        count += 1
    return ranges, count


def _partitions(reader: Consumer, topic: str) -> list[int]:
    try:
        return sorted(reader.list_topics(topic, timeout=30).topics[topic].partitions)
    except KafkaException as failure:
        raise kafka.KafkaUnavailable(f"{topic!r}: {failure.args[0].str()}") from failure


def _watermarks(reader: Consumer, topic: str, partition: int) -> range:
    try:
        low, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
    except KafkaException as failure:
        raise kafka.KafkaUnavailable(
            f"partition {partition} of {topic!r} does not answer: {failure.args[0].str()}"
        ) from failure
    return range(low, high)


@dataclass(slots=True)
class CauseGroup:
    """Letters that died of the same. ``message``: masked, "" for what is told apart no more;
    ``first``, ``last``: times of death; ``example``: the first of them that was read."""

    stage: str
    error: str
    message: str
    first: datetime
    last: datetime
    example: DeadLetter
    count: int = 0

    def add(self, letter: DeadLetter) -> None:
        """Count a letter."""
        self.count += 1
        self.first = min(self.first, letter.time)
        self.last = max(self.last, letter.time)


def grouped(letters: Iterable[DeadLetter]) -> list[CauseGroup]:
    """The causes of these letters, the most frequent first."""
    found: dict[tuple[str, str, str], CauseGroup] = {}
    for letter in letters:
        cause = (letter.stage, letter.error, mask(letter.message))
        if cause not in found and len(found) >= MOST:
            cause = (*cause[:2], "")
        if cause not in found:
            example = replace(letter, value=None)  # it may be large, and there may be many
            found[cause] = CauseGroup(*cause, letter.time, letter.time, example)
        found[cause].add(letter)
    return sorted(found.values(), key=lambda cause: (-cause.count, cause.stage, cause.error))
