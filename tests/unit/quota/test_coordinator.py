"""The reserve of a rate: one event at most, and only of what nobody may use."""

from __future__ import annotations

from trunkline.streams.quota.coordinator import Coordinator, Reserve
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.leases import LeaseTable


def test_a_reserve_saves_up_what_is_free_and_gives_it_once() -> None:
    reserve = Reserve(at=0.0)
    reserve.fill(100.0)  # nothing was free
    assert reserve.take() == 0.0
    reserve.free = 0.1
    reserve.fill(105.0)
    assert reserve.take() == 0.0
    reserve.fill(110.0)
    assert reserve.take() == 1.0
    assert reserve.take() == 0.0
    reserve.fill(1000.0)
    assert [reserve.take(), reserve.take()] == [1.0, 0.0]


def demand(ledger: LeaseTable, member: str, request: int, wants: Share, now: float) -> None:
    """A member that has applied nothing asks for some of a limit of six events a minute."""
    seat = {
        "key": "system/erp",
        "who": member,
        "whole": [0.1, None],
        "wants": [wants.rate, wants.calls],
        "holds": [0.0, None],
        "grace": 0.0,
    }
    said = {"member": member, "request": request, "applied": (-1, -1), "seats": {"0": seat}}
    ledger.demanded(now, said)


def test_a_reign_begins_without_a_reserve_and_an_idle_limit_fills_it() -> None:
    ledger = LeaseTable()
    coordinator = Coordinator(ledger, 7)
    credits = []
    for number, now in enumerate([0.0, 100.0, 200.0]):
        demand(ledger, "a", 2 * number, Share(0.1, None), now)
        grants = coordinator.decide(now, {"system/erp"})
        assert grants is not None
        (grant,) = grants["to"]
        assert grant["share"] == [0.1, None]
        credits.append(grant["credit"])
        demand(ledger, "a", 2 * number + 1, NOTHING, now + 6.0)
        assert coordinator.decide(now + 6.0, {"system/erp"}) is None
    assert credits == [0.0, 1.0, 1.0]


def test_who_asks_again_gets_no_second_event_of_the_reserve() -> None:
    ledger = LeaseTable()
    coordinator = Coordinator(ledger, 7)
    demand(ledger, "a", 1, NOTHING, 0.0)
    demand(ledger, "a", 2, Share(0.1, None), 0.0)
    assert coordinator.decide(0.0, {"system/erp"})
    demand(ledger, "a", 3, Share(0.1, None), 1.0)
    grants = coordinator.decide(1.0, {"system/erp"})
    assert grants is not None
    assert grants["to"][0]["credit"] == 0.0
    assert (grants["reign"], grants["number"]) == (7, 1)
