"""What holds a poll loop back: too much under way, or messages that are not due yet."""

from __future__ import annotations

import threading
from typing import cast

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from fake_consumer import FakeConsumer, Log
from trunkline.kafka import backpressure
from trunkline.kafka.backpressure import InFlight, PausedPartitions
from trunkline.kafka.offsets import Partition

INBOX: Partition = ("erp.inbox", 0)
TIER: Partition = ("erp.retry.10s", 0)


def messages(count: int, *, partition: Partition = INBOX, first: int = 0) -> list[Message]:
    topic, number = partition
    return [
        Message(topic=topic, partition=number, offset=at, key=b"k", value=b"v", timestamp=(1, at))
        for at in range(first, first + count)
    ]


def test_there_is_room_until_the_limit_is_reached() -> None:
    under_way = InFlight(3)
    for _ in range(2):
        assert under_way.wait_for_room(0)
        under_way.received(messages(2))
    assert not under_way.wait_for_room(0)
    under_way.finished(1, under_way.epoch)
    assert not under_way.wait_for_room(0)
    under_way.finished(1, under_way.epoch)
    assert under_way.wait_for_room(0)


def test_a_full_room_is_read_into_again_when_a_quarter_of_it_is_free() -> None:
    """A slow destination keeps it full: one message more for each that is done with would be a
    batch, and a change of threads, for each."""
    under_way = InFlight(100)
    epoch = under_way.received(messages(100))
    assert epoch is not None
    under_way.finished(24, epoch)
    assert not under_way.wait_for_room(0)
    under_way.received(messages(1, first=100))  # a poll that only keeps the consumer alive
    under_way.finished(1, epoch)
    assert not under_way.wait_for_room(0)
    under_way.finished(1, epoch)
    assert under_way.wait_for_room(0)


def test_batches_are_limited_beside_messages() -> None:
    under_way = InFlight(100, max_batches=1)
    epoch = under_way.received(messages(2))
    assert epoch == under_way.epoch
    assert not under_way.wait_for_room(0)
    under_way.finished(2, epoch)
    assert not under_way.wait_for_room(0), "its commit is still under way"
    under_way.finished(0, epoch, batches=1)
    assert under_way.wait_for_room(0)


def test_a_held_partition_takes_no_room_from_others_and_is_forgotten_with_the_epoch() -> None:
    under_way = InFlight(3)
    under_way.hold(frozenset({INBOX}), under_way.epoch)
    assert under_way.held == {INBOX}
    assert under_way.wait_for_room(0)
    under_way.begin_epoch()
    assert under_way.held == frozenset()
    under_way.hold(frozenset({INBOX}), under_way.epoch - 1)
    assert under_way.held == frozenset(), "it is of partitions that another may have by now"


def test_a_held_partition_is_paused_until_it_is_let_go_and_something_of_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(backpressure.time, "time", lambda: now[0])
    client = FakeConsumer({INBOX: Log((), 0), TIER: Log((), 0)})
    consumer = cast(Consumer, client)
    client.assign([TopicPartition(*INBOX, 0), TopicPartition(*TIER, 0)])
    paused = PausedPartitions(lambda m: 105.0)
    paused.pause(consumer, messages(2, partition=TIER))
    paused.hold(consumer, frozenset({INBOX, TIER}))
    assert client.paused == {INBOX, TIER}
    now[0] = 106.0
    paused.resume(consumer)
    assert client.paused == {INBOX, TIER}, "it is due, and held all the same"
    paused.pause(consumer, messages(2, partition=TIER))
    paused.hold(consumer, frozenset())
    assert client.paused == set()


def test_what_an_older_epoch_finishes_counts_no_more() -> None:
    under_way = InFlight(3)
    before = under_way.received(messages(3))
    assert before is not None
    under_way.begin_epoch()
    assert under_way.wait_idle(0)
    under_way.received(messages(3))
    under_way.finished(3, before, batches=1)
    assert not under_way.wait_idle(0)
    assert not under_way.wait_for_room(0)


def test_what_is_read_before_a_rewind_is_done_is_dropped() -> None:
    under_way = InFlight(3)
    under_way.begin_epoch(rewinding=True)
    assert under_way.received(messages(1)) is None
    assert under_way.wait_idle(0)
    under_way.rewinding = False
    assert under_way.received(messages(1)) == under_way.epoch


def test_whoever_waits_goes_on_when_there_is_room_or_nothing_left_to_do() -> None:
    under_way = InFlight(1)
    epoch = under_way.received(messages(1))
    threading.Timer(0.01, under_way.finished, [1, epoch]).start()
    assert under_way.wait_for_room(30)
    assert under_way.wait_idle(30)
    under_way.received(messages(1))
    threading.Timer(0.01, under_way.close).start()
    assert under_way.wait_closed(30)
    assert under_way.wait_for_room(0), "for a thread that is to end"


def test_the_age_is_that_of_the_batch_that_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure.time, "time", lambda: 100.0)
    under_way = InFlight(100)
    assert under_way.oldest_age() == 0
    under_way.received(messages(2, first=97_000))
    under_way.received(messages(1, first=99_000))
    assert under_way.oldest_age() == 3.0
    under_way.finished(2, under_way.epoch)
    assert under_way.oldest_age() == 3.0
    under_way.finished(1, under_way.epoch)
    assert under_way.oldest_age() == 0
    under_way.received(messages(1, first=200_000))
    assert under_way.oldest_age() == 0, "another machine's clock is ahead"


def test_a_partition_is_paused_until_its_next_message_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(backpressure.time, "time", lambda: now[0])
    client = FakeConsumer({INBOX: Log((), 0), TIER: Log((), 0)})
    consumer = cast(Consumer, client)
    client.assign([TopicPartition(*INBOX, 0), TopicPartition(*TIER, 0)])
    due = {"erp.inbox": 0.0, "erp.retry.10s": 105.0}
    paused = PausedPartitions(lambda m: due[m.topic() or ""] + (m.offset() or 0))
    paused.pause(consumer, [*messages(2), *messages(2, partition=TIER)])
    assert paused.until == {TIER: 106.0}, "what was read last counts"
    assert client.paused == {TIER}
    now[0] = 105.9
    paused.resume(consumer)
    assert client.paused == {TIER}
    now[0] = 106.0
    paused.resume(consumer)
    assert (client.paused, paused.until) == (set(), {})


def test_where_nothing_waits_nothing_is_paused() -> None:
    paused = PausedPartitions(None)
    paused.pause(cast(Consumer, None), messages(2))
    paused.resume(cast(Consumer, None))
    assert paused.until == {}


def test_what_is_to_be_read_through_is_not_paused_and_what_is_behind_is() -> None:
    client = FakeConsumer({TIER: Log((), 0)})
    consumer = cast(Consumer, client)
    client.assign([TopicPartition(*TIER, 0)])
    paused = PausedPartitions(lambda m: float("inf"))
    paused.pause(consumer, messages(2, partition=TIER))
    assert client.paused == {TIER}
    paused.through = {TIER: 5}
    paused.resume(consumer)
    assert client.paused == set()
    paused.pause(consumer, messages(1, partition=TIER, first=3))
    assert client.paused == set()
    paused.pause(consumer, messages(1, partition=TIER, first=4))
    assert client.paused == {TIER}
    paused.resume(consumer)
    assert client.paused == {TIER}, "the end that was wanted is reached"
