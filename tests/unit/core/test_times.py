"""Times as people give them to commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import ConfigurationError
from trunkline.times import parse_moment, parse_time

NOON = datetime(2030, 5, 31, 12, tzinfo=UTC)
NOW = NOON.timestamp()


@pytest.fixture
def _in_rome(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's time zone is two hours ahead of UTC in May."""
    monkeypatch.setenv("TZ", "Europe/Rome")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "hours"), [("2h", 2), ("30m", 0.5), ("1d", 24), (" 90s ", 0.025), ("0s", 0)]
)
def test_a_duration_is_so_long_ago_or_ahead(text: str, hours: float) -> None:
    assert parse_time(text, NOW) == NOON - timedelta(hours=hours)
    assert parse_time(text, NOW, ahead=True) == NOON + timedelta(hours=hours)


@pytest.mark.usefixtures("_in_rome")
@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2030-05-31T16:00", 14),
        ("2030-05-31 16:00:00", 14),
        ("2030-05-31T16:00Z", 16),
        ("2030-05-31T16:00+05:00", 11),
        ("20300531T16", 14),
    ],
)
def test_a_time_without_a_zone_is_local(text: str, hour: int) -> None:
    found = parse_time(text, NOW)
    assert found == datetime(2030, 5, 31, hour, tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.usefixtures("_in_rome")
def test_a_day_begins_at_local_midnight() -> None:
    assert parse_time("2030-05-31", NOW) == datetime(2030, 5, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "yesterday", "2 hours", "h", "-2h", "2030-13-01", "½h"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_time(text, NOW)
    assert str(refused.value) == (
        f"{text!r} is no time: write 2030-05-31T22:00 for local time, 2030-05-31T20:00Z, or 2h "
        "for two hours ago"
    )
    with pytest.raises(ConfigurationError, match="2h for in two hours"):
        parse_time(text, NOW, ahead=True)


@pytest.mark.parametrize("text", ["9999999d", "99999999999999999999d", "9" * 400 + "h"])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_duration_beyond_all_calendars_is_refused(text: str, ahead: bool) -> None:
    with pytest.raises(ConfigurationError, match="before the year 1 or after the year 9999"):
        parse_time(text, NOW, ahead=ahead)


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"])
def test_a_date_that_its_zone_moves_off_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="before the year 1 or after the year 9999"):
        parse_time(text, NOW)
    with pytest.raises(ConfigurationError, match="is no time"):
        parse_moment(text)


@given(st.text(max_size=30) | st.from_regex(r"\d{1,30}(ms|s|m|h|d)", fullmatch=True))
def test_whatever_is_written_is_a_time_or_a_clear_error(text: str) -> None:
    for ahead in (False, True):
        with suppress(ConfigurationError):
            assert parse_time(text, NOW, ahead=ahead).tzinfo is UTC
