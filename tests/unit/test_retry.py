"""Retry policies: durations, the delay of each failure, and what cannot be a policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import ConfigurationError, Retry
from trunkline.streams.retry import seconds


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
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "10 s", "1w", "1m30s", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a duration: write 250ms, 10s"):
        seconds(text)


def test_each_failure_waits_for_its_step_and_the_last_step_repeats() -> None:
    retry = Retry("1s", "10s", "1m", jitter=0)
    assert [retry.wait(failures) for failures in (1, 2, 3, 4, 100)] == [1, 10, 60, 60, 60]


@given(failures=st.integers(1, 50), jitter=st.floats(0, 1))
def test_jitter_only_lengthens_and_only_by_its_share(failures: int, jitter: float) -> None:
    plain = Retry("1s", "10s", jitter=0).wait(failures)
    assert plain <= Retry("1s", "10s", jitter=jitter).wait(failures) <= plain * (1 + jitter)


def test_jitter_spreads() -> None:
    retry = Retry("10s", jitter=0.5)
    assert len({retry.wait(1) for _ in range(20)}) > 1


def test_what_the_destination_asks_for_is_the_least() -> None:
    retry = Retry("10s", jitter=0)
    assert retry.wait(1, after=60) == 60
    assert retry.wait(1, after=1) == 10
    assert retry.wait(1, after=0) == 10


def test_equal_delays_are_allowed() -> None:
    assert Retry("10s", "10s", jitter=0).wait(2) == 10


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ((), "Retry() needs a delay, as Retry('10s', '1m')"),
        (("1m", "10s"), "Retry('1m', '10s'): the delays must not shrink"),
        (("soon",), "'soon' is not a duration: write 250ms, 10s, 1m, 2h or 1d"),
    ],
)
def test_what_cannot_be_a_policy(delays: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Retry(*delays)
    assert str(caught.value) == message


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan")])
def test_jitter_is_a_share(jitter: float) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        Retry("1s", jitter=jitter)


def test_it_shows_as_it_is_written() -> None:
    assert repr(Retry("10s", "1m")) == "Retry('10s', '1m')"
