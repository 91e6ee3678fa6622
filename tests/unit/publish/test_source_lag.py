"""How late a source is, on a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trunkline import Record
from trunkline.connectors.base import Batch
from trunkline.streams.publish.source_lag import SETTLED, SILENT, SourceLag


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lag(clock: Clock) -> SourceLag:
    return SourceLag(clock)


def batch(age: float, clock: Clock, *, current: bool = True) -> Batch:
    time = datetime.fromtimestamp(clock.now - age, UTC)
    return Batch([Record(key="1", data={}, time=time)], {}, current)


def test_a_change_that_waited_is_late_for_a_moment(lag: SourceLag, clock: Clock) -> None:
    """Not until the next change comes, which may be on Monday."""
    late = batch(30, clock)
    lag.begun()
    lag.read(late)
    clock.now += 1
    assert lag.seconds() == 31
    lag.settled(late)
    assert lag.seconds() == 31
    clock.now += SETTLED
    assert lag.seconds() == 0


def test_it_counts_on_while_the_source_fails(lag: SourceLag, clock: Clock) -> None:
    lag.begun()
    lag.settled(Batch([], {}))
    clock.now += 1000
    assert (lag.seconds(), lag.held) == (0, False)
    for _ in range(3):
        lag.failed()
        clock.now += 20
        lag.begun()
    assert (lag.seconds(), lag.held) == (60, True)
    lag.settled(Batch([], {}))
    clock.now += SETTLED
    assert (lag.seconds(), lag.held) == (0, False)


def test_a_start_that_gives_nothing(lag: SourceLag, clock: Clock) -> None:
    """As a slot that waits for somebody's transaction."""
    lag.begun()
    clock.now += SILENT
    assert (lag.seconds(), lag.held) == (SILENT, False)
    clock.now += 1
    assert (lag.seconds(), lag.held) == (SILENT + 1, True)


def test_a_snapshot_is_late_until_it_stands_at_the_end(lag: SourceLag, clock: Clock) -> None:
    lag.begun()
    for _ in range(3):
        clock.now += 100
        rows = batch(50, clock, current=False)
        lag.read(rows)
        lag.settled(rows)
    clock.now += 10
    assert (lag.seconds(), lag.held) == (60, False)
    lag.settled(Batch([], {}))
    clock.now += SETTLED
    assert lag.seconds() == 0


def test_a_batch_that_cannot_be_published_waits(lag: SourceLag, clock: Clock) -> None:
    lag.begun()
    lag.settled(Batch([], {}))
    lag.read(batch(0, clock))
    clock.now += 77
    assert lag.seconds() == 77


def test_a_source_that_is_anothers_is_not_late(lag: SourceLag, clock: Clock) -> None:
    lag.begun()
    lag.failed()
    clock.now += 100
    lag.ended()
    assert (lag.seconds(), lag.held) == (0, False)


def test_a_clock_of_the_system_that_is_ahead(lag: SourceLag, clock: Clock) -> None:
    lag.begun()
    lag.read(batch(-50, clock))
    assert lag.seconds() == 0
