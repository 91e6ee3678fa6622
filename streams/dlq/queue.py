"""Reading a dead-letter queue as it is now, letter by letter.

The queue can be of any length: what is read ahead is bounded, and nothing is kept. A reader joins
no consumer group and commits nothing; workers do not notice it. All of it blocks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from copy import copy
from dataclasses import replace

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from trunkline import kafka, naming
from trunkline.kafka.clients import low_latency
from trunkline.kafka.offsets import Partition
from trunkline.kafka.reading import records, watermarks
from trunkline.params import Backbone
from trunkline.streams.dlq.handled import HandledLetters
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter


class DeadLetterQueue:
    """A dead-letter queue as it is now: what comes later is not part of it.

    ``handled``: which letters are re-driven or discarded. ``since``: without what was written
    before (epoch seconds). ``newest``: only so many offsets at each partition's end; ``cut``:
    whether there are more. ``ranges``: the offsets that the queue holds, also those of transaction
    markers. Raises KafkaUnavailable, here and while reading.
    """

    def __init__(
        self,
        backbone: Backbone,
        topic: str,
        handled: HandledLetters,
        *,
        since: float | None = None,
        newest: int | None = None,
    ) -> None:
        self._backbone = low_latency(backbone)
        self._topic = topic
        self._handled = handled
        every = self._ranges(since)
        self.ranges = every if newest is None else {at: s[-newest:] for at, s in every.items()}
        self.cut = self.ranges != every

    def _ranges(self, since: float | None) -> dict[Partition, range]:
        with closing(self._reader()) as reader:
            numbers = _partitions(reader, self._topic)
            held = {(self._topic, n): _watermarks(reader, self._topic, n) for n in numbers}
            return held if since is None else _from(reader, held, since)

    def letters(
        self, selection: DeadLetterFilter | None = None, *, handled: bool = False
    ) -> Iterator[DeadLetter]:
        """The letters that are selected, in order within a partition. ``handled``: also those that
        are re-driven or discarded already."""
        selection = selection or DeadLetterFilter()
        for letter in self._read(self.ranges):
            if (handled or not letter.handled) and selection.matches(letter):
                yield letter

    def with_handled(self, handled: HandledLetters) -> DeadLetterQueue:
        """The same letters, of which others are handled."""
        made = copy(self)
        made._handled = handled
        return made

    def at(self, partition: int, offset: int) -> DeadLetter | None:
        """The letter that is there, handled or not; None if there is none."""
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
        return kafka.consumer(self._backbone, naming.dlq_reader(self._topic), eof=True)


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
        found = reader.list_topics(topic, timeout=30).topics[topic]
    except KafkaException as failure:
        raise kafka.unavailable(f"{topic!r} cannot be read", failure, topic=topic) from failure
    # Without the right to read a topic has no partitions, either: an empty queue would be a lie.
    if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise kafka.unavailable(f"{topic!r} cannot be read", found.error, topic=topic)
    return sorted(found.partitions)


def _from(
    reader: Consumer, held: Mapping[Partition, range], since: float
) -> dict[Partition, range]:
    """The part of each range whose records are not older than ``since``."""
    asked = [TopicPartition(topic, number, int(since * 1000)) for topic, number in held]
    try:
        starts = reader.offsets_for_times(asked, timeout=30) if asked else []
    except KafkaException as failure:
        raise kafka.unavailable("the queue cannot be looked at", failure) from failure
    found = {(start.topic, start.partition): start.offset for start in starts}
    # -1: no record is that late.
    return {
        at: range(span.stop if found[at] < 0 else max(span.start, found[at]), span.stop)
        for at, span in held.items()
    }


def _watermarks(reader: Consumer, topic: str, partition: int) -> range:
    try:
        return watermarks(reader, (topic, partition))
    except KafkaException as failure:
        what = f"partition {partition} of {topic!r} does not answer"
        raise kafka.unavailable(what, failure, topic=topic) from failure
