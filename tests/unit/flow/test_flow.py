"""The flow API: what the decorators declare, and that decorated functions stay callable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypedDict

import pytest

from trunkline import ConfigurationError, Event, Flow, Params, Record, Retry
from trunkline.connectors.base import Sink, Source
from trunkline.streams.flow.annotations import (
    type_of_destination,
    type_of_event,
    type_of_topic,
    types_of_messages,
)
from trunkline.streams.flow.problems import SourceLocation


class Order(TypedDict):
    id: str
    status: str


class PickList(TypedDict):
    order_id: str


class Env(Params):
    url: str = ""


class Picks(Sink[PickList]):
    def __init__(self, url: str = "") -> None:
        self.url = url

    async def deliver(self, events: Sequence[Event[PickList]]) -> None:
        raise NotImplementedError


flow = Flow("orders", Env)


@flow.source
def shop(env: Env) -> Source:
    raise AssertionError("importing a flow builds nothing")


@flow.topic("commerce.orders", source=shop, event_type="order.changed")
def orders(row: Record) -> Order | None:
    """Orders as the shop has them."""
    return Order(id=row.key, status=row.data["status"]) if row.data else None


@flow.destination(order="none", retry=Retry("1s"))
def warehouse(env: Env) -> Picks:
    return Picks(env.url)


@flow.destination
def archive(env: Env) -> Picks:
    return Picks()


@flow.route(orders, to=warehouse, only="order.*")
def pick_list(order: Event[Order]) -> PickList | None:
    """The warehouse picks paid orders only."""
    return PickList(order_id=order.data["id"]) if order.data["status"] == "paid" else None


@flow.route(orders, to=archive, only=["a", "b"])
async def later(order: Event[Order]) -> list[PickList]:
    return [PickList(order_id=order.data["id"])]


def event(status: str) -> Event[Order]:
    return Event(key="1", value=b"-", headers=(), decode=lambda _: Order(id="1", status=status))


def test_the_flow_knows_its_parts_in_their_order() -> None:
    assert flow.sources == [shop]
    assert flow.topics == [orders]
    assert flow.destinations == [warehouse, archive]
    assert flow.routes == [pick_list, later]
    assert flow.problems == []
    assert flow.params is Env


def test_functions_names_are_the_topology() -> None:
    assert (shop.positions, shop.dlq) == ("orders.shop.positions", "orders.shop.dlq")
    assert (warehouse.inbox, warehouse.dlq) == ("orders.warehouse.inbox", "orders.warehouse.dlq")
    assert (orders.name, orders.topic, orders.sources) == ("orders", "commerce.orders", (shop,))
    assert (pick_list.topic, pick_list.to) == (orders, warehouse)


def test_policies_are_kept_and_have_safe_defaults() -> None:
    assert (warehouse.policy.order, warehouse.policy.retry.delays) == ("none", ("1s",))
    assert (archive.policy.order, archive.policy.retry) == ("key", Retry.DEFAULT)
    assert orders.event_type == "order.changed"
    assert (pick_list.only, later.only) == (("order.*",), ("a", "b"))


def test_a_route_is_tested_by_calling_it() -> None:
    assert pick_list(event("placed")) is None
    assert pick_list(event("paid")) == {"order_id": "1"}
    assert asyncio.run(awaited()) == [{"order_id": "1"}]


async def awaited() -> object:
    return await later(event("paid"))


def test_a_topic_is_tested_by_calling_it() -> None:
    assert orders(Record(key="1", data={"status": "paid"})) == {"id": "1", "status": "paid"}
    assert orders(Record(key="1", data={})) is None


def test_a_builder_is_called_with_the_parameters() -> None:
    sink = warehouse(Env(url="http://wms"))
    assert isinstance(sink, Picks)
    assert sink.url == "http://wms"


def test_definitions_look_like_their_functions() -> None:
    assert pick_list.__doc__ == "The warehouse picks paid orders only."
    assert repr(pick_list) == "<route orders.pick_list>"
    assert repr(warehouse) == "<destination orders.warehouse>"


def test_every_part_knows_its_place() -> None:
    lines = [part.place.line for part in (flow, shop, orders, warehouse, archive, pick_list, later)]
    assert lines == sorted(lines)
    assert {part.place.file for part in (flow, shop, orders)} == {__file__}


def test_types_come_from_the_annotations_also_as_strings() -> None:
    assert type_of_topic(orders) is Order
    assert type_of_destination(warehouse) is PickList
    assert type_of_event(pick_list) is Order
    assert types_of_messages(pick_list) == types_of_messages(later) == [PickList]


def test_a_type_that_cannot_be_told_is_an_error_with_its_place() -> None:
    mine = Flow("mine", Env)

    @mine.topic("commerce.orders", source=[])
    def untold(row: Record):  # type: ignore[no-untyped-def]
        return None

    with pytest.raises(ConfigurationError, match="topic untold: does not say what it returns") as e:
        type_of_topic(untold)
    assert str(e.value).startswith(f"{untold.place}: ")


def test_an_existing_topic_is_read_only() -> None:
    mine = Flow("mine", Env)
    refunds = mine.existing_topic("commerce.refunds", Order)
    assert (refunds.name, refunds.topic, refunds.sources) == (
        "commerce.refunds",
        "commerce.refunds",
        (),
    )
    assert type_of_topic(refunds) is Order
    assert refunds.place.file == __file__
    with pytest.raises(TypeError, match=r"commerce\.refunds is published elsewhere"):
        refunds(Record(key="1", data={}))


def test_several_sources_of_one_topic() -> None:
    mine = Flow("mine", Env)
    one, two = mine.source(lambda _: NotImplemented), mine.source(lambda _: NotImplemented)

    @mine.topic("commerce.orders", source=[one, two])
    def both(row: Record) -> Order:
        raise NotImplementedError

    assert both.sources == (one, two)


def test_a_wrong_part_is_a_problem_with_a_place_and_does_not_stop_the_import() -> None:
    mine = Flow("mine", Env)

    @mine.route("commerce.orders", to=shop)  # type: ignore[arg-type]
    def astray(order: Event[Order]) -> PickList:
        raise NotImplementedError

    assert mine.routes == []
    assert [problem.place for problem in mine.problems] == [astray.place, astray.place]
    assert [problem.message for problem in mine.problems] == [
        "astray: the first argument is 'commerce.orders': name a topic of this flow",
        "astray: to= is <source orders.shop>: name a destination of this flow",
    ]


def test_only_functions_can_be_decorated() -> None:
    with pytest.raises(ConfigurationError, match="is not a function: decorate a def"):
        flow.destination(Picks)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"<route orders.pick_list> has a decorator"):
        flow.route(orders, to=archive)(pick_list)
    assert flow.destinations == [warehouse, archive]
    assert flow.routes == [pick_list, later]


def test_a_place_is_shown_from_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert str(SourceLocation(f"{tmp_path}/flows/orders.py", 3)) == "flows/orders.py:3"
    assert str(SourceLocation("/elsewhere/orders.py", 3)) == "/elsewhere/orders.py:3"
    assert str(SourceLocation("orders.py")) == "orders.py"
