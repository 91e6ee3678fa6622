"""The breaker: closed everything passes, open nothing, half-open one probe, then slow start."""

from __future__ import annotations

import pytest

from trunkline import Rejected, Retryable, Unavailable
from trunkline.streams.admission.circuit_breaker import FIRST_BACKOFF, JITTER, CircuitBreakerState
from trunkline.streams.admission.gate import NEVER, UNLIMITED
from trunkline.streams.flow.circuit_breaker import CircuitBreaker

DOWN = Unavailable("503")


def breaker(policy: CircuitBreaker | None = None, *, jitter: float = 0.0) -> CircuitBreakerState:
    return CircuitBreakerState(policy or CircuitBreaker(), random=lambda: jitter)


def call(
    at: CircuitBreakerState, now: float, failure: Exception | None = None, count: int = 1
) -> None:
    at.acquire(now, count).finish(now, count, failure)


def opened(now: float = 100.0, policy: CircuitBreaker | None = None) -> CircuitBreakerState:
    at = breaker(policy or CircuitBreaker(failures=1))
    call(at, now, DOWN)
    assert at.state == "open"
    return at


def slowly_starting(
    now: float = 100.0, policy: CircuitBreaker | None = None
) -> CircuitBreakerState:
    at = opened(now - 5, policy)
    assert at.permits(now) == 1
    call(at, now)
    assert at.state == "slow-start"
    return at


# Closed


def test_closed_everything_passes() -> None:
    at = breaker()
    assert (at.state, at.opened_at) == ("closed", None)
    assert at.permits(100) == UNLIMITED
    at.acquire(100, 1000)
    assert at.permits(100) == UNLIMITED


def test_each_failure_pauses_twice_as_long_and_the_fifth_opens() -> None:
    at, now = breaker(), 100.0
    pauses = []
    while at.state == "closed":
        assert at.permits(now) == UNLIMITED
        call(at, now, DOWN)
        assert at.permits(now) == 0
        pauses.append(round(at.retry_at(now) - now, 6))
        now = at.retry_at(now)
    assert pauses == [FIRST_BACKOFF, 0.4, 0.8, 1.6, 5]


def test_any_success_ends_the_pause_and_the_row_of_failures() -> None:
    at = breaker()
    for _ in range(4):
        call(at, 100, DOWN)
    call(at, 100)
    assert at.permits(100) == UNLIMITED
    call(at, 100, DOWN)
    assert at.state == "closed"
    assert at.retry_at(100) == 100 + FIRST_BACKOFF


@pytest.mark.parametrize(
    "answer", [Rejected("no"), Retryable("429"), ValueError("a mistake"), None]
)
def test_whatever_else_a_call_ends_with_is_an_answer(answer: Exception | None) -> None:
    at = breaker(CircuitBreaker(failures=2))
    call(at, 100, DOWN)
    call(at, 100, answer)
    call(at, 100, DOWN)
    assert at.state == "closed"


def test_a_share_of_failures_opens_once_there_are_enough_calls() -> None:
    at = breaker()
    for _ in range(9):
        call(at, 100, DOWN)
        call(at, 100)
    call(at, 101)
    assert at.state == "closed", "19 calls say nothing yet"
    call(at, 102, DOWN)
    assert at.state == "open"


def test_failures_that_the_window_has_left_behind_do_not_count() -> None:
    at = breaker(CircuitBreaker(failures=100))
    for _ in range(19):
        call(at, 100, DOWN)
    call(at, 130.5, DOWN)
    assert at.state == "closed"


def test_a_batch_is_one_call() -> None:
    at = breaker()
    call(at, 100, DOWN, count=500)
    assert at.state == "closed"


def test_a_destination_that_names_a_late_time_is_believed_at_once() -> None:
    at = breaker()
    call(at, 100, Unavailable("503", after=60))
    assert at.state == "open"
    assert (at.permits(159), at.permits(160)) == (0, 1)


def test_one_that_names_an_early_time_pauses_until_then() -> None:
    at = breaker()
    call(at, 100, Unavailable("503", after=3))
    assert at.state == "closed"
    assert at.retry_at(100) == 103


def test_cancelled_calls_are_neither() -> None:
    at = breaker(CircuitBreaker(failures=2))
    call(at, 100, DOWN)
    at.acquire(100, 3).finish(100, 0, None)
    assert at.permits(100) == 0, "no success: the pause goes on"
    call(at, 101, DOWN)
    assert at.state == "open"
    assert at.retry_at(101) == 106, "and nothing is under way that the probe would wait for"


# Open


def test_open_nothing_passes_until_its_time_is_over() -> None:
    at = opened(100)
    assert at.opened_at == 100
    assert at.permits(104.9) == 0
    assert at.retry_at(104.9) == 105
    assert at.permits(105) == 1
    assert at.state == "half-open"
    assert at.retry_at(105) == 105


def test_jitter_lengthens_the_open_time_by_its_share_at_most() -> None:
    at = breaker(CircuitBreaker(failures=1), jitter=1.0)
    call(at, 100, DOWN)
    assert at.retry_at(100) == 100 + 5 * (1 + JITTER)


def test_those_under_way_when_it_opened_count_once_whatever_they_end_with() -> None:
    at = breaker()
    calls = [at.acquire(100, 1) for _ in range(8)]
    for each in calls[:5]:
        each.finish(100, 1, DOWN)
    for each, failure in zip(calls[5:7], (DOWN, None), strict=True):
        each.finish(101, 1, failure)
        assert (at.state, at.permits(101)) == ("open", 0)
    calls[7].finish(104, 1, DOWN)
    assert at.retry_at(104) == 105


def test_one_under_way_may_still_name_a_later_time() -> None:
    at = breaker(CircuitBreaker(failures=1))
    first, second = at.acquire(100, 1), at.acquire(100, 1)
    first.finish(100, 1, DOWN)
    second.finish(102, 1, Unavailable("503", after=30))
    assert at.retry_at(102) == 132


def test_the_probe_does_not_wait_for_those_under_way_and_they_say_nothing() -> None:
    at = breaker(CircuitBreaker(failures=1))
    first, second, third = (at.acquire(100, 1) for _ in range(3))
    first.finish(100, 1, DOWN)
    assert at.permits(104) == 0
    assert at.retry_at(104) == 105, "the open time, though two calls hang"
    second.finish(104, 1, None)
    assert (at.state, at.permits(104.9)) == ("open", 0), "only the probe closes"
    assert at.permits(105) == 1
    third.finish(106, 1, DOWN)
    assert (at.state, at.permits(106)) == ("half-open", 1), "and only the probe opens again"


def test_calls_that_hang_hold_nobody_and_are_not_the_probe() -> None:
    at = breaker(CircuitBreaker(failures=1))
    first, second, third = at.acquire(100, 1), at.acquire(100, 60), at.acquire(100, 40)
    first.finish(100, 1, DOWN)
    assert at.permits(104.9) == 0
    assert at.permits(105) == 1
    probe = at.acquire(105, 1)
    second.finish(106, 60, Unavailable("503", after=60))
    third.finish(106, 40, None)
    assert (at.state, at.permits(106)) == ("half-open", 0), "those were not the probe"
    probe.finish(107, 1, None)
    assert at.state == "slow-start"


@pytest.mark.parametrize("answer", [DOWN, Unavailable("503", after=60), None])
def test_a_call_of_before_the_outage_that_ends_after_it_says_nothing(
    answer: Exception | None,
) -> None:
    at = breaker(CircuitBreaker(failures=1))
    first, late = at.acquire(95, 1), at.acquire(95, 4)
    first.finish(95, 1, DOWN)
    assert at.permits(100) == 1
    call(at, 100)
    assert (at.state, at.permits(100)) == ("slow-start", 1), (
        "what hangs takes no permits of slow start"
    )
    late.finish(101, 4, answer)
    assert (at.state, at.permits(101)) == ("slow-start", 1), "it earns nothing, and loses nothing"


@pytest.mark.parametrize("answer", [DOWN, None])
def test_a_late_call_of_one_event_is_not_taken_for_the_probe(answer: Exception | None) -> None:
    at = breaker(CircuitBreaker(failures=1))
    late = at.acquire(100, 1)
    call(at, 100, DOWN)
    assert at.permits(105) == 1
    probe = at.acquire(105, 1)
    late.finish(106, 1, answer)
    assert (at.state, at.permits(106)) == ("half-open", 0)
    probe.finish(107, 1, None)
    assert at.state == "slow-start"


def test_a_batch_of_which_nothing_could_be_sent_is_neither() -> None:
    at = opened(100)
    at.permits(105)
    at.acquire(105, 1).finish(106, 0, DOWN)
    assert (at.state, at.permits(106)) == ("half-open", 1)


# Half-open


def test_one_probe_and_everything_else_waits() -> None:
    at = opened(100)
    assert at.permits(105) == 1
    at.acquire(105, 1)
    assert at.permits(105) == 0
    assert at.permits(1000) == 0
    assert at.retry_at(1000) == NEVER, "only its end tells"


def test_each_probe_that_fails_doubles_the_open_time_up_to_the_longest() -> None:
    policy = CircuitBreaker(failures=1, longest="30s")
    at, now, waits = opened(100, policy), 100.0, []
    for _ in range(6):
        waits.append(at.retry_at(now) - now)
        now = at.retry_at(now)
        assert at.permits(now) == 1
        call(at, now, DOWN)
        assert at.state == "open"
    assert waits == [5, 10, 20, 30, 30, 30]
    assert at.opened_at == 100, "it is still the same outage"


def test_what_a_probe_is_told_is_the_least() -> None:
    at = opened(100)
    at.permits(105)
    call(at, 105, Unavailable("503", after=3600))
    assert at.retry_at(105) == 3705


def test_a_probe_that_was_cancelled_is_given_back() -> None:
    at = opened(100)
    at.permits(105)
    at.acquire(105, 1).finish(106, 0, None)
    assert at.state == "half-open"
    assert at.permits(106) == 1


def test_when_all_is_cancelled_at_once_the_probe_is_given_back_too() -> None:
    at = breaker(CircuitBreaker(failures=1))
    first, *late = (at.acquire(100, 1) for _ in range(4))
    first.finish(100, 1, DOWN)
    assert at.permits(165) == 1
    probe = at.acquire(165, 1)
    for each in (*late, probe):
        each.finish(166, 0, None)
    assert at.permits(166) == 1


def test_an_answer_of_any_kind_passes_the_probe() -> None:
    at = opened(100)
    at.permits(105)
    call(at, 105, Rejected("400"))
    assert at.state == "slow-start"


# Slow start


def test_the_room_doubles_each_second_at_most() -> None:
    at = slowly_starting(100)
    for second, room in enumerate([1, 2, 4, 8, 16, 32, 64, 128, 256, 512]):
        now = 100 + second
        assert at.permits(now) == room
        calls = [at.acquire(now, 1) for _ in range(room)]
        assert at.permits(now) == 0
        for each in calls:
            each.finish(now, 1, None)
        assert at.state == "slow-start"
    assert at.permits(110) == 1 + 1023


def test_a_slow_destination_is_not_asked_for_more_than_it_has_answered() -> None:
    at = slowly_starting(100)
    under_way = at.acquire(100, 1)
    assert at.permits(109) == 0
    assert at.retry_at(109) == NEVER
    under_way.finish(109, 1, None)
    assert at.permits(109) == 2


def test_when_the_clock_holds_back_it_is_known_until_when() -> None:
    at = slowly_starting(100)
    call(at, 100)
    at.acquire(100, 1)
    assert at.permits(100) == 0
    assert at.retry_at(100) == pytest.approx(101.001)
    assert at.permits(at.retry_at(100)) == 1


def test_it_closes_when_the_time_is_over_and_nothing_was_held_back() -> None:
    at = slowly_starting(100)
    call(at, 105)
    call(at, 109.9)
    assert at.state == "slow-start"
    call(at, 110)
    assert (at.state, at.opened_at) == ("closed", None)
    assert at.permits(110) == UNLIMITED


def test_after_the_time_it_goes_on_doubling_as_long_as_all_it_allows_is_asked_for() -> None:
    at = slowly_starting(100)
    for now, room in ((110, 1), (115, 2), (120, 4)):
        assert at.permits(now) == room
        for each in [at.acquire(now, 1) for _ in range(room)]:
            each.finish(now + 5, 1, None)
        assert at.state == "slow-start"
    call(at, 125)
    assert at.state == "closed", "it was asked for less than it would have allowed"


def test_a_failure_pauses_and_halves_the_room() -> None:
    at = breaker(CircuitBreaker(failures=2))
    call(at, 94, DOWN)
    call(at, 95, DOWN)
    at.permits(100)
    call(at, 100)
    for _ in range(31):
        call(at, 105)
    assert at.permits(105) == 32
    call(at, 105, DOWN)
    assert at.state == "slow-start"
    assert at.permits(105) == 0
    assert at.permits(105 + FIRST_BACKOFF) == 16


def test_when_it_fails_again_the_open_time_goes_on_growing_until_it_has_closed() -> None:
    at = slowly_starting(100)
    call(at, 101, DOWN)
    assert at.state == "open"
    assert at.retry_at(101) == 111
    assert at.opened_at == 95
    at.permits(111)
    for now in (111, 121, 121):
        call(at, now)
    assert at.state == "closed"
    call(at, 130, DOWN)
    assert at.retry_at(130) == 135, "a new outage"
    assert at.opened_at == 130


def test_failures_of_before_the_outage_do_not_count_after_it() -> None:
    at = breaker()
    for _ in range(10):
        call(at, 100)
        call(at, 100, DOWN)
    assert at.state == "open"
    at.permits(105)
    call(at, 105)
    call(at, 105, DOWN)
    assert at.state == "slow-start", "one of two: too few calls to judge by"


def test_without_slow_start_the_probe_closes() -> None:
    at = opened(100, CircuitBreaker(failures=1, slow_start="0s"))
    at.permits(105)
    call(at, 105)
    assert at.state == "closed"
