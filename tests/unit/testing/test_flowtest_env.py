"""Routes that take the flow's parameters, in a flow under test."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from engine_kit import Scripted
from trunkline import ConfigurationError, Event, Flow, Params, Secret, Table
from trunkline.connectors.sql import SqlSink
from trunkline.schemas.commerce import Order
from trunkline.testing import FlowTest


class Shops(Params):
    least_cents: int = 10
    name: str


def order(cents: int) -> Order:
    return Order(id="1", status="paid", total_cents=cents)


def flow_with_parameters() -> tuple[Flow[Shops], Any, Any]:
    flow = Flow("with-env", Shops)
    orders = flow.existing_topic("commerce.orders", Order)
    flow.table(orders)

    @flow.destination
    def erp(env: Shops) -> Scripted:
        return Scripted()

    @flow.route(orders, to=erp, only="commerce.plain")
    def plain(order: Event[Order], env: Shops) -> Order | None:
        return order.data if order.data["total_cents"] >= env.least_cents else None

    @flow.route(orders, to=erp, only="commerce.awaited")
    async def awaited(order: Event[Order], known: Table[Order], *, env: Params) -> Order:
        assert isinstance(env, Shops)
        return Order(id=env.name, status="known", total_cents=len(known))

    return flow, orders, erp


@pytest.mark.parametrize(("env", "sent"), [(None, 1), (Shops(least_cents=5, name="x"), 2)])
def test_a_route_gets_the_flows_parameters(env: Shops | None, sent: int) -> None:
    flow, orders, erp = flow_with_parameters()
    with FlowTest(flow, env=env) as test:
        for number, cents in enumerate((1, 7, 20)):
            test.publish(orders, order(cents), key=str(number), type="commerce.plain")
        test.run_until_idle()
        assert len(test.destination(erp).state) == sent


def test_parameters_stand_beside_tables_in_any_order_and_in_async_routes() -> None:
    flow, orders, erp = flow_with_parameters()
    with FlowTest(flow, env=Shops(name="main street")) as test:
        test.publish(orders, order(1), key="1", type="commerce.awaited")
        test.run_until_idle()
        assert test.destination(erp).state["1"] == Order(
            id="main street", status="known", total_cents=1
        )


def test_a_route_with_parameters_is_tested_by_calling_it() -> None:
    plain: Any = flow_with_parameters()[0].routes[0]
    event: Any = type("Paid", (), {"data": order(7)})
    assert plain(event, Shops(least_cents=5, name="x")) == order(7)


class Mart(Params):
    mart_url: Secret
    region: Literal["eu", "us"]
    pages: list[str]


@pytest.mark.parametrize("url", [None, "sqlite:///:memory:", "sqlite://"])
def test_a_sql_sink_needs_no_parameters_and_takes_a_database_in_memory(url: str | None) -> None:
    flow = Flow("to-mart", Mart)
    orders = flow.existing_topic("commerce.orders", Order)

    @flow.destination
    def mart(env: Mart) -> SqlSink[Order]:
        return SqlSink(env.mart_url, Order, table=f"orders_{env.region}")

    @flow.route(orders, to=mart)
    def forward(order: Event[Order]) -> Order:
        return order.data

    env = None if url is None else Mart(mart_url=Secret(url), region="eu", pages=[])
    with FlowTest(flow, env=env) as test:
        test.publish(orders, order(5))
        test.run_until_idle()
        assert test.destination(mart).state == {"1": order(5)}
        test.publish(orders, None, key="1")
        test.run_until_idle()
        assert test.destination(mart).state == {}


def test_a_builder_that_takes_nothing_says_what_to_do() -> None:
    flow = Flow("to-mart", Mart)
    orders = flow.existing_topic("commerce.orders", Order)

    @flow.destination
    def mart(env: Mart) -> SqlSink[Order]:
        raise LookupError(f"no mart of {env.region}")

    @flow.route(orders, to=mart)
    def forward(order: Event[Order]) -> Order:
        return order.data

    with pytest.raises(ConfigurationError, match=r"LookupError: no mart of .*env=Env\(...\)"):
        FlowTest(flow)
