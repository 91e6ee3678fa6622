"""What is asked of KEDA, of what is known: holds, windows, pauses, and how many workers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline.admin.destinations import overview
from trunkline.admin.targets import Target
from trunkline.scaler.demand import Calendar, Demand, Facts, demand, together
from trunkline.scaler.holds import NEVER, Hold, HoldMemory
from trunkline.scaler.measured import Capacity, Lead
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.streams.flow.maintenance import Window
from trunkline.streams.flow.policy import Policy
from trunkline.times import iso

NOW = datetime(2026, 11, 22, 1, 30, tzinfo=UTC).timestamp()  # a Sunday
LEAD = 15.0
SOON = {0: [0.0]}
"""One event that nothing but its destination holds up."""


def asked(calendar: Calendar | None = None, now: float = NOW, **facts: Any) -> Demand:
    return demand(Facts(now, **facts), calendar or Calendar(), now, LEAD)


def test_without_work_nobody_runs() -> None:
    assert asked() == Demand(False, NEVER, 0, 0.0)


@pytest.mark.parametrize(
    ("ready", "active", "sendable"),
    [
        ([NOW + 16], False, 0),
        ([NOW + 15], True, 0),
        ([NOW], True, 1),
        ([NOW - 60, NOW - 1, NOW + 60], True, 2),
    ],
)
def test_what_waits_is_work_from_its_due_time_less_the_lead(
    ready: list[float], active: bool, sendable: int
) -> None:
    found = asked(ready={3: ready})
    assert (found.active, found.sendable) == (active, sendable)


def test_a_window_holds_until_its_end() -> None:
    """From 02:00 to 04:00: what is due in it counts from 04:00, and from 03:59:45 on one runs."""
    calendar = Calendar([Window.parse("Sun 02:00 2h UTC")])
    assert asked(calendar, ready=SOON).sendable == 1
    due_in_it = {0: [NOW + 3600]}
    assert asked(calendar, ready=due_in_it).wake_at == NOW + 2.5 * 3600
    assert not asked(calendar, NOW + 3600, ready=SOON).active
    assert asked(calendar, NOW + 2.5 * 3600 - 15, ready=SOON) == Demand(True, NOW + 2.5 * 3600)


@pytest.mark.parametrize(("until", "active"), [(NOW + 16, False), (NOW + 15, True), (NEVER, False)])
def test_a_hold_lasts_until_its_end(until: float, active: bool) -> None:
    found = asked(ready={0: [0.0] * 500}, hold=Hold(until))
    assert found == Demand(active, until, 0, 0.0)


def test_a_tripped_limit_keeps_its_worker_and_asks_for_no_more() -> None:
    found = asked(ready={0: [0.0] * 500}, hold=Hold(NEVER, stay=True))
    assert (found.active, found.workers) == (True, 0.0)


@pytest.mark.parametrize(
    ("events", "rate", "limit", "workers"),
    [
        ([300], 100.0, None, 0.1),  # of one partition: a tenth of what one does in 30 s
        ([90_000], 100.0, None, 1.0),  # more than one worker could do, but one partition has it
        ([90_000, 1], 100.0, None, 2.0),
        ([9_000, 3_000, 0], 100.0, None, 2.0),  # an idle partition is no work
        ([3_750, 3_750], 100.0, None, 2.0),
        ([90_000, 90_000, 90_000], 100.0, 90.0, 1.0),  # one uses up the limit alone
        ([90_000, 90_000, 90_000], 50.0, 90.0, 2.0),
    ],
)
def test_as_many_workers_as_are_of_use(
    events: list[int], rate: float, limit: float | None, workers: float
) -> None:
    ready = {n: [0.0] * count for n, count in enumerate(events) if count}
    assert asked(ready=ready, rate=rate, limit=limit).workers == workers


def test_what_was_not_read_yet_counts_as_soon_as_what_was() -> None:
    assert asked(ready={0: [0.0] * 10}, unread={0: 290}).sendable == 300
    assert asked(ready={0: [NOW + 5]}, unread={0: 290}).sendable == 0


def test_a_replay_is_work_for_who_routes() -> None:
    assert asked(errands=True) == Demand(True, NOW, 0, 1.0)


def test_of_several_destinations_the_most_demanding_counts() -> None:
    found = together([Demand(False, NOW + 99), Demand(True, NOW, 5, 0.2), Demand(True, NOW, 7, 2)])
    assert found == Demand(True, NOW, 12, 2)


# What holds a destination, by the control topic


POLICY = Policy(breaker=CircuitBreaker(open="5m", longest="30m"))


def told(*workers: dict[str, Any], override: dict[str, Any] | None = None) -> dict[str, Any]:
    state = {f"status/erp/w{n}": {"at": iso(NOW), **one} for n, one in enumerate(workers)}
    return state | ({"destination/erp": override} if override else {})


def held(state: dict[str, Any], *, members: int, now: float = NOW, by: Any = None) -> Hold:
    memory = by or HoldMemory(POLICY)
    found: Hold = memory.look(overview(Target("orders", "erp"), state, members, now), now)
    return found


OPEN = {"state": "open", "until": iso(NOW + 240)}


@pytest.mark.parametrize(
    ("state", "members", "until", "stay"),
    [
        (told(), 2, 0.0, False),
        (told(OPEN), 1, NOW + 240, False),
        (told(OPEN), 2, 0.0, False),  # the other one reaches it
        (told(OPEN, {"state": "half-open"}), 2, NOW, False),  # a probe is made now
        (told({"state": "cannot-open"}), 1, NOW, False),
        (told({"state": "halted", "halted_keys": 2}), 1, 0.0, False),
        (told({"state": "slow-start"}), 1, 0.0, False),
        (told({**OPEN, "at": iso(NOW - 46)}), 0, 0.0, False),  # its worker was killed
        (told({"state": "dead-letter-limit"}), 2, NEVER, True),
        (told(override={"state": "paused"}), 2, NEVER, False),
        (told(override={"state": "paused", "until": iso(NOW + 60)}), 0, NOW + 60, False),
        (told(override={"state": "paused", "until": iso(NOW - 1)}), 0, 0.0, False),
        (told(OPEN, override={"state": "forced"}), 1, 0.0, False),
        (told({**OPEN, "until": "soon"}), 1, NOW, False),
    ],
)
def test_what_holds_a_destination(
    state: dict[str, Any], members: int, until: float, stay: bool
) -> None:
    assert held(state, members=members) == Hold(until, stay)


def test_an_outage_is_remembered_when_no_worker_is_left_to_tell_of_it() -> None:
    memory = HoldMemory(POLICY)
    assert held(told(OPEN), members=1, by=memory).until == NOW + 240
    asleep = NOW + 300
    assert held(told(), members=0, now=asleep, by=memory).until == NOW + 1800
    assert held(told(), members=0, now=NOW + 1801, by=memory) == Hold()


def test_an_outage_is_over_when_a_worker_does_not_tell_of_it() -> None:
    memory = HoldMemory(POLICY)
    held(told(OPEN), members=1, by=memory)
    assert held(told(), members=1, now=NOW + 60, by=memory) == Hold()
    assert held(told(), members=0, now=NOW + 400, by=memory) == Hold()


# What is measured


def test_the_capacity_is_of_one_worker_that_has_enough_to_do() -> None:
    capacity = Capacity()
    assert capacity.rate == 100.0
    capacity.note(0.0, 0, 2, busy=True)
    capacity.note(10.0, 4_000, 2, busy=True)
    assert capacity.rate == 200.0
    capacity.note(20.0, 40_000, 0, busy=True)  # nobody was in the group: a rebalance
    capacity.note(30.0, 40_010, 2, busy=False)  # there was nothing more to do
    capacity.note(40.0, 40_010, 2, busy=True)
    assert capacity.rate == 200.0


def test_the_lead_is_the_p90_of_the_starts() -> None:
    lead = Lead(15.0)
    for took in range(1, 11):
        lead.wished(100.0)
        lead.running(100.0 + took)
        lead.running(500.0)  # it was known already
        assert lead.seconds == (15.0 if took < 5 else -(-took * 9 // 10))
    lead.wished(100.0)
    lead.dropped()
    lead.running(900.0)
    assert lead.seconds == 9
