"""Reading ranges of partitions, outside of any group's progress: one loop for whoever reads a part
of the log to its end.

``BoundedRead`` is the loop; ``records`` waits for all of it; ``records_to_end``, ``read_all`` and
``last_record`` ask Kafka first where the end is. ``range_reader`` reads the same way from an event
loop, ``tail`` reads on for ever. Each blocks the thread that calls it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from trunkline.kafka.clients import admin, consumer, low_latency
from trunkline.kafka.messages import partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.reasons import KafkaUnavailable, is_fatal, unavailable
from trunkline.kafka.topics import existing_topics
from trunkline.params import Backbone

log = logging.getLogger(__name__)

NOT_LED_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
"""What a broker answers about a topic that was made a moment ago, or whose leader moves."""
LEADERLESS = 30.0
"""Seconds to wait for a leader."""
RENEWED = 5.0
"""Seconds after which another client asks for leaders."""
READ = 500
"""Most records of one piece."""
POLL = 0.5
"""Seconds that one poll waits."""
PATIENCE = 30.0
"""Seconds without a sign of Kafka after which reading gives up."""


class Polled(NamedTuple):
    """What one poll of a consumer brought.

    ``arrived``: records and ends of partitions, in order per partition. ``trouble``: what Kafka
    complained about last, or "".
    """

    arrived: list[Message]
    trouble: str


def poll(client: Consumer, limit: int, timeout: float) -> Polled:
    """Take up to ``limit`` messages from a consumer that is told of ends (``eof=True``); waits at
    most ``timeout`` seconds for the first one.

    Errors that pass by themselves are logged. Raises KafkaException if the client can never go on.
    """
    polled = client.consume(1, timeout)
    if polled:
        # consume(limit) would wait until there are so many: only what is here already.
        polled += client.consume(limit - 1, 0)
    arrived, trouble = [], ""
    for message in polled:
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            arrived.append(message)
        elif is_fatal(error):
            raise KafkaException(error)
        else:
            trouble = error.str()
            log.warning("Kafka: %s", trouble, extra={"topic": message.topic()})
    return Polled(arrived, trouble)


class BoundedRead:
    """Reads ranges of offsets, of several partitions side by side. For one thread.

    Assigns the partitions to ``client``, which must be told of ends (``eof=True``). ``next``: the
    offset of each partition to go on from. ``trouble``: what Kafka complained about last, or "".
    ``cut``: whether a range also ends where its partition does, as that of a topic which was made
    anew with fewer records; else such a range is never read to its end.
    """

    def __init__(
        self, client: Consumer, ranges: Mapping[Partition, range], *, cut: bool = False
    ) -> None:
        self._client = client
        self._unread = {partition: span for partition, span in ranges.items() if span}
        self._cut = cut
        self.next = {partition: span.start for partition, span in ranges.items()}
        self.trouble = ""
        if self._unread:
            client.assign([TopicPartition(*p, span.start) for p, span in self._unread.items()])

    @property
    def ended(self) -> bool:
        """Whether all ranges are read."""
        return not self._unread

    def read(self, limit: int = READ, timeout: float = POLL) -> tuple[list[Message], bool]:
        """The next committed records of the ranges; and whether anything was heard of them, which
        may be an end alone. Raises KafkaException if the client can never go on."""
        arrived, trouble = poll(self._client, limit, timeout)
        self.trouble = trouble or self.trouble
        return [message for message in arrived if self._advance(message)], bool(arrived)

    def _advance(self, message: Message) -> bool:
        """Note how far a partition is read; returns whether the message is a record of its range.

        A range ends with its last record, or with the partition's end at or behind it: the last
        offsets of a range may be those of transaction markers, which no consumer sees.
        """
        partition, offset = partition_of(message), message.offset()
        span = self._unread.get(partition)
        if span is None or offset is None:  # the consumer fetches on behind the range
            return False
        if message.error() is None:
            ours, reached = offset in span, offset + 1
        else:  # an end is told with the offset that the next record will have
            ours, reached = False, offset
            if self._cut and self._ends_before(partition, span.stop):
                reached = span.stop
        # A record before the range: the topic was made anew or cut, and reading began there.
        self.next[partition] = min(max(self.next[partition], reached), span.stop)
        if reached >= span.stop:
            del self._unread[partition]
        return ours

    def _ends_before(self, partition: Partition, stop: int) -> bool:
        """Whether the partition has no offset ``stop - 1``. An end that an open transaction makes
        is none: the high watermark counts what it hides."""
        _, high = self._client.get_watermark_offsets(TopicPartition(*partition), cached=True)
        return high < stop


def records(
    client: Consumer, ranges: Mapping[Partition, range], *, patience: float = PATIENCE
) -> Iterator[Message]:
    """The committed records of these ranges of offsets, in order within each partition.

    Waits for what an open transaction hides. Raises KafkaUnavailable when nothing was heard for
    ``patience`` seconds, KafkaException if the client can never go on.
    """
    reading = BoundedRead(client, ranges)
    heard_at = time.monotonic()
    while not reading.ended:
        found, heard = reading.read()
        if heard:
            yield from found
            heard_at = time.monotonic()  # after the yield: what is done with a record may take long
        elif time.monotonic() - heard_at > patience:
            topics = ", ".join(sorted({topic for topic, _ in ranges}))
            raise KafkaUnavailable(
                f"{topics} could not be read to the end, nothing came for {patience:.0f} s: "
                f"{reading.trouble or 'Kafka does not answer'}; try again once Kafka is up"
            )


def records_to_end(
    backbone: Backbone, group: str, starts: Sequence[TopicPartition]
) -> Iterator[Message]:
    """The committed records of partitions from their offsets on, to their ends as of now.

    The end is the high watermark and not the last stable offset. Worker A dies with an open
    transaction; worker B, which gets its partitions, would take what stands before it for
    everything. So that transaction is waited for, at most its timeout (10 s).
    Raises KafkaException, KafkaUnavailable.
    """
    if not starts:
        return
    ends = high_watermarks(backbone, starts)
    # An offset that is not known is 0, not OFFSET_INVALID: librdkafka would ask for it, and again
    # only after 500 ms.
    ranges = {
        (at.topic, at.partition): range(max(0, at.offset), ends[at.topic, at.partition])
        for at in starts
    }
    if any(ranges.values()):  # a consumer costs a connection to each broker
        with closing(consumer(backbone, group, eof=True)) as client:
            yield from records(client, ranges)


def read_all(backbone: Backbone, topic: str) -> list[Message]:
    """The committed records of a one-partition topic; none if there is no such topic.

    Raises KafkaUnavailable if it cannot be read to its end, KafkaForbidden if it may not be seen.
    """
    if topic not in existing_topics(admin(backbone), expected=[topic]):
        return []
    begin = TopicPartition(topic, 0, 0)
    try:
        return list(records_to_end(low_latency(backbone), topic, [begin]))
    except KafkaException as failure:
        raise unavailable(
            f"topic {topic!r} could not be read", failure, topic=topic, group=topic
        ) from failure


def last_record(backbone: Backbone, topic: str, group: str) -> Message | None:
    """The newest committed record of a one-partition topic, or None.

    Reads backwards in growing steps, since transaction markers take up offsets too.
    """
    with closing(consumer(backbone, group, eof=True)) as client:
        low, high = client.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        start, step = high, 50
        while start > low:
            start = max(low, high - step)
            newest = None
            for message in records(client, {(topic, 0): range(start, high)}):
                newest = message
            if newest is not None:
                return newest
            step *= 8
        return None


def watermarks(client: Consumer, partition: Partition) -> range:
    """The offsets that a partition holds now, also those of transaction markers. Waits for a
    leader: just after a topic was created its partitions may have none. Raises KafkaException."""
    # The client itself says "unknown partition" as long as its metadata are older than the topic.
    passing = (*NOT_LED_YET, KafkaError._UNKNOWN_PARTITION)
    deadline = time.monotonic() + LEADERLESS
    while True:
        try:
            return range(*client.get_watermark_offsets(TopicPartition(*partition), timeout=30))
        except KafkaException as failure:
            if failure.args[0].code() not in passing or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def high_watermarks(
    backbone: Backbone, partitions: Sequence[TopicPartition]
) -> dict[Partition, int]:
    """The end of each partition, transactions that are still open included. Waits for leaders.
    Raises KafkaException, which names the partition."""
    deadline = time.monotonic() + LEADERLESS
    while True:
        # One client would do, but for what it remembers. Case: two gateways made the same topics at
        # once on a busy machine, and one heard for half a minute that there were none.
        client = admin(backbone)  # without the name there would be no answer
        try:
            return _ends_by(client, partitions, min(deadline, time.monotonic() + RENEWED))
        except KafkaException as failure:
            if not _passes(failure) or time.monotonic() > deadline:
                raise


def _ends_by(
    client: AdminClient, partitions: Sequence[TopicPartition], until: float
) -> dict[Partition, int]:
    while True:
        try:
            return _ends(client, partitions)
        except KafkaException as failure:
            if not _passes(failure) or time.monotonic() > until:
                raise
        time.sleep(0.1)


def _passes(failure: KafkaException) -> bool:
    # The client itself says "no leaders found" where it knows none of the partitions yet.
    return failure.args[0].code() in (*NOT_LED_YET, KafkaError._NOENT)


def _ends(client: AdminClient, partitions: Sequence[TopicPartition]) -> dict[Partition, int]:
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(p.topic, p.partition): latest for p in partitions}
    answers = client.list_offsets(
        asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=30
    )
    return {(p.topic, p.partition): _end(p, answer) for p, answer in answers.items()}


def _end(partition: TopicPartition, answer: Future[Any]) -> int:
    try:
        return int(answer.result().offset)
    except KafkaException as failure:
        error = failure.args[0]
        where = f"{partition.topic}/{partition.partition}"
        raise KafkaException(KafkaError(error.code(), f"{where}: {error.str()}")) from failure
