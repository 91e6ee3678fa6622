"""Where the routing of a flow begins in topics that were there before it (``start=``).

It is chosen once, when the flow is first started, and committed at once. Whoever starts without a
committed offset must know whether this is that first start, or a partition that was added later,
whose events all came after it. Two workers that start together have a half of the partitions each:
the one must not take the other's commits for an earlier start. So the first to choose writes into
the control topic how many partitions there are, and when that was, before it commits anything; and
everybody looks at the commits first, and at that record then. Should it die in between, the next
one begins where it would have: nothing that came meanwhile is left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from trunkline.kafka.offsets import checked
from trunkline.streams.control.records import StartKey
from trunkline.streams.flow.start import Start
from trunkline.times import iso, parse_moment

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds that Kafka may take for an answer; then the assignment is tried again."""

_Value = Mapping[str, Any]


class FirstStart:
    """Commits where routing begins. ``starts``: by topic, of those that do not begin with all there
    is. ``read``: the state of the control topic; ``write``: a record of it. Both block.

    For the poll loop's thread.
    """

    def __init__(
        self,
        starts: Mapping[str, Start],
        read: Callable[[], Mapping[str, _Value]],
        write: Callable[[str, _Value], None],
    ) -> None:
        self._starts = starts
        self._read = read
        self._write = write

    def commit(self, consumer: Consumer, assigned: Sequence[TopicPartition]) -> None:
        """Commit where those partitions begin that have no offset yet.

        Raises KafkaException and KafkaUnavailable: call it again then.
        """
        for topic, start in self._starts.items():
            ours = [at.partition for at in assigned if at.topic == topic]
            if ours:
                self._commit_topic(consumer, topic, ours, start)

    def _commit_topic(
        self, consumer: Consumer, topic: str, ours: Sequence[int], start: Start
    ) -> None:
        count = len(consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions)
        # Whom we ask may not know yet of partitions that were added, and that we are given.
        every = [TopicPartition(topic, number) for number in range(max(count, max(ours) + 1))]
        committed = {
            at.partition for at in checked(consumer.committed(every, TIMEOUT)) if at.offset >= 0
        }
        new = [number for number in ours if number not in committed]
        if not new:
            return
        partitions, begun_at = self._first_start(topic, 0 if committed else count)
        if start == "latest" and begun_at is not None:
            start = begun_at
        begins, before = [], 0
        for number in new:
            at = TopicPartition(topic, number)
            low, high = consumer.get_watermark_offsets(at, timeout=TIMEOUT)
            at.offset = _offset(consumer, at, start, low, high) if number < partitions else low
            begins.append(at)
            before += at.offset - low
        checked(consumer.commit(offsets=begins, asynchronous=False) or [])
        log.info(
            "%s: routing begins at %s in %d partitions; up to %d events lie before that and are "
            "not sent, but by a replay",
            *(topic, start, len(new), before),
        )

    def _first_start(self, topic: str, partitions: int) -> tuple[int, datetime | None]:
        """How many partitions the topic had when the flow was first started, and when that was;
        None if it is now, with so many. 0: the flow ran before its topic had a ``start=``, so what
        is new to it is read whole."""
        key = StartKey(topic).text
        if (known := self._read().get(key)) is None:
            self._write(key, {"partitions": partitions, "at": iso(time.time())})
            return partitions, None
        told = known.get("partitions")
        return told if isinstance(told, int) else 0, parse_moment(str(known.get("at")))


def _offset(consumer: Consumer, at: TopicPartition, start: Start, low: int, high: int) -> int:
    if not isinstance(start, datetime):
        return low if start == "earliest" else high
    moment = TopicPartition(at.topic, at.partition, int(start.timestamp() * 1000))
    (found,) = checked(consumer.offsets_for_times([moment], timeout=TIMEOUT))
    return found.offset if found.offset >= 0 else high  # nothing was written since
