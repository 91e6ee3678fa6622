"""The breaker: closed everything passes, open one probe at a time, at the policy's pace."""

from __future__ import annotations

import pytest

from trunkline import Retry
from trunkline.streams.seam_breaker import Breaker


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(Retry("1s", "10s", jitter=0))


def test_closed_everything_passes(breaker: Breaker) -> None:
    assert not breaker.open
    assert all(breaker.admits(now) for now in (0, 0, 0))


def test_open_nothing_passes_until_the_delay_is_over_and_then_one(breaker: Breaker) -> None:
    assert breaker.failed(100) == 1
    assert breaker.open
    assert not breaker.admits(100.9)
    assert breaker.admits(101)
    assert not breaker.admits(102), "the probe is under way"


def test_a_probe_that_succeeds_closes(breaker: Breaker) -> None:
    breaker.failed(100)
    assert breaker.admits(101)
    breaker.succeeded()
    assert not breaker.open
    assert breaker.admits(101)
    assert breaker.failed(200) == 1, "the delays begin anew"


def test_a_probe_that_fails_opens_for_the_next_delay(breaker: Breaker) -> None:
    breaker.failed(100)
    assert breaker.admits(101)
    assert breaker.failed(101) == 10
    assert not breaker.admits(110)
    assert breaker.admits(111)
    assert breaker.failed(111) == 10, "the last delay repeats"


def test_those_under_way_when_it_opens_count_once_and_wait_as_long(breaker: Breaker) -> None:
    assert breaker.failed(100) == 1
    assert breaker.failed(100.25) == 0.75
    assert breaker.failed(105) == 0
    assert breaker.admits(105)


def test_what_the_destination_asks_for_is_the_least(breaker: Breaker) -> None:
    assert breaker.failed(100, after=60) == 60
    assert not breaker.admits(159)
    assert breaker.admits(160)


def test_after_a_cancelled_probe_the_next_may_go(breaker: Breaker) -> None:
    breaker.failed(100)
    assert breaker.admits(101)
    breaker.cancelled()
    assert breaker.open
    assert breaker.admits(101)
