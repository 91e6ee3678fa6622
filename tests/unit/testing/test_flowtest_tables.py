"""Routes that look something up, in a flow under test."""

from __future__ import annotations

from typing import Any

import pytest

from engine_kit import Env, Scripted
from trunkline import Event, Flow, Index, Table
from trunkline.errors import ConfigurationError
from trunkline.schemas.commerce import Order, PickList
from trunkline.testing import FlowTest


def flow_with_tables() -> tuple[Flow[Env], Any, Any, Any]:
    flow = Flow("looked-up", Env)
    orders = flow.existing_topic("commerce.orders", Order)
    picked = flow.existing_topic("warehouse.picks", PickList)
    flow.table(picked)
    flow.table(orders, by="status")

    @flow.destination
    def erp(env: Env) -> Scripted:
        return Scripted()

    @flow.route(orders, to=erp)
    def unpicked(order: Event[Order], picks: Table[PickList]) -> Order | None:
        return None if order.key in picks else order.data

    @flow.route(orders, to=erp, only="commerce.count")
    async def counted(order: Event[Order], alike: Index[Order]) -> Order:
        return {**order.data, "total_cents": len(alike.get("paid"))}

    return flow, orders, picked, erp


def order(id: str, status: str = "paid") -> Order:
    return Order(id=id, status=status, total_cents=1)


def test_what_is_published_is_looked_up_at_once_and_gone_when_it_is_deleted() -> None:
    flow, orders, picked, erp = flow_with_tables()
    with FlowTest(flow) as test:
        test.publish(picked, PickList(order_id="1"), key="1")
        test.publish(orders, order("1"))
        test.publish(orders, order("2"))
        test.publish(picked, None, key="1")
        test.run_until_idle()
        assert list(test.destination(erp).state) == ["2"]
        test.publish(orders, order("1"))
        test.run_until_idle()
        assert list(test.destination(erp).state) == ["2", "1"]


def test_an_async_route_looks_up_in_an_index_also_after_a_crash() -> None:
    flow, orders, _, erp = flow_with_tables()
    with FlowTest(flow) as test:
        for id in ("1", "2"):
            test.publish(orders, order(id))
        test.publish(orders, order("2", "void"))
        test.crash()
        test.publish(orders, order("3"), type="commerce.count")
        test.run_until_idle()
        assert test.destination(erp).state["3"]["total_cents"] == 2


def test_a_route_is_tested_by_calling_it() -> None:
    flow, *_ = flow_with_tables()
    unpicked = flow.routes[0]
    event = Event(key="1", value=b"", headers=(), decode=lambda value: order("1"))
    assert unpicked(event, {"1": PickList(order_id="1")}) is None
    assert unpicked(event, picks={}) == order("1")


def test_a_parameter_that_is_no_table_stops_the_start() -> None:
    flow = Flow("looked-up", Env)
    orders = flow.existing_topic("commerce.orders", Order)

    @flow.destination
    def erp(env: Env) -> Scripted:
        return Scripted()

    @flow.route(orders, to=erp)
    def unpicked(order: Event[Order], picks: Table[PickList]) -> Order | None:
        return None if order.key in picks else order.data

    with pytest.raises(ConfigurationError, match="route unpicked: its parameter picks: Table"):
        FlowTest(flow)
