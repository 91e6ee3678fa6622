"""Retry policies: durations, the delay of each failure, and what cannot be a policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import ConfigurationError, Retry
from trunkline.times import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("1.5m", 90),
        ("2h", 7200),
        ("1d", 86400),
        (" 10s ", 10),
        ("0s", 0),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "10 s", "1w", "1m30s", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a duration: write 250ms, 10s"):
        parse_duration(text)


def test_delays_are_steps_as_written_and_in_seconds() -> None:
    retry = Retry("500ms", "1.5m", " 2h ")
    assert retry.delays == ("500ms", "1.5m", "2h")
    assert retry.seconds == (0.5, 90, 7200)
    assert retry.jitter == 0.1


@pytest.mark.parametrize(
    ("retry", "longest"),
    [
        (Retry("10s", "1m"), 3600),
        (Retry("10s", "6h"), 21_600),
        (Retry("10s", max_retry_after="5m"), 300),
    ],
)
def test_how_long_a_destination_may_ask_to_wait(retry: Retry, longest: float) -> None:
    assert retry.max_retry_after == longest


@pytest.mark.parametrize("text", ["0s", "400d", "soon"])
def test_what_cannot_be_the_longest_wait(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"max_retry_after|not a duration"):
        Retry("10s", max_retry_after=text)


@pytest.mark.parametrize("delay", ["367d", "99999999d", "9" * 400 + "d"])
def test_no_delay_is_beyond_the_calendar(delay: str) -> None:
    with pytest.raises(ConfigurationError, match="at most 366d"):
        Retry("10s", delay)


def test_the_default() -> None:
    assert Retry.DEFAULT.delays == ("10s", "1m", "10m")


@given(step=st.integers(0, 2), chance=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 1))
def test_a_spread_is_never_early_and_at_most_5_seconds_late(
    step: int, chance: float, jitter: float
) -> None:
    retry = Retry("1s", "10s", "10m", jitter=jitter)
    late = retry.spread(step, chance) - retry.seconds[step]
    assert 0 <= late <= min(retry.seconds[step] * jitter, 5.0) + 1e-9


def test_the_same_chance_gives_the_same_spread() -> None:
    retry = Retry("10s", "1m", jitter=0.5)
    assert [retry.spread(0, 0.0), retry.spread(0, 0.5), retry.spread(1, 0.9)] == [10, 12.5, 65]


def test_what_is_tried_again_whatever_the_sink_says() -> None:
    assert Retry("1s").on == ()
    assert Retry("1s", on=[409, TimeoutError]).on == (409, TimeoutError)


@pytest.mark.parametrize("on", [409, "409", ["409"], [200], [600], [True], [Exception()], [None]])
def test_what_cannot_be_told_apart(on: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"exception class|\[409, TimeoutError\]"):
        Retry("1s", on=on)


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ((), "Retry() needs a delay, as Retry('10s', '1m')"),
        (("1m", "10s"), "Retry('1m', '10s'): each delay must be longer than the one before"),
        (("60s", "1m"), "Retry('60s', '1m'): each delay must be longer than the one before"),
        (("soon",), "'soon' is not a duration: write 250ms, 10s, 1m, 2h or 1d"),
        ((10,), "10 is not a duration: write 250ms, 10s, 1m, 2h or 1d"),
    ],
)
def test_what_cannot_be_a_policy(delays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Retry(*delays)
    assert str(caught.value) == message


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan")])
def test_jitter_is_a_share(jitter: float) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        Retry("1s", jitter=jitter)


def test_it_shows_as_it_is_written() -> None:
    assert repr(Retry("10s", "1m")) == "Retry('10s', '1m')"
