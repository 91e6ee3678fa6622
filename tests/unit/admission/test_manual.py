"""An operator's override: a destination is paused, or sent to whatever its breaker says, until a
time."""

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
def override(clock: Clock) -> ManualOverride:
    return ManualOverride(clock)


def test_at_first_it_is_nobodys(override: ManualOverride) -> None:
    assert override.state == "auto"
    assert (override.permits(5), override.retry_at(5)) == (UNLIMITED, 5)


def test_paused_nothing_is_sent_until_the_next_command(override: ManualOverride) -> None:
    override.set("paused")
    assert (override.permits(5), override.retry_at(5)) == (0, NEVER)
    assert override.state == "paused"
    override.set("auto")
    assert override.permits(5) == UNLIMITED


def test_paused_until_a_time_it_opens_by_itself_then(
    override: ManualOverride, clock: Clock
) -> None:
    override.set("paused", until=clock.now + 60)
    assert (override.permits(5), override.retry_at(5)) == (0, 65)
    clock.now += 60
    assert (override.state, override.permits(65), override.retry_at(65)) == ("auto", UNLIMITED, 65)


def test_forced_it_holds_nothing_back_until_its_time(
    override: ManualOverride, clock: Clock
) -> None:
    override.set("forced", until=clock.now + 60)
    assert override.state == "forced"
    assert override.permits(5) == UNLIMITED
    clock.now += 60
    assert override.state == "auto"


def test_the_newest_command_counts(override: ManualOverride, clock: Clock) -> None:
    override.set("paused", until=clock.now + 60)
    override.set("forced")
    clock.now += 60
    assert override.state == "forced"


def test_a_command_that_came_too_late_does_nothing(override: ManualOverride, clock: Clock) -> None:
    override.set("paused", until=clock.now - 1)
    assert override.permits(5) == UNLIMITED


def test_what_is_no_command(override: ManualOverride) -> None:
    with pytest.raises(ValueError, match="'shut' is no state: write paused, forced, auto"):
        override.set("shut")  # type: ignore[arg-type]  # wrong on purpose
    assert override.state == "auto"
