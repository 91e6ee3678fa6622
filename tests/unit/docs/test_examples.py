"""The example flows: wired without a mistake, and their routes called as the functions they are."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline import Event, Flow, Record
from trunkline.cli import app
from trunkline.schemas.aviation import BoardEntry, DelayAlert, Flight, Notice
from trunkline.schemas.commerce import Order, PickList
from trunkline.streams.flow.loading import load

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", sys.path[:])


def module(name: str) -> ModuleType:
    flow: Flow[Any] = load(f"examples/{name}.py")
    return sys.modules[flow.routes[0].function.__module__]


def event(data: Any) -> Event[Any]:
    return Event(key=str(data["id"]), value=b"", headers=[], decode=lambda value: data)


def flight(**changed: Any) -> Flight:
    data = Flight(
        id="2013-01-01-UA-1545-EWR",
        carrier="UA",
        flight_number=1545,
        tail_number="N14228",
        origin="EWR",
        destination="IAH",
        scheduled_departure=NOON,
        scheduled_arrival=NOON,
        departure_delay_minutes=None,
        arrival_delay_minutes=None,
        status="scheduled",
        distance_miles=1400,
        air_time_minutes=None,
    )
    return Flight(**{**data, **changed})  # type: ignore[typeddict-item]


def test_check_finds_nothing() -> None:
    assert {path.stem for path in EXAMPLES} >= {"airport", "orders", "webshop"}
    files = [str(path) for path in EXAMPLES]
    done = CliRunner().invoke(app, ["check", *files, "--env", "local"])
    assert done.exit_code == 0, done.output
    assert "warning" not in done.output


def test_a_row_of_the_airport_becomes_a_flight() -> None:
    row = {
        "id": "2013-01-01-UA-1545-EWR", "carrier": "UA", "flight": 1545, "tailnum": "N14228",
        "origin": "EWR", "dest": "IAH", "sched_dep": NOON, "sched_arr": NOON, "dep_delay": 2,
        "arr_delay": 11, "state": "A", "distance": 1400, "air_time": 227,
    }  # fmt: skip
    made = module("airport").flights(Record(key=row["id"], data=row))
    assert made == flight(
        departure_delay_minutes=2, arrival_delay_minutes=11, status="arrived", air_time_minutes=227
    )


@pytest.mark.parametrize(
    ("departure", "arrival", "alert"),
    [(None, None, None), (60, None, None), (61, None, 61), (30, 90, 90), (75, -5, 75)],
)
def test_operations_hear_of_more_than_an_hour(
    departure: int | None, arrival: int | None, alert: int | None
) -> None:
    late = flight(
        departure_delay_minutes=departure, arrival_delay_minutes=arrival, status="departed"
    )
    expected = alert and DelayAlert(
        flight_id=late["id"],
        carrier="UA",
        origin="EWR",
        destination="IAH",
        delay_minutes=alert,
        status="departed",
    )
    assert module("airport").late(event(late)) == expected


def test_the_mart_gets_every_flight_as_it_is() -> None:
    received = event(flight())
    assert received.is_own(module("airport").history(received))


def test_the_board_shows_cancellations_and_no_other_flight() -> None:
    airport = module("airport")
    assert airport.cancelled(event(flight(status="departed"))) is None
    assert airport.cancelled(event(flight(status="cancelled"))) == BoardEntry(
        id="2013-01-01-UA-1545-EWR",
        airport="EWR",
        text="UA 1545 to IAH is cancelled",
        severity="critical",
    )


def test_a_call_of_the_staff_reaches_the_board() -> None:
    airport = module("airport")
    call = {"id": "n1", "airport": "JFK", "severity": "warning", "text": "fog"}
    notice = airport.notices(
        Record(key="n1", data={**call, "issued_at": "2013-01-01T12:00:00+00:00"})
    )
    assert notice == Notice(id="n1", airport="JFK", severity="warning", text="fog", issued_at=NOON)
    assert airport.shown(event(notice)) == BoardEntry(
        id="n1", airport="JFK", text="fog", severity="warning"
    )


def test_the_warehouse_picks_paid_orders_only() -> None:
    orders = module("orders")
    row = Record(key="7", data={"status": "paid", "cents": 250})
    paid = orders.orders(row)
    assert paid == Order(id="7", status="paid", total_cents=250)
    assert orders.pick_list(event(paid)) == PickList(order_id="7")
    assert orders.pick_list(event(Order(id="8", status="placed", total_cents=1))) is None
    received = event(paid)
    assert received.is_own(orders.customer_history(received))
