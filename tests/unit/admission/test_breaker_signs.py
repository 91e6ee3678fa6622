"""What the breaker learns from one call, and what from many: failures that tell of one event alone,
and what is over by itself."""

from __future__ import annotations

from trunkline import Unavailable
from trunkline.streams.admission.circuit_breaker import CircuitBreakerState
from trunkline.streams.admission.gate import UNLIMITED
from trunkline.streams.flow.circuit_breaker import CircuitBreaker

DOWN = Unavailable("503")


def breaker(policy: CircuitBreaker | None = None) -> CircuitBreakerState:
    return CircuitBreakerState(policy or CircuitBreaker(), random=lambda: 0.0)


def call(at: CircuitBreakerState, now: float, failure: Exception | None = None) -> None:
    at.acquire(now, 1).finish(now, 1, failure)


def opened(now: float) -> CircuitBreakerState:
    at = breaker(CircuitBreaker(failures=1))
    call(at, now, DOWN)
    assert at.state == "open"
    return at


def again(at: CircuitBreakerState, now: float, failure: Exception | None = None) -> None:
    at.acquire(now, 1).finish(now, 1, failure, again=True)


def test_an_event_that_fails_again_is_no_sign_of_an_outage() -> None:
    at = breaker()
    call(at, 100, DOWN)
    for _ in range(100):
        again(at, 101, DOWN)
    assert (at.state, at.permits(101)) == ("closed", UNLIMITED), "nor does it pause the others"
    again(at, 101, Unavailable("503", after=3600))
    assert (at.state, at.permits(101)) == ("closed", UNLIMITED)


def test_a_probe_that_fails_again_decides_nothing_and_another_is_sent() -> None:
    at = opened(100)
    assert at.permits(105) == 1
    again(at, 105, DOWN)
    assert (at.state, at.permits(105)) == ("half-open", 1)
    call(at, 105)
    assert at.state == "slow-start"


def test_a_success_of_what_had_failed_ends_the_row_and_is_no_second_call_of_its_event() -> None:
    at = breaker()
    for _ in range(10):
        for _ in range(4):
            call(at, 100, DOWN)
        again(at, 100)
        again(at, 100)
    assert at.state == "open", "40 of 40 events failed when they were first sent"


def test_what_a_single_call_asks_for_is_believed_for_two_minutes_and_of_a_probe_in_full() -> None:
    at = breaker()
    call(at, 100, Unavailable("503", after=3600))
    assert (at.permits(219), at.permits(220)) == (0, 1)
    call(at, 220, Unavailable("503", after=3600))
    assert (at.permits(3819), at.permits(3820)) == (0, 1)


def test_slow_start_is_over_by_itself_if_nothing_is_to_be_sent() -> None:
    at = opened(95)
    assert at.permits(100) == 1
    call(at, 100)
    at.settle(109)
    assert at.state == "slow-start"
    under_way = at.acquire(109, 1)
    at.settle(150)
    assert at.state == "slow-start", "a call is under way that may tell more"
    under_way.finish(150, 0, None)
    at.settle(160)
    assert (at.state, at.opened_at) == ("closed", None)
