"""The example flows through outages, refusals and crashes: whole, in memory, in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trunkline import Record, Secret
from trunkline.schemas.commerce import Order
from trunkline.streams.flow.loading import load
from trunkline.testing import FlowTest

ROOT = Path(__file__).parents[3]
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", sys.path[:])


def module(name: str) -> ModuleType:
    flow: Any = load(f"examples/{name}.py")
    return sys.modules[flow.routes[0].function.__module__]


@pytest.fixture
def shop() -> ModuleType:
    return module("orders")


def order(id: str, status: str = "paid", cents: int = 100) -> Order:
    return Order(id=id, status=status, total_cents=cents)


def test_the_warehouse_gets_paid_orders_and_the_crm_all(shop: ModuleType) -> None:
    with FlowTest(shop.flow) as test:
        rows = [("1", "placed"), ("2", "paid"), ("1", "paid")]
        test.read(shop.shop, *(Record(key=k, data={"status": s, "cents": 5}) for k, s in rows))
        picked = [delivery.data for delivery in test.destination(shop.warehouse).delivered]
        assert picked == [{"order_id": "2"}, {"order_id": "1"}]
        assert test.destination(shop.crm).state == {
            "1": order("1", "paid", 5),
            "2": order("2", "paid", 5),
        }


def test_the_crm_is_down_for_ten_minutes_and_the_warehouse_does_not_care(shop: ModuleType) -> None:
    with FlowTest(shop.flow) as test:
        crm, warehouse = (
            test.destination(shop.crm).down_for("10m"),
            test.destination(shop.warehouse),
        )
        for cents in range(20):
            test.publish(shop.orders, order("7", cents=cents))
            test.advance("30s")
        assert len(warehouse.delivered) == 20
        assert len(crm.delivered) == 0
        test.run_until_idle()
        assert [delivery.data["total_cents"] for delivery in crm.delivered] == list(range(20))
        assert {delivery.number for delivery in crm.delivered} == {1}


def test_a_busy_warehouse_is_waited_for(shop: ModuleType) -> None:
    with FlowTest(shop.flow) as test:
        warehouse = test.destination(shop.warehouse).answers(429, retry_after="90")
        test.publish(shop.orders, order("7"))
        test.run_until_idle()
        first, second = warehouse.attempts
        assert second.at - first.at >= 90
        assert (second.number, second.tier) == (2, "10s")


def test_one_poisoned_order_stops_no_other(shop: ModuleType) -> None:
    with FlowTest(shop.flow) as test:
        test.destination(shop.crm).rejects(lambda event: event.key == "13")
        ids = [test.publish(shop.orders, order(id)) for id in ("12", "13", "14")]
        test.run_until_idle()
        assert sorted(test.destination(shop.crm).state) == ["12", "14"]
        (letter,) = test.dead_letters(shop.crm)
        assert (letter.event_id, letter.key) == (ids[1], b"13")
        assert test.dead_letters(shop.warehouse) == []


@pytest.fixture
def airport() -> ModuleType:
    return module("airport")


@pytest.fixture
def test(airport: ModuleType) -> Iterator[FlowTest[Any]]:
    env = airport.Env(
        airport_dsn=Secret("postgresql://stands-in"),
        operations_url="http://operations.invalid",
        mart_url=Secret("sqlite:///never-opened.db"),
        board_url="http://board.invalid",
        notices_token=Secret("token"),
    )
    with FlowTest(airport.flow, env=env) as test:
        yield test


def row(state: str = "S", delay: int | None = None) -> dict[str, Any]:
    return {
        "id": "UA1545", "carrier": "UA", "flight": 1545, "tailnum": "N14228", "origin": "EWR",
        "dest": "IAH", "sched_dep": NOON, "sched_arr": NOON, "dep_delay": delay,
        "arr_delay": None, "state": state, "distance": 1400, "air_time": None,
    }  # fmt: skip


def flight(**data: Any) -> Record:
    return Record(key="UA1545", data=row(**data), stream="public.flights")


def test_a_flight_reaches_whom_it_concerns(test: FlowTest[Any], airport: ModuleType) -> None:
    test.read(airport.airport_system, flight(), flight(state="D", delay=75), flight(state="X"))
    test.run_until_idle()
    (alert,) = test.destination(airport.operations).delivered
    (entry,) = test.destination(airport.board).delivered
    assert (alert.data["delay_minutes"], entry.data["text"]) == (75, "UA 1545 to IAH is cancelled")
    statuses = [d.data["status"] for d in test.destination(airport.mart).delivered]
    assert statuses == ["scheduled", "departed", "cancelled"]


def test_a_mart_that_is_killed_half_way_ends_on_the_newest_state(
    test: FlowTest[Any], airport: ModuleType
) -> None:
    mart = test.destination(airport.mart).answers(RuntimeError("deadlock"))
    test.read(airport.airport_system, flight(), flight(state="D", delay=5))
    test.crash()
    test.read(airport.airport_system, flight(state="A", delay=5))
    test.advance("5s")
    test.crash()
    test.run_until_idle()
    assert mart.state["UA1545"]["status"] == "arrived"


def test_a_flight_that_is_deleted_goes_from_the_mart_alone(
    test: FlowTest[Any], airport: ModuleType
) -> None:
    gone = Record(key="UA1545", data={}, change="delete", stream="public.flights")
    test.read(airport.airport_system, flight(), gone)
    test.run_until_idle()
    assert test.destination(airport.mart).state == {}
    assert test.destination(airport.board).attempts == []
