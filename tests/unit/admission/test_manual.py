"""By hand: a destination is held, or sent to whatever its breaker says, until a time."""

from __future__ import annotations

import pytest

from trunkline.streams.admission.gate import NEVER, UNLIMITED
from trunkline.streams.admission.manual import ManualOverride


class Clock:
    """Wall time that a test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hand(clock: Clock) -> ManualOverride:
    return ManualOverride(clock)


def test_at_first_it_is_nobodys(hand: ManualOverride) -> None:
    assert (hand.state, hand.until, hand.overrides_breaker) == ("auto", None, False)
    assert (hand.permits(5), hand.retry_at(5)) == (UNLIMITED, 5)


def test_held_nothing_is_sent_until_the_next_command(hand: ManualOverride) -> None:
    hand.set("open")
    assert (hand.permits(5), hand.retry_at(5), hand.until) == (0, NEVER, None)
    assert not hand.overrides_breaker
    hand.set("auto")
    assert hand.permits(5) == UNLIMITED


def test_held_until_a_time_it_opens_by_itself_then(hand: ManualOverride, clock: Clock) -> None:
    hand.set("open", until=clock.now + 60)
    assert (hand.permits(5), hand.retry_at(5), hand.until) == (0, 65, clock.now + 60)
    clock.now += 60
    assert (hand.state, hand.until, hand.permits(65)) == ("auto", None, UNLIMITED)


def test_closed_it_overrides_the_breaker_until_its_time(hand: ManualOverride, clock: Clock) -> None:
    hand.set("closed", until=clock.now + 60)
    assert hand.overrides_breaker
    assert hand.permits(5) == UNLIMITED
    clock.now += 60
    assert not hand.overrides_breaker


def test_the_newest_command_counts(hand: ManualOverride, clock: Clock) -> None:
    hand.set("open", until=clock.now + 60)
    hand.set("closed")
    clock.now += 60
    assert hand.state == "closed"


def test_a_command_that_came_too_late_does_nothing(hand: ManualOverride, clock: Clock) -> None:
    hand.set("open", until=clock.now - 1)
    assert hand.permits(5) == UNLIMITED


def test_what_is_no_command(hand: ManualOverride) -> None:
    with pytest.raises(ValueError, match="'shut' is no state: write open, closed, auto"):
        hand.set("shut")  # type: ignore[arg-type]  # wrong on purpose
    assert hand.state == "auto"
