"""Slow start: what is under way doubles with each round trip, not faster than a clock allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.admission.gate import NEVER
from trunkline.streams.admission.slow_start import DOUBLINGS, SlowStart


def test_it_begins_with_one_event() -> None:
    assert SlowStart(100, 10).allowed(100) == 1


def test_each_event_that_is_accepted_allows_one_more() -> None:
    start = SlowStart(100, 10)
    start.succeeded(1)
    start.succeeded(2)
    assert start.allowed(109) == 3


def test_the_clock_holds_back_who_answers_fast() -> None:
    start = SlowStart(100, 10)
    start.succeeded(1_000_000)
    assert [start.allowed(100 + second) for second in range(DOUBLINGS)] == [
        2**second for second in range(DOUBLINGS)
    ]
    assert start.allowed(110) == 1_000_000


def test_a_failure_halves_what_was_earned_and_leaves_one() -> None:
    start = SlowStart(100, 10)
    start.succeeded(64)
    start.failed()
    assert start.allowed(109) == 32
    for _ in range(10):
        start.failed()
    assert start.allowed(109) == 1


def test_who_waits_for_the_clock_is_told_until_when() -> None:
    start = SlowStart(100, 10)
    start.succeeded(3)
    assert start.grows_at(100) == pytest.approx(101, abs=0.01)
    assert start.allowed(start.grows_at(100)) == 2


def test_who_waits_for_an_answer_is_told_that_only_that_helps() -> None:
    assert SlowStart(100, 10).grows_at(100) == NEVER
    assert SlowStart(100, 10).grows_at(200) == NEVER


@given(earned=st.integers(2, 2000), elapsed=st.floats(0, 10), length=st.floats(0.1, 600))
def test_at_the_moment_that_it_names_more_is_allowed(
    earned: int, elapsed: float, length: float
) -> None:
    start, now = SlowStart(100, length), 100 + elapsed / 10 * length
    start.succeeded(earned)
    if (then := start.grows_at(now)) < NEVER:
        assert then > now
        assert start.allowed(then) > start.allowed(now)


def test_it_is_over_when_its_time_is_and_twice_of_what_was_asked_for_is_allowed() -> None:
    start = SlowStart(100, 10)
    start.observe(4)
    start.observe(2)
    start.succeeded(8)
    assert not start.full(110), "four were under way: more may be held back"
    start.succeeded(1)
    assert not start.full(109.9)
    assert start.full(110)


def test_without_a_time_the_clock_holds_nothing_back() -> None:
    start = SlowStart(100, 0)
    start.succeeded(1)
    assert start.full(100)
