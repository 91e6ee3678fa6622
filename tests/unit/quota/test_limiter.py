"""A gate that uses the share of a limit that it was given."""

from __future__ import annotations

import pytest

from trunkline.streams.admission.gate import NEVER, UNLIMITED
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.limiter import QuotaGate
from trunkline.streams.quota.usage import IDLE


def gate(rate: float | None = 10.0, calls: int | None = None) -> QuotaGate:
    """A gate that has all of its limit from 0 to 100."""
    made = QuotaGate(Share(rate, calls))
    made.grant(0.0, Share(rate, calls), 100.0)
    return made


def test_without_a_share_nothing_is_sent() -> None:
    made = QuotaGate(Share(10.0, 2))
    assert made.permits(50.0) == 0
    assert made.retry_at(50.0) == NEVER


def test_a_share_ends_with_its_lease() -> None:
    made = gate(calls=3)
    assert made.permits(99.9) > 0
    assert made.permits(100.0) == 0
    assert made.holds(100.0) == NOTHING


def test_a_rate_alone_limits_no_calls_and_calls_alone_no_rate() -> None:
    assert gate(10.0, None).permits(1.0) == 1
    assert gate(None, 2).permits(1.0) == UNLIMITED


def test_there_is_room_again_when_it_says() -> None:
    made = gate(10.0)
    made.acquire(1.0, made.permits(1.0))
    assert made.permits(1.0) == 0
    at = made.retry_at(1.0)
    assert at == pytest.approx(1.1)
    assert made.permits(at) == 1
    assert made.retry_at(at) == at


def test_permits_are_calls_and_not_events() -> None:
    made = gate(None, 2)
    first = made.acquire(1.0, 100)
    assert made.permits(1.0) == UNLIMITED
    made.acquire(1.0, 100)
    assert made.permits(1.0) == 0
    assert made.retry_at(1.0) == NEVER
    first.finish(1.5, 100, None)
    assert made.permits(1.5) == UNLIMITED


@pytest.mark.parametrize(
    ("calls", "sent"),
    [
        ([5], [5]),
        ([5], [3]),  # two of its events could not be read
        ([5], [0]),  # cancelled
        ([5, 2], [3, 2]),
        ([5, 2], [5, 0]),
        ([5, 3, 3], [1, 3, 3]),
        ([9, 4], [0, 0]),
        ([2, 2, 2], [2, 1, 2]),
    ],
)
def test_a_call_is_under_way_until_its_permit_is_finished_however_much_it_sent(
    calls: list[int], sent: list[int]
) -> None:
    made = gate(None, 10)
    permits = [made.acquire(1.0, count) for count in calls]
    made.give_back(2.0)
    for left, (permit, count) in enumerate(zip(permits, sent, strict=True)):
        assert made.holds(2.0).calls == len(calls) - left
        permit.finish(2.0, count, None)
    assert made.holds(2.0).calls == 0


def test_what_was_cancelled_may_have_been_sent_and_still_counts_for_the_rate() -> None:
    made = gate(10.0, 1)
    made.acquire(1.0, 1).finish(1.0, 0, None)
    assert made.permits(1.0) == 0
    assert made.permits(1.1) == 1


def test_calls_of_a_larger_share_are_held_until_they_end() -> None:
    made = gate(None, 3)
    under_way = [made.acquire(1.0, 1) for _ in range(3)]
    made.grant(2.0, Share(None, 1), 100.0)
    assert made.holds(2.0) == Share(None, 3)
    told: list[float] = []
    made.on_starved = told.append
    under_way[0].finish(3.0, 1, None)
    assert made.holds(3.0) == Share(None, 2)
    assert told == [3.0]  # somebody else waits for the permit


def test_who_has_less_than_it_could_use_tells_and_is_told() -> None:
    made = QuotaGate(Share(10.0, None))
    told: list[float] = []
    changes: list[int] = []
    made.on_starved, made.on_capacity = told.append, lambda: changes.append(1)
    made.permits(1.0)
    assert told == [1.0]
    made.grant(2.0, Share(10.0, None), 7.0)
    assert changes == [1]
    made.grant(3.0, Share(10.0, None), 8.0)
    assert changes == [1]  # nothing new
    assert made.permits(9.0) == 0
    made.grant(9.0, Share(10.0, None), 14.0)
    assert changes == [1, 1]


def test_all_is_wanted_where_something_waits_and_half_as_much_again_where_not() -> None:
    made = gate(100.0, 10)
    made.reported(1.0)
    for step in range(10):
        assert made.permits(1.0 + step / 10)
        made.acquire(1.0 + step / 10, 1).finish(1.0 + step / 10, 1, None)
    assert made.wants(2.0).rate == pytest.approx(15.0)
    assert made.wants(2.0).calls == 1
    made.acquire(2.0, made.permits(2.0))
    made.permits(2.0)
    assert made.wants(2.0).rate == 100.0


def test_who_is_idle_wants_nothing_but_who_waits_for_a_first_share_does_not_give_up() -> None:
    idle = gate(10.0)
    idle.permits(1.0)
    assert idle.wants(1.0) != NOTHING
    assert idle.wants(1.0 + IDLE + 0.1) == NOTHING
    waiting = QuotaGate(Share(10.0, 5))
    waiting.permits(1.0)  # and is not asked again before ``on_capacity`` is called
    assert waiting.wants(1000.0) == waiting.whole
    waiting.grant(1000.0, waiting.whole, 1005.0)
    assert waiting.wants(1001.0) != NOTHING
    assert waiting.wants(1000.0 + IDLE + 0.1) == NOTHING  # it was not asked: nobody needs it
