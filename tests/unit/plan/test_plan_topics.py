"""The topics of a flow: their names, partitions and what is kept in them."""

from __future__ import annotations

from typing import Any

from trunkline import Event, Flow, Params, Record, Retry
from trunkline.connectors.base import Sink, Source
from trunkline.kafka import TopicSpec
from trunkline.schemas.commerce import Order
from trunkline.streams.plan.topics import required_topics


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

    @flow.destination(retry=Retry("10s", "1m"))
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
    specs = required_topics(orders_flow(), 6)
    assert len(specs) == len({spec.name for spec in specs})
    return {spec.name: spec for spec in specs}


def test_every_topic_of_a_flow_stands_once() -> None:
    assert {name: spec.partitions for name, spec in topics().items()} == {
        "commerce.orders": 6,
        "commerce.returns": 6,
        "sales.shop.positions": 1,
        "sales.shop.dlq": 1,
        "sales.erp.inbox": 6,
        "sales.erp.retry.10s": 6,
        "sales.erp.retry.1m": 6,
        "sales.erp.dlq": 6,
        "sales.control": 1,
        "sales.audit": 1,
    }


def test_tiers_and_dead_letters_have_as_many_partitions_as_their_inbox() -> None:
    assert {name: spec.like for name, spec in topics().items() if spec.like} == {
        "sales.erp.retry.10s": "sales.erp.inbox",
        "sales.erp.retry.1m": "sales.erp.inbox",
        "sales.erp.dlq": "sales.erp.inbox",
    }


def test_what_is_state_is_compacted_and_nothing_else_is() -> None:
    compacted = [name for name, spec in topics().items() if spec.compact]
    assert compacted == ["sales.shop.positions", "sales.control"]


def test_a_topic_that_a_table_is_of_keeps_the_newest_record_of_each_key() -> None:
    flow = orders_flow()
    flow.table(flow.topics[1])
    compacted = {spec.name for spec in required_topics(flow, 6) if spec.compact}
    assert compacted == {"commerce.returns", "sales.shop.positions", "sales.control"}


def test_what_waits_and_what_is_on_record_is_kept_for_ever() -> None:
    kept: dict[str, Any] = {n: s.config.get("retention.ms") for n, s in topics().items()}
    assert [name for name, retention in kept.items() if retention == "-1"] == [
        "sales.shop.dlq",
        "sales.erp.retry.10s",
        "sales.erp.retry.1m",
        "sales.erp.dlq",
        "sales.audit",
    ]
