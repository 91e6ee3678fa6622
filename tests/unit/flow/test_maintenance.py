"""Maintenance windows: when they start and end, also when clocks change, and what is no window."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from trunkline import ConfigurationError
from trunkline.streams.admission.gate import UNLIMITED
from trunkline.streams.admission.maintenance import MaintenanceGate
from trunkline.streams.flow.maintenance import Window


def at(text: str) -> datetime:
    """``2026-03-29 03:00+02:00``, or of UTC if nothing is said."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def starts(window: str, after: str, count: int = 3) -> list[str]:
    """The next starts, in the window's own wall time."""
    parsed, moment, found = Window.parse(window), at(after), []
    for _ in range(count):
        moment = parsed.next_start(moment)
        found.append(moment.astimezone(parsed.zone).isoformat(" ", "minutes"))
    return found


# How a window is written


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("Sun 02:00 2h Europe/Rome", "0 2 * * SUN"),
        ("sun 2:05 2h Europe/Rome", "5 2 * * SUN"),
        ("daily 22:30 90m UTC", "30 22 * * *"),
        ("Mon-Fri 22:00 8h UTC", "0 22 * * MON,TUE,WED,THU,FRI"),
        ("Mon,Wed-Thu 22:00 8h UTC", "0 22 * * MON,WED,THU"),
        ("Sat-Mon 22:00 8h UTC", "0 22 * * MON,SAT,SUN"),
        ("0 2 * * SUN 2h Europe/Rome", "0 2 * * SUN"),
        ("*/30 * 1-7 * 1 10m UTC", "*/30 * 1-7 * 1"),
    ],
)
def test_forms(text: str, cron: str) -> None:
    window = Window.parse(text)
    assert (window.cron, str(window)) == (cron, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write it as 'Sun 02:00 2h Europe/Rome', 'daily 22:30 90m UTC' or '0 2 * * SUN"),
        ("Sun 02:00 2h", "it has no time zone: end it with one, as 'Sun 02:00 2h Europe/Rome'"),
        ("0 2 * * SUN 2h", "it has no time zone: end it with one"),
        ("Sun 02:00 2h UTC now", "write it as 'Sun 02:00 2h Europe/Rome'"),
        ("Sun 24:00 2h UTC", "'24:00' is not a time of day: write it as 02:00 or 22:30"),
        ("Sunday 02:00 2h UTC", "'Sunday' is not a day of the week: write 'daily', or days as Mon"),
        ("Mon-Foo 02:00 2h UTC", "'Mon-Foo' is not a day of the week"),
        ("Sun 02:00 2 UTC", "'2' is not a duration: write 250ms, 10s, 1m, 2h or 1d"),
        ("Sun 02:00 0s UTC", "'0s': it must last longer than nothing"),
        ("Sun 02:00 2h Europe/Roma", "no time zone 'Europe/Roma': did you mean Europe/Rome?"),
        ("Sun 02:00 2h Europe", "there is no time zone 'Europe': did you mean"),
        ("Sun 02:00 2h ../../etc", "'../../etc': write an IANA name, as Europe/Rome or UTC"),
        ("0 25 * * SUN 2h UTC", "'0 25 * * SUN' is not a cron expression: bad hour; its fields"),
        ("0 0 30 2 * 2h UTC", "is not a cron expression: bad day-of-month"),
        ("daily 00:00 1d UTC", "it lasts 1 day, 0:00:00 and comes again after 1 day, 0:00:00"),
        ("* * * * * 5m UTC", "it must be shorter than its period"),
        ("0 0 1,31 * * 25h UTC", "it lasts 1 day, 1:00:00 and comes again after 1 day, 0:00:00"),
    ],
)
def test_what_is_no_window(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Window.parse(text)
    assert str(caught.value).startswith(f"window {text!r}: ")
    assert message in str(caught.value)


# When it is


def test_it_is_from_its_start_to_before_its_end() -> None:
    window = Window.parse("Sun 02:00 2h Europe/Rome")
    end = at("2026-06-07 04:00+02:00")
    assert window.current(at("2026-06-07 01:59:59.999999+02:00")) is None
    assert window.current(at("2026-06-07 02:00+02:00")) == end
    assert window.current(at("2026-06-07 03:59:59.999999+02:00")) == end
    assert window.current(end) is None
    assert window.next_start(at("2026-06-07 02:00+02:00")) == at("2026-06-14 02:00+02:00")


def test_what_it_returns_is_in_utc_so_that_comparing_is_safe() -> None:
    window = Window.parse("daily 02:00 2h Europe/Rome")
    moment = datetime(2026, 6, 7, 2, tzinfo=ZoneInfo("Europe/Rome"))
    assert window.next_start(moment).tzinfo is UTC
    end = window.current(moment)
    assert end is not None
    assert end.tzinfo is UTC


def test_across_midnight_and_the_end_of_a_year() -> None:
    window = Window.parse("Thu 22:00 8h UTC")
    assert window.current(at("2026-12-31 23:59")) == at("2027-01-01 06:00")
    assert window.current(at("2027-01-01 05:59")) == at("2027-01-01 06:00")
    assert window.current(at("2027-01-01 06:00")) is None


def test_at_the_end_of_each_month() -> None:
    assert starts("30 23 L * * 2h UTC", "2028-01-15") == [
        "2028-01-31 23:30+00:00",
        "2028-02-29 23:30+00:00",
        "2028-03-31 23:30+00:00",
    ]


@pytest.mark.parametrize(
    ("window", "after", "expected"),
    [
        (
            "daily 02:30 1h Europe/Rome",
            "2026-03-28",
            ["2026-03-28 02:30+01:00", "2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"],
        ),
        (
            "daily 02:30 1h America/New_York",
            "2026-03-07",
            ["2026-03-07 02:30-05:00", "2026-03-08 03:00-04:00", "2026-03-09 02:30-04:00"],
        ),
        (
            "daily 00:00 1h Africa/Cairo",
            "2026-04-23",
            ["2026-04-24 01:00+03:00", "2026-04-25 00:00+03:00", "2026-04-26 00:00+03:00"],
        ),
    ],
)
def test_a_start_in_the_missing_hour_comes_when_that_would_have_begun(
    window: str, after: str, expected: list[str]
) -> None:
    assert starts(window, after) == expected


@pytest.mark.parametrize(
    ("window", "after", "expected"),
    [
        (
            "daily 02:30 1h Europe/Rome",
            "2026-10-24",
            ["2026-10-24 02:30+02:00", "2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"],
        ),
        (
            "daily 01:30 1h America/New_York",
            "2026-10-31",
            ["2026-10-31 01:30-04:00", "2026-11-01 01:30-04:00", "2026-11-02 01:30-05:00"],
        ),
    ],
)
def test_a_start_in_the_repeated_hour_comes_once_in_the_first(
    window: str, after: str, expected: list[str]
) -> None:
    assert starts(window, after) == expected


def test_asked_in_the_second_of_the_repeated_hours_it_names_no_start_of_the_first() -> None:
    window = Window.parse("daily 02:30 10m Europe/Rome")
    again = at("2026-10-25 02:10+01:00")
    assert window.next_start(again) == at("2026-10-26 02:30+01:00")
    assert window.current(at("2026-10-25 02:35+01:00")) is None


def test_one_of_every_hour_comes_in_both_repeated_hours_and_in_no_missing_one() -> None:
    assert starts("30 * * * * 10m Europe/Rome", "2026-10-25 00:00+00:00") == [
        "2026-10-25 02:30+02:00",
        "2026-10-25 02:30+01:00",
        "2026-10-25 03:30+01:00",
    ]
    assert starts("30 * * * * 10m Europe/Rome", "2026-03-29 00:00+00:00", 2) == [
        "2026-03-29 01:30+01:00",
        "2026-03-29 03:30+02:00",
    ]


@pytest.mark.parametrize(
    ("during", "end"),
    [
        ("2026-03-29 03:30+02:00", "2026-03-29 04:00+02:00"),
        ("2026-10-25 02:00+01:00", "2026-10-25 02:00+01:00"),
    ],
)
def test_it_lasts_as_long_as_ever_when_clocks_change(during: str, end: str) -> None:
    window = Window.parse("daily 01:00 2h Europe/Rome")
    moment = at(during)
    assert window.current(at(end) - timedelta(microseconds=1)) == at(end)
    assert window.current(at(end)) is None
    assert (window.current(moment) is not None) == (moment < at(end))


# 1,000 instants against a brute force


def brute_starts(cron: str, zone: ZoneInfo, first: datetime, days: int) -> list[datetime]:
    """Walk through every minute of real time and look at the clock on the wall."""
    minute, hour, *_, weekdays = cron.split()
    clock = int(hour) * 60 + int(minute)
    found, seen = [], None
    before = first.astimezone(zone)
    for step in range(1, days * 24 * 60):
        local = (first + timedelta(minutes=step)).astimezone(zone)
        today = local.hour * 60 + local.minute
        earlier = before.hour * 60 + before.minute if before.day == local.day else -1
        reached = earlier < clock <= today
        wanted = weekdays == "*" or f"{local:%a}".upper() in weekdays.split(",")
        if reached and wanted and local.date() != seen:
            found.append(local.astimezone(UTC))
            seen = local.date()
        before = local
    return found


ROUND_THE_CHANGES = [
    ("daily 02:30 3h Europe/Rome", "2026-03-20"),
    ("daily 02:30 3h Europe/Rome", "2026-10-17"),
    ("daily 02:00 45m America/New_York", "2026-03-01"),
    ("daily 01:30 2h America/New_York", "2026-10-25"),
    ("Sat-Sun 23:45 20h Europe/Rome", "2026-10-17"),
    ("Fri,Sun 02:59 12h America/New_York", "2026-03-01"),
    ("Mon-Fri 00:00 23h Africa/Cairo", "2026-04-18"),
    ("daily 02:15 1h Australia/Lord_Howe", "2026-09-28"),
    ("daily 01:45 1h Australia/Lord_Howe", "2026-03-29"),
    ("daily 12:00 10m Asia/Kolkata", "2026-01-25"),
]


@pytest.mark.parametrize(("text", "first"), ROUND_THE_CHANGES)
def test_a_thousand_instants_against_a_brute_force(text: str, first: str) -> None:
    window, origin, dice = Window.parse(text), at(first), random.Random(text)
    starts = brute_starts(window.cron, window.zone, origin, 16)
    assert len(starts) > 3
    edges = [edge for start in starts[3:-3] for edge in (start, start + window.duration)]
    instants = [origin + timedelta(days=3, seconds=dice.uniform(0, 8 * 86400)) for _ in range(100)]
    for moment in [*instants, *edges, *(edge - timedelta(microseconds=1) for edge in edges)]:
        within = [start for start in starts if start <= moment < start + window.duration]
        assert window.current(moment) == (within[0] + window.duration if within else None)
        assert window.next_start(moment) == min(start for start in starts if start > moment)


# The gate


class Clock:
    """Wall time that a test sets, and counts who asks."""

    def __init__(self, text: str) -> None:
        self.now = at(text).timestamp()

    def __call__(self) -> float:
        return self.now

    def set(self, text: str) -> None:
        self.now = at(text).timestamp()


def keeper(clock: Clock, *windows: str) -> MaintenanceGate:
    return MaintenanceGate([Window.parse(window) for window in windows], clock)


def test_it_is_closed_within_a_window_and_opens_at_its_end_on_the_loops_clock() -> None:
    clock = Clock("2026-06-07 01:59:59")
    gate = keeper(clock, "Sun 02:00 2h UTC")
    assert (gate.permits(500), gate.retry_at(500)) == (UNLIMITED, 500)
    clock.set("2026-06-07 02:30")
    assert gate.permits(2301) == 0
    assert gate.retry_at(2301) == 2301 + 90 * 60
    assert gate.retry_at(0) == 90 * 60, "on whatever clock it is asked"
    clock.set("2026-06-07 04:00")
    assert gate.permits(2301 + 90 * 60) == UNLIMITED


def test_calls_that_are_under_way_when_it_begins_just_end() -> None:
    clock = Clock("2026-06-07 01:59:59")
    gate = keeper(clock, "Sun 02:00 2h UTC")
    ended, cancelled = gate.acquire(0, 3), gate.acquire(0, 1)
    clock.set("2026-06-07 02:00")
    ended.finish(1, 2, None)
    cancelled.finish(1, 0, None)
    assert gate.permits(1) == 0


def test_it_follows_a_wall_clock_that_is_set_back() -> None:
    clock = Clock("2026-06-07 02:30")
    gate = keeper(clock, "Sun 02:00 2h UTC")
    assert gate.permits(0) == 0
    clock.set("2026-06-07 01:30")
    assert gate.permits(0) == UNLIMITED
    clock.set("2026-06-07 02:00")
    assert gate.permits(0) == 0


@pytest.mark.parametrize(
    "windows",
    [
        ("Sun 02:00 2h UTC", "Sun 03:00 3h UTC"),
        ("Sun 02:00 2h UTC", "Sun 04:00 2h UTC"),
        ("Sun 02:00 4h UTC", "Sun 03:00 1h UTC"),
        ("Sun 02:30 3h Europe/Rome", "Sun 02:00 4h UTC"),
    ],
)
def test_of_windows_that_overlap_or_follow_it_opens_at_the_last_end(
    windows: tuple[str, ...],
) -> None:
    clock = Clock("2026-06-07 02:15")
    for order in (windows, windows[::-1]):
        gate = keeper(clock, *order)
        assert gate.retry_at(10) == 10 + 3.75 * 3600


def test_windows_that_never_leave_a_gap_still_answer() -> None:
    clock = Clock("2026-06-07 02:15")
    gate = keeper(clock, "daily 00:00 12h UTC", "daily 12:00 12h UTC")
    assert gate.permits(0) == 0
    assert gate.retry_at(0) > 86400


def test_without_windows_it_is_open() -> None:
    assert keeper(Clock("2026-06-07 02:15")).permits(0) == UNLIMITED
