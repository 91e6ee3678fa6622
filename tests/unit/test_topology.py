"""The topics of a flow: their names, partitions and what is kept in them."""

from __future__ import annotations

from typing import Any

from trunkline import Event, Flow, Params, Record
from trunkline.connectors.base import Sink, Source
from trunkline.kafka import TopicSpec
from trunkline.schemas.commerce import Order
from trunkline.streams.topology import topics_of


class Env(Params):
    pass


def orders_flow() -> Flow[Env]:
    flow = Flow("sales", Env)

    @flow.source
    def shop(env: Env) -> Source:
        raise AssertionError("no builder runs")

    @flow.topic("commerce.orders", source=shop)
    def orders(row: Record) -> Order:
        raise AssertionError("no function runs")

    foreign = flow.existing_topic("commerce.returns", Order)

    @flow.destination
    def erp(env: Env) -> Sink[Order]:
        raise AssertionError("no builder runs")

    @flow.route(orders, to=erp)
    def ordered(order: Event[Order]) -> Order:
        raise AssertionError("no function runs")

    @flow.route(foreign, to=erp)
    def returned(order: Event[Order]) -> Order:
        raise AssertionError("no function runs")

    return flow


def topics() -> dict[str, TopicSpec]:
    specs = topics_of(orders_flow(), 6)
    assert len(specs) == len({spec.name for spec in specs})
    return {spec.name: spec for spec in specs}


def test_every_topic_of_a_flow_stands_once() -> None:
    assert {name: spec.partitions for name, spec in topics().items()} == {
        "commerce.orders": 6,
        "commerce.returns": 6,
        "sales.shop.positions": 1,
        "sales.shop.dlq": 1,
        "sales.erp.inbox": 6,
        "sales.erp.dlq": 6,
    }


def test_positions_are_compacted_and_nothing_else_is() -> None:
    assert [name for name, spec in topics().items() if spec.compact] == ["sales.shop.positions"]


def test_dead_letters_wait_for_a_person_for_ever() -> None:
    kept: dict[str, Any] = {n: s.config.get("retention.ms") for n, s in topics().items()}
    assert [name for name, retention in kept.items() if retention == "-1"] == [
        "sales.shop.dlq",
        "sales.erp.dlq",
    ]
