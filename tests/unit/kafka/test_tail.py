"""Following a topic: what has arrived, and when everything has been read that was there."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from fake_consumer import FakeConsumer, Log
from trunkline import kafka
from trunkline.kafka.tail import Tail
from trunkline.params import Backbone


@pytest.fixture
def log() -> Log:
    return Log([0, 1, 2, 4], 6)


@pytest.fixture
def client(log: Log, monkeypatch: pytest.MonkeyPatch) -> FakeConsumer:
    made = FakeConsumer({("f.control", 0): log}, most=1)
    monkeypatch.setattr(kafka, "consumer", lambda backbone, group, **more: made)
    return made


@pytest.fixture
def tail(client: FakeConsumer) -> Tail:
    del client
    return Tail(Backbone(), "f.control")


def read(tail: Tail) -> list[int | None]:
    return [message.offset() for message in tail.read(0.0)]


def test_it_is_complete_at_the_end_and_reads_on(tail: Tail, log: Log) -> None:
    assert (read(tail), tail.complete, tail.next) == ([0, 1], False, 2)
    assert (read(tail), tail.complete, tail.next) == ([2, 4], False, 5)
    assert (read(tail), tail.complete, tail.next) == ([], True, 6), "behind it is a marker"
    log.records, log.high = [*log.records, 6], 7
    assert (read(tail), tail.complete, tail.next) == ([6], True, 7)


def test_an_end_that_an_open_transaction_makes_is_none(tail: Tail, log: Log) -> None:
    log.stable = 2
    assert [read(tail) for _ in range(3)] == [[0, 1], [], []]
    assert not tail.complete
    log.stable = None
    assert [read(tail) for _ in range(3)] == [[2, 4], [], []]
    assert tail.complete


def test_what_comes_while_it_reads_is_not_waited_for(tail: Tail, log: Log) -> None:
    read(tail)
    log.records, log.high, log.stable = [*log.records, 6], 7, 6
    read(tail)
    read(tail)
    assert (tail.complete, tail.next) == (True, 6)


def test_an_empty_topic_is_complete_when_kafka_says_so(tail: Tail, log: Log) -> None:
    log.records, log.high = [], 0
    assert not tail.complete
    assert (read(tail), tail.complete) == ([], True)


def test_it_begins_where_it_is_told(client: FakeConsumer) -> None:
    del client
    tail = Tail(Backbone(), "f.control", 2)
    assert (tail.next, read(tail)) == (2, [2, 4])


def test_a_broker_that_goes_away_is_waited_for(
    tail: Tail, client: FakeConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    client.troubles = [KafkaError(KafkaError._TRANSPORT, "the broker is restarted")]
    found: list[Any] = [read(tail), read(tail)]
    assert found == [[0], [1, 2]]
    assert "the broker is restarted" in caplog.text


def test_it_releases_its_connections(tail: Tail, client: FakeConsumer) -> None:
    tail.close()
    assert client.closed
