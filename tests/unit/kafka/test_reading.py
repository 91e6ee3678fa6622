"""Reading ranges of partitions: to their last record and not beyond, whatever stands between."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from fake_consumer import FakeConsumer, Log
from trunkline.kafka import KafkaUnavailable, reading
from trunkline.kafka.offsets import Partition
from trunkline.kafka.reading import BoundedRead, poll, records
from trunkline.params import Backbone

BACKBONE = Backbone(bootstrap="nowhere:1", registry="http://nowhere")

ORDERS: Partition = ("orders", 0)
PASSING = KafkaError(KafkaError._TRANSPORT, "the broker is restarted")
FATAL = KafkaError(KafkaError._FATAL, "fenced", fatal=True)


def read(client: FakeConsumer, *spans: range, patience: float = 0.0) -> list[tuple[int, int]]:
    """Partition and offset of each record in these ranges of partitions 0, 1, …"""
    ranges = {("orders", number): span for number, span in enumerate(spans)}
    found = records(cast(Consumer, client), ranges, patience=patience)
    return [(m.partition() or 0, m.offset() or 0) for m in found]


def offsets(messages: list[Message]) -> list[int | None]:
    return [message.offset() for message in messages]


@st.composite
def logs_and_ranges(draw: st.DrawFn) -> tuple[list[Log], list[range]]:
    logs, ranges = [], []
    for _ in range(draw(st.integers(1, 3))):
        first, length = draw(st.integers(0, 5)), draw(st.integers(0, 20))
        high = first + length
        held = draw(st.sets(st.integers(first, high - 1))) if length else set()
        ends = sorted(draw(st.tuples(st.integers(0, high), st.integers(0, high))))
        logs.append(Log(held, high, first))
        ranges.append(range(*ends))
    return logs, ranges


@given(logs_and_ranges(), st.integers(1, 7))
def test_the_records_of_the_ranges_are_read_each_once_and_no_others(
    world: tuple[list[Log], list[range]], most: int
) -> None:
    """Also where a range begins before the log does, or ends with transaction markers."""
    logs, spans = world
    client = FakeConsumer({("orders", n): log for n, log in enumerate(logs)}, most=most)
    expected = [(n, at) for n, log in enumerate(logs) for at in sorted(log.records)]
    assert sorted(read(client, *spans)) == [(n, at) for n, at in expected if at in spans[n]]


def test_nothing_is_asked_of_kafka_for_empty_ranges() -> None:
    client = FakeConsumer({})
    assert read(client, range(3, 3), range(5, 2)) == []
    assert client.polls == 0


def test_a_range_ends_with_its_last_record_without_a_poll_for_the_end() -> None:
    client = FakeConsumer({ORDERS: Log(range(10), 10)})
    assert read(client, range(2, 4)) == [(0, 2), (0, 3)]
    assert client.polls == 2, "one that waits, one for what is here already"


def test_what_an_open_transaction_hides_is_waited_for() -> None:
    log = Log(range(6), 6, stable=4)
    ended = iter([False, True])

    class Ending(FakeConsumer):
        def consume(self, count: int, timeout: float) -> list[Message]:
            found = super().consume(count, timeout)
            if not found and next(ended):
                log.stable = None  # the broker has given the transaction up
            return found

    client = Ending({ORDERS: log})
    assert read(client, range(6), patience=60) == [(0, at) for at in range(6)]


def test_reading_gives_up_when_kafka_is_silent_and_tells_why() -> None:
    client = FakeConsumer({ORDERS: Log(range(6), 6, stable=4)}, troubles=[PASSING])
    with pytest.raises(KafkaUnavailable, match=r"^orders could not .*: the broker is restarted; "):
        read(client, range(6))
    with pytest.raises(KafkaUnavailable, match="Kafka does not answer"):
        read(FakeConsumer({ORDERS: Log(range(6), 6, stable=4)}), range(6))


def test_a_record_that_takes_long_to_deal_with_is_no_silence() -> None:
    client = FakeConsumer({ORDERS: Log(range(6), 6)}, most=1)
    found = records(cast(Consumer, client), {ORDERS: range(6)}, patience=0.0)
    assert offsets(list(found)) == [0, 1, 2, 3, 4, 5]


def test_an_error_that_passes_is_logged_and_a_fatal_one_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeConsumer({ORDERS: Log(range(1), 1)}, troubles=[PASSING])
    client.assign([TopicPartition(*ORDERS, 0)])
    found = poll(cast(Consumer, client), 10, 0.0)
    assert found.trouble == "the broker is restarted"
    assert offsets(found.arrived) == [0]
    assert "the broker is restarted" in caplog.text
    with pytest.raises(KafkaException, match="fenced"):
        read(FakeConsumer({ORDERS: Log((), 9)}, troubles=[FATAL]), range(9))


def test_a_range_of_a_topic_that_was_cut_ends_with_it_if_that_is_asked_for() -> None:
    """The topic was made anew with two records; the range is of the old one."""
    cut = FakeConsumer({ORDERS: Log(range(2), 2)})
    bounded = BoundedRead(cast(Consumer, cut), {ORDERS: range(5, 8)}, cut=True)
    found = [message for _ in range(3) for message in bounded.read()[0]]
    assert (found, bounded.ended, bounded.next) == ([], True, {ORDERS: 8})
    whole = BoundedRead(cast(Consumer, cut), {ORDERS: range(5, 8)})
    assert [whole.read() for _ in range(3)][-1] == ([], False)
    assert not whole.ended


def test_what_a_transaction_hides_is_no_cut() -> None:
    log = Log(range(4), 6, stable=4)
    bounded = BoundedRead(
        cast(Consumer, FakeConsumer({ORDERS: log})), {ORDERS: range(2, 6)}, cut=True
    )
    assert [offsets(bounded.read()[0]) for _ in range(2)] == [[2, 3], []]
    assert (bounded.ended, bounded.next) == (False, {ORDERS: 4})
    log.stable = None  # it was aborted: there are only markers
    bounded.read()
    assert (bounded.ended, bounded.next) == (True, {ORDERS: 6})


@pytest.mark.parametrize(
    ("held", "newest"),
    [((), None), ({0}, 0), ({3, 70}, 70), ({7}, 7), ({999}, 999)],
)
def test_the_last_record_is_found_behind_any_number_of_markers(
    held: set[int], newest: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakeConsumer({("positions", 0): Log(held, 1000 if held else 0)})
    monkeypatch.setattr(reading, "consumer", lambda *_, **__: client)
    found = reading.last_record(BACKBONE, "positions", "group")
    assert (found.offset() if found else None) == newest
    assert client.closed


class Broker:
    """Answers ``list_offsets``: with each of ``errors`` once, then with offset 0."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[Any, Future[Any]]:
        answer: Future[Any] = Future()
        if self._errors:
            answer.set_exception(KafkaException(KafkaError(self._errors.pop(0))))
        else:
            answer.set_result(SimpleNamespace(offset=0))
        return dict.fromkeys(asked, answer)


def rest(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> list[Any]:
    monkeypatch.setattr(reading, "admin", lambda backbone: broker)
    return list(reading.records_to_end(BACKBONE, "group", [TopicPartition("new", 0, 0)]))


def test_a_new_topic_without_a_leader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART
    assert rest(monkeypatch, Broker(*waits)) == []


def test_any_other_error_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KafkaException, match="AUTHORIZATION"):
        rest(monkeypatch, Broker(KafkaError.TOPIC_AUTHORIZATION_FAILED))


def test_a_leader_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LEADERLESS", -1.0)
    with pytest.raises(KafkaException):
        rest(monkeypatch, Broker(KafkaError.LEADER_NOT_AVAILABLE))


@pytest.mark.parametrize(
    "code", [KafkaError.LEADER_NOT_AVAILABLE, KafkaError._UNKNOWN_PARTITION], ids=str
)
def test_a_topic_that_was_just_made_is_waited_for(code: int) -> None:
    client = _Young(code, until=2)
    assert reading.watermarks(cast(Consumer, client), ("new", 0)) == range(3, 7)
    assert client.asked == 3


def test_a_broker_that_is_away_is_told_at_once() -> None:
    client = _Young(KafkaError._TRANSPORT, until=2)
    with pytest.raises(KafkaException):
        reading.watermarks(cast(Consumer, client), ("new", 0))
    assert client.asked == 1


class _Young:
    """A consumer that knows of a topic only after it was asked ``until`` times in vain."""

    def __init__(self, code: int, until: int) -> None:
        self.asked = 0
        self._code = code
        self._until = until

    def get_watermark_offsets(self, at: TopicPartition, timeout: float) -> tuple[int, int]:
        self.asked += 1
        if self.asked <= self._until:
            raise KafkaException(KafkaError(self._code))
        return 3, 7
