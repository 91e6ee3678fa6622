"""The reserve of a rate: one event at most, and only of what nobody may use."""

from __future__ import annotations

from trunkline.streams.quota.coordinator import Coordinator, Reserve
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.leases import LeaseTable
from trunkline.streams.quota.records import BEFORE_ALL, ClientDemand, ClientId, Demand, GrantId


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


def demand(leases: LeaseTable, member: str, request: int, wants: Share, now: float) -> None:
    """A member that has applied nothing asks for some of a limit of six events a minute."""
    whole, holds = Share(0.1, None), Share(0.0, None)
    said = ClientDemand("system/erp", member, whole, wants, holds, 0.0)
    leases.demanded(now, Demand(member, request, BEFORE_ALL, {"0": said}))


def test_a_term_begins_without_a_reserve_and_an_idle_limit_fills_it() -> None:
    leases = LeaseTable()
    coordinator = Coordinator(leases, 7)
    credits = []
    for number, now in enumerate([0.0, 100.0, 200.0]):
        demand(leases, "a", 2 * number, Share(0.1, None), now)
        grants = coordinator.decide(now, {"system/erp"})
        assert grants is not None
        (grant,) = grants.grants
        assert grant.share == Share(0.1, None)
        credits.append(grant.credit)
        demand(leases, "a", 2 * number + 1, NOTHING, now + 6.0)
        idle = coordinator.decide(now + 6.0, {"system/erp"})
        assert idle is not None
        assert (idle.grants, idle.gone) == ([], [(ClientId("a", "0"), "system/erp")])
        assert coordinator.decide(now + 7.0, {"system/erp"}) is None, "it is said once"
    assert credits == [0.0, 1.0, 1.0]


def test_who_asks_again_gets_no_second_event_of_the_reserve() -> None:
    leases = LeaseTable()
    coordinator = Coordinator(leases, 7)
    demand(leases, "a", 1, NOTHING, 0.0)
    demand(leases, "a", 2, Share(0.1, None), 0.0)
    assert coordinator.decide(0.0, {"system/erp"})
    demand(leases, "a", 3, Share(0.1, None), 1.0)
    grants = coordinator.decide(1.0, {"system/erp"})
    assert grants is not None
    assert grants.grants[0].credit == 0.0
    assert grants.id == GrantId(7, 1)
