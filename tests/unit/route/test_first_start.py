"""Where routing begins in a topic with a history: chosen once, whoever dies or starts beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from trunkline.kafka import KafkaUnavailable
from trunkline.streams.flow.start import Start
from trunkline.streams.route.first_start import FirstStart

TOPIC = "orders"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Kafka:
    """One topic: the times at which each partition's events were written, one an hour; what a group
    committed; a control topic. As much of a consumer as is asked here. ``unknown``: how many of the
    partitions its metadata lack yet."""

    def __init__(self, *lengths: int) -> None:
        self.events = [[NOON.timestamp() + 3600 * n for n in range(length)] for length in lengths]
        self.low = self.unknown = 0
        self.commits: dict[int, int] = {}
        self.control: dict[str, Mapping[str, Any]] = {}
        self.failures: list[str] = []

    def _may_fail(self, what: str) -> None:
        if what in self.failures:
            self.failures.remove(what)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def list_topics(self, topic: str, timeout: float) -> Any:
        partitions = dict.fromkeys(range(len(self.events) - self.unknown))
        return type("T", (), {"topics": {topic: type("P", (), {"partitions": partitions})}})

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(at.topic, at.partition, self.commits.get(at.partition, -1001))
            for at in partitions
        ]

    def get_watermark_offsets(self, at: TopicPartition, timeout: float) -> tuple[int, int]:
        return self.low, len(self.events[at.partition])

    def offsets_for_times(self, asked: list[TopicPartition], timeout: float) -> Any:
        (at,) = asked
        later = [n for n, t in enumerate(self.events[at.partition]) if t * 1000 >= at.offset]
        return [TopicPartition(at.topic, at.partition, later[0] if later else -1)]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> Any:
        self._may_fail("commit")
        self.commits |= {at.partition: at.offset for at in offsets}
        return offsets

    def write(self, key: str, value: Mapping[str, Any]) -> None:
        if "write" in self.failures:
            self.failures.remove("write")
            raise KafkaUnavailable("away")
        self.control[key] = value

    def start(self, start: Start, *partitions: int) -> None:
        """A worker is assigned these."""
        first = FirstStart({TOPIC: start}, lambda: self.control, self.write)
        assigned = [TopicPartition(TOPIC, number) for number in partitions]
        first.commit(cast(Consumer, self), [*assigned, TopicPartition("other", 0)])


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("latest", {0: 5, 1: 0, 2: 9}),
        (datetime(2026, 11, 1, 14, tzinfo=UTC), {0: 2, 1: 0, 2: 2}),
        (datetime(2026, 11, 1, 19, 30, tzinfo=UTC), {0: 5, 1: 0, 2: 8}),
        (datetime(2020, 1, 1, tzinfo=UTC), {0: 0, 1: 0, 2: 0}),
    ],
)
def test_it_is_committed_where_it_begins_and_never_chosen_again(
    start: Start, expected: dict[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kafka = Kafka(5, 0, 9)
    kafka.start(start, 0, 1, 2)
    assert kafka.commits == expected
    assert f"up to {sum(expected.values())} events lie before that" in caplog.text
    for events in kafka.events:
        events += [NOON.timestamp() + 86400] * 3
    kafka.start("latest", 0, 1, 2)
    assert kafka.commits == expected


def test_what_the_topic_has_forgotten_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kafka = Kafka(9)
    kafka.low = 4
    kafka.start("latest", 0)
    assert "up to 5 events" in caplog.text


def test_workers_that_start_together_choose_the_same() -> None:
    """The second finds commits of the first, and knows that its own half is no later addition."""
    kafka = Kafka(5, 5)
    start = datetime(2026, 11, 1, 14, tzinfo=UTC)
    kafka.start(start, 0)
    kafka.start(start, 1)
    assert kafka.commits == {0: 2, 1: 2}


def test_partitions_that_are_added_later_are_read_from_their_beginning() -> None:
    kafka = Kafka(5, 5)
    kafka.start("latest", 0, 1)
    kafka.events.append([NOON.timestamp()] * 7)
    kafka.start("latest", 1, 2)
    assert kafka.commits == {0: 5, 1: 5, 2: 0}


def test_a_partition_that_is_ours_and_that_the_broker_does_not_know_yet_goes_on() -> None:
    kafka = Kafka(5, 5, 7)
    kafka.commits = {0: 5, 1: 5, 2: 6}
    kafka.unknown = 1
    kafka.start("latest", 1, 2)
    assert kafka.commits == {0: 5, 1: 5, 2: 6}


def test_a_flow_that_ran_without_a_start_reads_the_rest_whole() -> None:
    kafka = Kafka(5, 5)
    kafka.commits[0] = 3
    kafka.start("latest", 0, 1)
    assert kafka.commits == {0: 3, 1: 0}
    kafka.events.append([NOON.timestamp()] * 7)
    kafka.start("latest", 2)
    assert kafka.commits == {0: 3, 1: 0, 2: 0}


def test_what_comes_between_a_death_and_the_next_start_is_not_left_out() -> None:
    """The first worker dies before it could commit. "Latest" is what was the latest to it."""
    kafka = Kafka(5)
    kafka.failures = ["commit"]
    with pytest.raises(KafkaException):
        kafka.start("latest", 0)
    begun = datetime.fromisoformat(cast(str, kafka.control[f"start/{TOPIC}"]["at"]))
    kafka.events[0] = [begun.timestamp() - 60] * 5 + [begun.timestamp() + 60] * 2
    kafka.start("latest", 0)
    assert kafka.commits == {0: 5}


def test_nothing_is_committed_before_everybody_can_know() -> None:
    kafka = Kafka(5)
    kafka.failures = ["write"]
    with pytest.raises(KafkaUnavailable):
        kafka.start("latest", 0)
    assert kafka.commits == {}
    kafka.start("latest", 0)
    assert kafka.commits == {0: 5}
