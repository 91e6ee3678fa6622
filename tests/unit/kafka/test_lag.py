"""How many messages nobody has read: of what is due, once a second."""

from __future__ import annotations

from typing import cast

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition

from fake_consumer import FakeConsumer, Log
from trunkline.kafka.lag import LagMeter
from trunkline.kafka.offsets import Partition

INBOX: Partition = ("erp.inbox", 0)
TIER: Partition = ("erp.retry.10s", 0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client() -> FakeConsumer:
    made = FakeConsumer({INBOX: Log(range(10), 10), TIER: Log(range(7), 7, stable=5)})
    made.assign([TopicPartition(*INBOX, 4), TopicPartition(*TIER, 2)])
    return made


def test_it_is_what_stands_between_the_position_and_the_end(client: FakeConsumer) -> None:
    meter = LagMeter(Clock())
    assert meter.lag == 0
    meter.measure(cast(Consumer, client), ())
    assert meter.lag == 6 + 5


def test_a_partition_of_which_nothing_is_due_is_not_late(client: FakeConsumer) -> None:
    meter = LagMeter(Clock())
    meter.measure(cast(Consumer, client), {TIER})
    assert meter.lag == 6


def test_it_is_counted_once_a_second(client: FakeConsumer) -> None:
    clock = Clock()
    meter = LagMeter(clock)
    meter.measure(cast(Consumer, client), ())
    client.assign([TopicPartition(*INBOX, 9)])
    clock.now += 0.9
    meter.measure(cast(Consumer, client), ())
    assert meter.lag == 11
    clock.now += 0.1
    meter.measure(cast(Consumer, client), ())
    assert meter.lag == 1


def test_a_partition_of_which_nothing_is_known_yet_does_not_count(client: FakeConsumer) -> None:
    client.assign([TopicPartition(*INBOX, OFFSET_INVALID), TopicPartition(*TIER, 9)])
    meter = LagMeter(Clock())
    meter.measure(cast(Consumer, client), ())
    assert meter.lag == 0, "nor is a position behind the last known end less than none"


def test_a_paused_partition_is_counted_to_its_true_end(client: FakeConsumer) -> None:
    """Nothing is fetched of it, so what the client knows of its end stands still."""
    clock = Clock()
    meter = LagMeter(clock)
    meter.measure(cast(Consumer, client), (), {INBOX})
    assert meter.lag == 6 + 5
    client.logs[INBOX].high = 50
    clock.now += 1.0
    meter.measure(cast(Consumer, client), (), {INBOX})
    assert meter.lag == 6 + 5, "each question is a request: not every second"
    clock.now += 5.0
    meter.measure(cast(Consumer, client), (), {INBOX})
    assert meter.lag == 46 + 5
