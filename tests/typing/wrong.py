"""Wrong wiring: each ``# wrong`` line must be an error in mypy strict and in pyright, and no
other line may be one."""

from collections.abc import Sequence
from typing import TypedDict

from trunkline import (
    Call,
    Event,
    Flow,
    HttpRequest,
    Message,
    Params,
    Record,
    Retry,
    Secret,
    Table,
)
from trunkline.connectors.base import Sink, Source
from trunkline.connectors.http import HttpSink


class Order(TypedDict):
    id: str
    status: str


class PickList(TypedDict):
    order_id: str


class Env(Params):
    url: str
    token: Secret


class OtherEnv(Params):
    dsn: str


class NoParams:
    url: str


class Picks(Sink[PickList]):
    async def deliver(self, events: Sequence[Event[PickList]]) -> None: ...


flow = Flow("orders", Env)
not_params = Flow("orders", NoParams)  # wrong


@flow.source  # wrong
def source_of_another_env(env: OtherEnv) -> Source:
    raise NotImplementedError(env.dsn)


@flow.source  # wrong
def source_that_is_none(env: Env) -> str:
    return env.url


@flow.source
def shop(env: Env) -> Source:
    raise NotImplementedError(env.missing)  # wrong


@flow.topic("commerce.orders", source=shop)
def orders(row: Record) -> Order:
    return Order(id=row.key, status="paid")


@flow.topic("commerce.orders", source=shop)  # wrong
def not_of_a_record(row: str) -> Order:
    return Order(id=row, status="paid")


@flow.topic("commerce.orders", source=orders)  # wrong
def not_of_a_source(row: Record) -> Order:
    return Order(id=row.key, status="paid")


@flow.topic("commerce.orders", source=shop)
def misspelt(row: Record) -> Order:
    return Order(id=row.key, state="paid")  # wrong


@flow.destination
def warehouse(env: Env) -> Picks:
    return Picks()


@flow.destination
def of_the_wrong_type(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.url, Order)  # wrong


@flow.destination
def with_a_secret_address(env: Env) -> HttpSink[Order]:
    return HttpSink(env.token, Order)  # wrong


@flow.destination  # wrong
def of_another_env(env: OtherEnv) -> Picks:
    return Picks()


@flow.destination  # wrong
def that_is_no_sink(env: Env) -> str:
    return env.url


@flow.destination(order="keys", retry=Retry("10s"))  # wrong
def in_no_order(env: Env) -> Picks:
    return Picks()


@flow.destination(retry="10s")  # wrong
def with_no_retry(env: Env) -> Picks:
    return Picks()


@flow.destination(rate=50)  # wrong
def with_a_rate_of_no_time(env: Env) -> Picks:
    return Picks()


@flow.destination(reject=["422"])  # wrong
def with_a_cause_that_is_none(env: Env) -> Picks:
    return Picks()


@flow.destination(retries=Retry("10s"))  # wrong
def with_a_misspelt_policy(env: Env) -> Picks:
    return Picks()


flow.table("commerce.orders")  # wrong
flow.table(orders, store="memory card")  # wrong


@flow.route(orders, to=warehouse)  # wrong
def returns_another_type_and_looks_up(order: Event[Order], refunds: Table[Order]) -> Order:
    return refunds["1"]


@flow.route(orders, to=warehouse)  # wrong
def returns_another_type_with_parameters(order: Event[Order], env: Env) -> Order:
    return order.data


@flow.route(orders, to=warehouse)
def looks_up_a_number(order: Event[Order], refunds: Table[Order]) -> PickList:
    return PickList(order_id=refunds[7]["id"])  # wrong


@flow.route(orders, to=warehouse)  # wrong
def returns_another_type(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=warehouse)  # wrong
def returns_several_of_another_type(order: Event[Order]) -> list[Order]:
    return [order.data]


@flow.route(orders, to=warehouse)  # wrong
def returns_a_message_of_another_type(order: Event[Order]) -> Message[Order]:
    return Message(order.data)


@flow.route(orders, to=warehouse, otherwise="drop")  # wrong
def otherwise_something(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["id"])


@flow.route(orders, to=warehouse)
def a_key_that_is_no_text(order: Event[Order]) -> Message[PickList]:
    return Message(PickList(order_id="1"), key=1)  # wrong


@flow.route(orders, to=warehouse)  # wrong
async def awaits_another_type(order: Event[Order]) -> Order | None:
    return order.data


@flow.route(orders, to=warehouse)
def returns_what_it_does_not_say(order: Event[Order]) -> PickList | None:
    return order.data  # wrong


@flow.route(orders, to=warehouse)  # wrong
def takes_another_event(pick: Event[PickList]) -> PickList:
    return pick.data


@flow.route(orders, to=warehouse)  # wrong
def takes_the_value(order: Order) -> PickList:
    return PickList(order_id=order["id"])


@flow.route(orders, to=warehouse)
def reads_what_is_not_there(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["number"])  # wrong


@flow.route(orders, to=shop)  # wrong
def into_a_source(order: Event[Order]) -> Order:
    return order.data


@flow.route(warehouse, to=warehouse)  # wrong
def out_of_a_destination(order: Event[PickList]) -> PickList:
    return order.data


@flow.route("commerce.orders", to=warehouse)  # wrong
def out_of_a_name(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["id"])


@flow.route(orders, to=warehouse, only=1)  # wrong
def only_a_number(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["id"])


@flow.route(orders, to=warehouse)
def right(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["id"])


@flow.enrich(to=warehouse)  # wrong
async def enriches_to_something_else(order: Order) -> Order:
    return order


@flow.enrich(to=warehouse)  # wrong
def enriches_without_waiting(order: Order) -> PickList:
    return PickList(order_id=order["id"])


@flow.enrich(to=warehouse, cache=10)  # wrong
async def keeps_a_number(order: Order) -> PickList:
    return PickList(order_id=order["id"])


@flow.route(orders, to=keeps_a_number)  # wrong
def into_an_enrichment(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["id"])


right("an event")  # wrong
orders({"id": "1"})  # wrong
warehouse(OtherEnv(dsn=""))  # wrong


@flow.operation(to=warehouse, verb="update", resource="orders")  # wrong
def answers_something_else(call: Call[Order]) -> Order:
    return call.data


@flow.operation(to=warehouse, verb="get", resource="orders", sql="SELECT 1")  # wrong
def gives_no_values(call: Call[Order]) -> HttpRequest:
    return HttpRequest("GET")


@flow.operation(to=warehouse, verb="update", resource="orders", wait=5)  # wrong
def waits_a_number(call: Call[Order]) -> HttpRequest:
    return HttpRequest("PATCH")


@flow.operation(to=orders, verb="update", resource="orders")  # wrong
def of_a_topic(call: Call[Order]) -> HttpRequest:
    return HttpRequest("PATCH", f"/{call.data['ident']}")  # wrong
