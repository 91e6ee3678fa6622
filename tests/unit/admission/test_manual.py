"""By hand: a destination is held, or sent to whatever its breaker says, until a time."""

from __future__ import annotations

import pytest

from trunkline.streams.admission.gate import NEVER, PLENTY
from trunkline.streams.admission.manual import Hand


class Clock:
    """Wall time that a test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hand(clock: Clock) -> Hand:
    return Hand(clock)


def test_at_first_it_is_nobodys(hand: Hand) -> None:
    assert (hand.state, hand.until, hand.overrides_breaker) == ("auto", None, False)
    assert (hand.room(5), hand.opens_at(5)) == (PLENTY, 5)


def test_held_nothing_is_sent_until_the_next_command(hand: Hand) -> None:
    hand.command("open")
    assert (hand.room(5), hand.opens_at(5), hand.until) == (0, NEVER, None)
    assert not hand.overrides_breaker
    hand.command("auto")
    assert hand.room(5) == PLENTY


def test_held_until_a_time_it_opens_by_itself_then(hand: Hand, clock: Clock) -> None:
    hand.command("open", until=clock.now + 60)
    assert (hand.room(5), hand.opens_at(5), hand.until) == (0, 65, clock.now + 60)
    clock.now += 60
    assert (hand.state, hand.until, hand.room(65)) == ("auto", None, PLENTY)


def test_closed_it_overrides_the_breaker_until_its_time(hand: Hand, clock: Clock) -> None:
    hand.command("closed", until=clock.now + 60)
    assert hand.overrides_breaker
    assert hand.room(5) == PLENTY
    clock.now += 60
    assert not hand.overrides_breaker


def test_the_newest_command_counts(hand: Hand, clock: Clock) -> None:
    hand.command("open", until=clock.now + 60)
    hand.command("closed")
    clock.now += 60
    assert hand.state == "closed"


def test_a_command_that_came_too_late_does_nothing(hand: Hand, clock: Clock) -> None:
    hand.command("open", until=clock.now - 1)
    assert hand.room(5) == PLENTY


def test_what_is_no_command(hand: Hand) -> None:
    with pytest.raises(ValueError, match="'shut' is no state: write open, closed, auto"):
        hand.command("shut")  # type: ignore[arg-type]  # wrong on purpose
    assert hand.state == "auto"
