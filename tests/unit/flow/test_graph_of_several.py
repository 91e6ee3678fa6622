"""Several flows in one drawing: each topic that they share stands there once, and joins them."""

from __future__ import annotations

import re

from trunkline import Event, Flow, Params, Record
from trunkline.connectors.base import Sink, Source
from trunkline.schemas.commerce import Order
from trunkline.streams.flow.graph import joins, mermaid_of, text, text_of

shop_flow, billing_flow = Flow("shop", Params), Flow("billing", Params)


@shop_flow.source
def till(env: Params) -> Source:
    raise AssertionError("a graph builds nothing")


@shop_flow.topic("commerce.orders", source=till)
def orders(row: Record) -> Order:
    raise NotImplementedError


@shop_flow.destination
def erp(env: Params) -> Sink[Order]:
    raise AssertionError("a graph builds nothing")


@shop_flow.route(orders, to=erp)
def to_erp(order: Event[Order]) -> Order:
    return order.data


theirs = billing_flow.existing_topic("commerce.orders", Order)


@billing_flow.destination
def ledger(env: Params) -> Sink[Order]:
    raise AssertionError("a graph builds nothing")


@billing_flow.route(theirs, to=ledger)
def topic_to_ledger(order: Event[Order]) -> Order:
    return order.data


FLOWS = [shop_flow, billing_flow]


def test_a_topic_that_one_publishes_and_another_reads_joins_them() -> None:
    (join,) = joins(FLOWS)
    assert (join.topic, join.published_by, join.read_by) == (
        "commerce.orders",
        ["shop"],
        ["shop", "billing"],
    )
    assert joins([shop_flow]) == []


def test_the_text_has_each_tree_and_what_joins_them() -> None:
    drawn = text_of(FLOWS)
    for flow in FLOWS:
        assert text(flow) in drawn
    end = "└─ topic commerce.orders  (published by shop; read by shop, billing)\n"
    assert drawn.endswith("joined by\n" + end)


def test_the_chart_has_a_shared_topic_once_and_outside_of_the_frames() -> None:
    lines = [line.strip() for line in mermaid_of(FLOWS).splitlines()]
    topic = 'topic_commerce_orders[("commerce.orders")]'
    assert lines.count(topic) == 1
    assert "f0_source_till --> topic_commerce_orders" in lines
    assert 'topic_commerce_orders -- "to_erp" --> f0_destination_erp_inbox' in lines
    # A function's name is for people, also if it looks like a node's.
    assert 'topic_commerce_orders -- "topic_to_ledger" --> f1_destination_ledger_inbox' in lines
    within = False
    for line in lines:
        within = (within or line.startswith("subgraph")) and line != "end"
        assert not (within and "topic_commerce_orders" in re.sub(r'"[^"]*"', "", line))
