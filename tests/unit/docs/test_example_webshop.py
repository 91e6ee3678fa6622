"""The webshop of the examples: whatever happens, the warehouse and the mart have what the shop and
its partner say. In memory, in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trunkline import Record, Retryable, Secret, Unavailable
from trunkline.event import Change, join_key
from trunkline.streams.flow.loading import load
from trunkline.testing import FlowTest

ROOT = Path(__file__).parents[3]
Row = dict[str, Any]


@pytest.fixture
def webshop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", sys.path[:])
    flow = load(str(ROOT / "examples/webshop.py"))
    return sys.modules[flow.routes[0].function.__module__]


class World:
    """The shop's three tables with its API, its partner, and all that is behind them."""

    def __init__(self, webshop: ModuleType) -> None:
        self.module = webshop
        self.customers: dict[str, Row] = {}
        self.orders: dict[str, Row] = {}
        self.lines: dict[str, Row] = {}
        self.partner: dict[str, Row] = {}
        self.is_down = False
        self.asked = 0
        env = webshop.Env(
            shop_dsn=Secret(""),
            shop_url="http://shop.invalid",
            partner_port=8086,
            partner_secret=Secret(""),
            warehouse_url="http://warehouse.invalid",
            mart_url=Secret("postgresql://mart.invalid/mart"),
        )
        self.test: FlowTest[Any] = FlowTest(webshop.flow, env=env, clients={webshop.Shop: self})

    # The shop's API.

    async def buyer_of(self, order_id: str) -> str | None:
        self.asked += 1
        if self.is_down:
            raise Unavailable("the shop's API is down")
        order = self.orders.get(order_id)
        if order is None or order["status"] != "paid":
            return None
        customer = self.customers.get(order["customer_id"])
        if customer is None:
            raise Retryable("the customer is not there yet")
        return str(customer["name"])

    # What people do in it.

    def customer(self, id: str, name: str) -> None:
        self._write(self.customers, "public.customers", id, {"id": id, "name": name})

    def order(self, id: str, status: str, customer: str = "ada") -> None:
        row = {"id": id, "customer_id": customer, "status": status}
        self._write(self.orders, "public.orders", id, row)

    def line(self, order: str, line: int, quantity: int) -> None:
        row = {"order_id": order, "line": line, "sku": f"sku-{line}", "quantity": quantity}
        self._write(self.lines, "public.order_lines", join_key([order, str(line)]), row)

    def delete_line(self, order: str, line: int) -> None:
        key = join_key([order, str(line)])
        del self.lines[key]
        self._read("public.order_lines", key, {}, "delete")

    def delete_order(self, id: str) -> None:
        del self.orders[id]
        self._read("public.orders", id, {}, "delete")

    def partner_sends(self, id: str, *quantities: int) -> None:
        lines = [{"sku": f"p-{quantity}", "quantity": quantity} for quantity in quantities]
        self.partner[id] = {"id": id, "lines": lines}
        self.test.read(self.module.partner, Record(key=id, data=self.partner[id]))

    def _write(self, table: dict[str, Row], stream: str, key: str, row: Row) -> None:
        change: Change = "update" if key in table else "create"
        table[key] = row
        self._read(stream, key, row, change)

    def _read(self, stream: str, key: str, row: Row, change: Change) -> None:
        record = Record(key=key, data=row, stream=stream, change=change)
        self.test.read(self.module.shop, record)

    # What must be so in the end.

    def check(self) -> None:
        """All that is behind the flow is what the shop and the partner say, value by value."""
        self.test.run_until_idle()
        picks = {
            id: {"order_id": id, "customer_name": self.customers[order["customer_id"]]["name"]}
            for id, order in self.orders.items()
            if order["status"] == "paid"
        }
        assert self._state("warehouse") == picks
        assert self._state("mart_customers") == self.customers
        assert self._state("mart_orders") == self.orders
        assert self._state("mart_lines") == self.lines
        assert self._state("mart_partner") == {
            id: {
                "order_id": id,
                "lines": [{"line": n, **line} for n, line in enumerate(order["lines"], 1)],
            }
            for id, order in self.partner.items()
        }
        for destination in self.module.flow.destinations:
            assert self.test.dead_letters(destination) == [], destination.name

    def _state(self, destination: str) -> dict[str, Any]:
        """What the destination has by key; what was deleted in it is not there."""
        state = self.test.destination(getattr(self.module, destination)).state
        return {key: data for key, data in state.items() if data is not None}


@pytest.fixture
def world(webshop: ModuleType) -> Iterator[World]:
    made = World(webshop)
    with made.test:
        yield made


def test_the_page_shows_the_flow_as_it_is() -> None:
    page = (ROOT / "docs/webshop.md").read_text()
    assert f"```python\n{(ROOT / 'examples/webshop.py').read_text()}```" in page


def test_paid_orders_are_picked_and_all_is_in_the_mart(world: World) -> None:
    world.customer("ada", "Ada Lovelace")
    for id, status in (("1", "placed"), ("2", "paid")):
        world.order(id, status)
        world.line(id, 1, quantity=3)
    world.partner_sends("P1", 2, 5)
    world.check()
    assert list(world._state("warehouse")) == ["2"]


def test_a_customer_may_come_after_the_order(world: World) -> None:
    world.order("1", "paid", customer="bob")
    world.test.advance("5s")
    assert world._state("warehouse") == {}
    world.customer("bob", "Bob")
    world.check()
    assert world._state("warehouse")["1"]["customer_name"] == "Bob"


def test_a_cancelled_order_is_taken_back(world: World) -> None:
    world.customer("ada", "Ada Lovelace")
    world.order("1", "paid")
    world.order("2", "paid")
    world.check()
    world.order("1", "cancelled")
    world.delete_order("2")
    world.check()
    assert world._state("warehouse") == {}


def test_an_order_that_is_cancelled_while_its_customer_is_awaited_is_not_picked(
    world: World,
) -> None:
    world.order("1", "paid", customer="bob")
    world.test.advance("5s")
    world.order("1", "cancelled", customer="bob")
    world.customer("bob", "Bob")
    world.check()
    assert world._state("warehouse") == {}


def test_a_changed_name_reaches_the_picks_of_paid_orders(world: World) -> None:
    world.customer("ada", "Ada Byron")
    world.order("1", "paid")
    world.order("2", "placed")
    world.check()
    world.customer("ada", "Ada Lovelace")
    world.check()
    assert world._state("warehouse")["1"]["customer_name"] == "Ada Lovelace"


def test_lines_that_shrink(world: World) -> None:
    world.order("1", "placed")
    for line in (1, 2, 3):
        world.line("1", line, quantity=line)
    world.partner_sends("P1", 1, 2, 3)
    world.customer("ada", "Ada Lovelace")
    world.check()
    world.delete_line("1", 2)
    world.partner_sends("P1", 2)
    world.check()


def test_an_outage_of_the_shops_api_burns_no_attempt_and_stops_nothing_else(world: World) -> None:
    world.customer("ada", "Ada Lovelace")
    world.is_down = True
    for id in ("1", "2", "3"):
        world.order(id, "paid")
    world.test.advance("30m")
    assert world._state("warehouse") == {}
    assert sorted(world._state("mart_orders")) == ["1", "2", "3"], "the mart asks no API"
    assert world.asked < 400, "it is asked seldom while it is down"
    world.order("2", "cancelled")
    world.is_down = False
    world.check()
    assert sorted(world._state("warehouse")) == ["1", "3"]


def test_a_crash_in_the_middle_of_all_that(world: World) -> None:
    world.order("1", "paid", customer="bob")
    world.test.crash()
    world.customer("bob", "Bob")
    world.partner_sends("P1", 1, 2)
    world.test.crash()
    world.order("2", "paid", customer="bob")
    world.customer("bob", "Robert")
    world.test.crash()
    world.partner_sends("P1", 2)
    world.check()
