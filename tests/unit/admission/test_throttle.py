"""What a 429 does to those that come after it."""

from __future__ import annotations

import pytest

from trunkline.errors import PartialFailure, Rejected, Retryable, Unavailable
from trunkline.streams.admission.gate import UNLIMITED
from trunkline.streams.admission.throttle import FIRST_PAUSE, AdaptiveThrottle, pauses_of

TOO_MANY = Retryable("slow down", status=429)


def busy() -> AdaptiveThrottle:
    """It has sent a hundred events a second until 10."""
    throttle = AdaptiveThrottle()
    for step in range(1000):
        throttle.acquire(step / 100, 1).finish(step / 100, 1, None)
    return throttle


def sent_between(throttle: AdaptiveThrottle, start: float, end: float) -> int:
    """How many it lets through, asked a hundred times a second."""
    count = 0
    for step in range(int((end - start) * 100)):
        room = min(1000, throttle.permits(start + step / 100))
        throttle.acquire(start + step / 100, room)
        count += room
    return count


def refuse(throttle: AdaptiveThrottle, now: float, failure: Exception = TOO_MANY) -> None:
    """Three 429s at once: no longer isolated ones."""
    throttle.finish(now, 3, failure)


@pytest.mark.parametrize(
    ("failure", "pauses"),
    [
        (TOO_MANY, [0.0, 0.0]),
        (Retryable("slow down", status=429, after=7.0), [7.0, 7.0]),
        (PartialFailure({0: Rejected("no"), 1: Retryable("slow", status=429, after=2.0)}), [2.0]),
        (PartialFailure({0: Rejected("no")}), []),
        (Retryable("the record is locked", after=60.0), []),  # concerns its event alone
        (Unavailable("down", status=503, after=9.0), []),  # concerns the breaker
        (ValueError("a defect"), []),
        (None, []),
    ],
)
def test_only_a_429_asks_everybody_to_wait(failure: Exception | None, pauses: list[float]) -> None:
    assert pauses_of(failure, 2) == pauses


def test_without_a_429_everything_passes() -> None:
    assert busy().permits(10.0) == UNLIMITED


def test_it_pauses_as_long_as_it_was_asked_to() -> None:
    throttle = busy()
    throttle.finish(10.0, 1, Retryable("slow down", status=429, after=7.0))
    assert throttle.permits(16.9) == 0
    assert throttle.retry_at(12.0) == 17.0


def test_after_the_pause_it_goes_at_half_the_pace_and_recovers() -> None:
    throttle = busy()
    refuse(throttle, 10.0)
    assert sent_between(throttle, 10.0, 10.0 + FIRST_PAUSE) == 0
    assert sent_between(throttle, 11.0, 12.0) == pytest.approx(52, abs=3)
    assert sent_between(throttle, 12.0, 21.0) == pytest.approx(9 * 77, abs=25)
    assert sent_between(throttle, 21.0, 22.0) == pytest.approx(102, abs=5)
    assert throttle.permits(60.0) == UNLIMITED


def test_the_answers_of_one_burst_slow_down_once() -> None:
    throttle = busy()
    for late in range(10):
        refuse(throttle, 10.0 + late / 100)
    assert throttle.retry_at(10.1) == pytest.approx(10.0 + FIRST_PAUSE + 0.09)
    assert sent_between(throttle, 11.1, 12.1) == pytest.approx(52, abs=3)


def test_pauses_grow_while_the_answer_stays_the_same_and_not_for_ever() -> None:
    throttle, now, pauses = AdaptiveThrottle(), 0.0, []
    for _ in range(8):
        refuse(throttle, now)
        pauses.append(throttle.retry_at(now) - now)
        now = throttle.retry_at(now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    throttle.finish(now, 1, None)
    refuse(throttle, now)
    assert throttle.retry_at(now) - now == FIRST_PAUSE


def test_one_that_was_slow_goes_on_slowly() -> None:
    throttle = AdaptiveThrottle()
    throttle.acquire(9.0, 1)
    refuse(throttle, 10.0)
    assert 1 <= sent_between(throttle, 11.0, 21.0) <= 10


def test_isolated_ones_slow_nothing_down() -> None:
    throttle = busy()
    for answer in range(10_000):
        throttle.finish(10.0 + answer / 1000, 1, TOO_MANY if answer % 100 == 0 else None)
        assert throttle.permits(10.0 + answer / 1000) == UNLIMITED


def test_the_third_among_thirty_does() -> None:
    throttle = busy()
    for answer in range(31):
        assert throttle.permits(10.0) == UNLIMITED
        throttle.finish(10.0, 1, TOO_MANY if answer % 15 == 0 else None)
    assert throttle.retry_at(10.0) == 10.0 + FIRST_PAUSE


def test_it_says_that_it_slows_down_until_the_pace_is_back() -> None:
    throttle = busy()
    assert not throttle.is_throttling(10.0)
    refuse(throttle, 10.0, Retryable("slow down", status=429, after=5.0))
    assert [throttle.is_throttling(at) for at in (10.0, 14.9, 15.0, 44.9, 45.1)] == [True] * 4 + [
        False
    ]


def test_a_call_that_sent_nothing_tells_nothing() -> None:
    throttle = busy()
    for _ in range(10):
        throttle.acquire(10.0, 3).finish(10.0, 0, TOO_MANY)
    assert throttle.permits(10.0) == UNLIMITED


def test_a_long_pause_of_an_isolated_one_is_told_and_a_short_one_is_not() -> None:
    throttle = busy()
    throttle.finish(10.0, 1, Retryable("slow down", status=429, after=3.0))
    assert not throttle.is_throttling(10.0)
    throttle.finish(10.0, 1, Retryable("slow down", status=429, after=600.0))
    assert throttle.is_throttling(10.0)
    assert throttle.is_throttling(609.0)
    assert not throttle.is_throttling(611.0)


def test_an_operator_ends_what_429s_asked_for() -> None:
    throttle = busy()
    refuse(throttle, 10.0, Retryable("slow down", status=429, after=600.0))
    throttle.reset()
    assert throttle.permits(10.0) == UNLIMITED
    assert not throttle.is_throttling(10.0)
