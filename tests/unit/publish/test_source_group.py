"""A worker's membership in the group that shares a flow's sources, without Kafka."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from source_step_kit import Numbers, Running, eventually
from trunkline.streams.publish import source_group
from trunkline.streams.publish.source_group import SourceGroup


class Group:
    """A consumer: notes what is assigned and paused."""

    def __init__(self) -> None:
        self.assigned: list[str] = []
        self.paused: list[str] = []

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned += [at.topic for at in partitions]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused += [at.topic for at in partitions]


class Owned:
    """A source that says what it was told; one that is ``slow`` does not end."""

    def __init__(self, name: str, told: list[str], *, slow: bool = False) -> None:
        self.name, self._told, self._slow = name, told, slow

    def acquire(self) -> None:
        self._told.append(f"+{self.name}")

    def release(self) -> None:
        self._told.append(f"-{self.name}")

    def wait_released(self, timeout: float) -> bool:
        self._told.append(f"={self.name}")
        return not self._slow


def group_of(told: list[str], **slow: bool) -> SourceGroup:
    group = SourceGroup("f.sources", lambda: cast(Any, None))
    for name, is_slow in slow.items():
        group.add(f"f.{name}.positions", Owned(name, told, slow=is_slow))
    return group


def at(*names: str, partition: int = 0) -> list[TopicPartition]:
    return [TopicPartition(f"f.{name}.positions", partition) for name in names]


def test_what_is_assigned_runs_and_is_not_read() -> None:
    told: list[str] = []
    consumer = Group()
    group = group_of(told, a=False, b=False)
    group._assigned(cast(Consumer, consumer), at("b"))
    assert told == ["+b"]
    assert consumer.assigned == consumer.paused == ["f.b.positions"]
    assert group.ready


def test_a_second_partition_of_a_position_counts_for_nothing() -> None:
    told: list[str] = []
    group = group_of(told, a=False)
    group._assigned(cast(Consumer, Group()), at("a", partition=1))
    group._revoked(cast(Consumer, Group()), at("a", partition=1))
    assert told == []


def test_all_that_go_begin_to_stop_before_one_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    group = group_of(told, a=True, b=False)
    group._revoked(cast(Consumer, Group()), at("a", "b"))
    assert told == ["-a", "-b", "=a", "=b"]
    (warned,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warned.startswith("source a has not ended within 10 s")


def test_a_group_that_fails_stops_what_it_ran() -> None:
    told: list[str] = []

    def broken() -> Consumer:
        raise RuntimeError("no consumer")

    group = SourceGroup("f.sources", broken)
    group.add("f.a.positions", Owned("a", told))
    group.start()
    eventually(lambda: isinstance(group.failure, RuntimeError))
    asyncio.run(group.stop())
    assert told == ["-a", "=a"]


def test_a_source_that_did_not_end_goes_on_where_it_is_when_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its system has not answered for longer than a group waits. It is read by one thread."""
    monkeypatch.setattr(source_group, "RELEASE_TIMEOUT", 0.01)
    running = Running(Numbers([1]))
    step = running.step
    with running:
        assert running.source.waits.wait(5)
        thread = step._thread
        with step._ending:  # so that it cannot end
            step.release()
            assert not step.wait_released(0.01)
            step._owned = True
        step.acquire()
        assert step._thread is thread
        eventually(lambda: len(running.source.read_from) == 2)
    assert running.source.read_from == [None, 1]
