"""Alarms that workers share: whatever the order, all come to the same; claims decide who tells."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.alerts.alarm import (
    CLAIM_TIMEOUT,
    RENEWAL_INTERVAL,
    Alarm,
    Claim,
    Sighting,
    first_episode,
)
from trunkline.streams.alerts.conditions import Observation
from trunkline.streams.alerts.kinds import BREAKER, DEAD_LETTERS, KINDS
from trunkline.times import format_duration

HOUR = 3600.0
START = 1_700_000_000.0

times = st.integers(0, 10**7).map(lambda ms: round(START + ms / 1000, 3))
names = st.sampled_from(["a", "b", "c"])
sightings = st.dictionaries(
    names, st.builds(Sighting, times, st.integers(0, 9).map(float)), max_size=3
)
claims = st.none() | st.builds(Claim, st.integers(1, 3), st.integers(0, 2), names, times)


@st.composite
def alarms(draw: st.DrawFn) -> Alarm:
    notified = draw(st.integers(0, 2))
    error = draw(st.sampled_from(["", "x", "y"]))
    return Alarm(
        draw(st.integers(1, 2)),
        draw(times),
        draw(sightings),
        error,
        draw(times) if error else 0.0,
        notified,
        draw(times) if notified else 0.0,
        bool(notified) and draw(st.booleans()),
        draw(claims),
    )


@given(alarms(), alarms(), alarms())
def test_workers_agree_in_whatever_order_they_read(a: Alarm, b: Alarm, c: Alarm) -> None:
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(a) == a
    assert a.merge(b).merge(b) == a.merge(b)


@given(alarms())
def test_an_alarm_is_the_same_after_the_control_topic(alarm: Alarm) -> None:
    assert Alarm.from_json(orjson.loads(orjson.dumps(alarm.to_json()))) == alarm


@given(alarms(), times, st.floats(0, 1e6))
def test_what_a_worker_sees_only_adds(alarm: Alarm, at: float, later: float) -> None:
    after = alarm.observed("z", Observation(BREAKER, at, at, 1.0), at + later)
    assert after.merge(alarm) == after


@given(alarms(), names, times)
def test_a_notification_that_was_sent_is_sent_for_everyone(
    alarm: Alarm, me: str, at: float
) -> None:
    after = alarm.after_notification(alarm.notified + 1, at, "reminder")
    assert alarm.claimed_by(me, at).merge(after).notified == alarm.notified + 1


def seen(at: float, amount: float = 1.0, error: str = "") -> Observation:
    return Observation(DEAD_LETTERS, at, at, amount, error, at)


def test_what_is_due() -> None:
    alarm = first_episode("a", seen(START))
    assert alarm.due(START, DEAD_LETTERS, HOUR) == "firing"
    notified = alarm.after_notification(1, START, "firing")
    assert notified.due(START + 900, DEAD_LETTERS, HOUR) is None
    assert notified.due(START + 900.1, DEAD_LETTERS, HOUR) == "resolved"
    holding = notified.observed("a", seen(START + HOUR), START + HOUR)
    assert holding.due(START + HOUR, DEAD_LETTERS, HOUR) == "reminder"
    over = notified.after_notification(2, START + 1000, "resolved")
    assert over.due(START + 9 * HOUR, DEAD_LETTERS, HOUR) is None


def test_an_alarm_that_nobody_told_is_told_however_late() -> None:
    assert first_episode("a", seen(START)).due(START + 99 * HOUR, DEAD_LETTERS, HOUR) == "firing"


def test_what_comes_after_the_end_is_a_new_episode() -> None:
    over = first_episode("a", seen(START)).after_notification(1, START + 50, "resolved")
    assert over.observed("a", seen(START + 50), START + 60) is over
    again = over.observed("a", seen(START + 51), START + 60)
    assert (again.episode, again.notified, again.resolved) == (2, 0, False)


def test_a_worker_repeats_what_it_sees_now_and_then_only() -> None:
    alarm = first_episode("a", seen(START, 1))
    early = START + RENEWAL_INTERVAL - 1
    assert alarm.observed("a", seen(early, 900), early) is alarm
    late = alarm.observed("a", seen(early, 900), START + RENEWAL_INTERVAL)
    assert late.amount(DEAD_LETTERS) == 900


def test_amounts_of_workers_add_up_for_events_and_the_longest_counts_for_times() -> None:
    both = first_episode("a", seen(START, 2)).merge(first_episode("b", seen(START + 1, 3)))
    assert (both.amount(DEAD_LETTERS), both.amount(BREAKER)) == (5, 3)
    assert (both.since, both.seen) == (START, START + 1)


def test_the_newest_error_is_kept() -> None:
    old, new = (
        first_episode("a", seen(START, error="old")),
        first_episode("b", seen(START + 1, error="new")),
    )
    assert old.merge(new).error == "new"


def test_of_two_claims_one_wins_everywhere() -> None:
    alarm = first_episode("a", seen(START))
    a, b = alarm.claimed_by("a", START), alarm.claimed_by("b", START - 1)
    assert a.merge(b).claim == b.merge(a).claim == a.claim


def test_a_claim_that_is_not_renewed_is_taken_over() -> None:
    alarm = first_episode("a", seen(START)).claimed_by("a", START)
    assert alarm.is_claimed(START + CLAIM_TIMEOUT)
    assert not alarm.is_claimed(START + CLAIM_TIMEOUT + 1)
    taken = alarm.claimed_by("b", START + CLAIM_TIMEOUT + 1)
    assert taken.merge(alarm.claimed_by("a", START + 30)).claim == taken.claim


def test_a_claim_is_over_when_its_notification_was_sent() -> None:
    alarm = (
        first_episode("a", seen(START))
        .claimed_by("a", START)
        .after_notification(1, START, "firing")
    )
    assert not alarm.is_claimed(START)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_times_are_said_as_a_person_says_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_each_kind_says_what_happened_and_what_shows_more(kind: object) -> None:
    known = KINDS[getattr(kind, "name", "")]
    assert known.firing(700) != known.over(700)
    assert known.command.startswith("trunkline ")
