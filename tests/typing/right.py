"""Right wiring: everything here must pass mypy strict and pyright."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypedDict, assert_type

from trunkline import (
    Alert,
    Call,
    CircuitBreaker,
    DeadLetterLimit,
    Delete,
    Event,
    Flow,
    HttpRequest,
    Index,
    Message,
    Params,
    Record,
    Retry,
    Secret,
    System,
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


class Picks(Sink[PickList]):
    async def deliver(self, events: Sequence[Event[PickList]]) -> None: ...


def some_source(dsn: str) -> Source:
    raise NotImplementedError(dsn)


flow = Flow("orders", Env)


@flow.source
def shop(env: Env) -> Source:
    return some_source(env.token.reveal())


@flow.source(ignore=["public.audit_log"])
def desk(env: Env) -> Source:
    return some_source(env.url)


assert_type(shop.ignore, tuple[str, ...])


@flow.topic("commerce.orders", source=[shop, desk])
def orders(row: Record) -> Order:
    return Order(id=row.key, status=row.data["status"])


@flow.topic("commerce.paid", source=[shop], key=lambda row: row.key, event_type="order.paid")
def paid(row: Record) -> Order | None:
    return Order(id=row.key, status="paid") if row.data["paid"] else None


refunds = flow.existing_topic("commerce.refunds", Order, start="latest")


@flow.destination
def warehouse(env: Env) -> Picks:
    return Picks()


@flow.destination(order="none")
def picker(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.url, PickList, token=env.token)


@flow.destination(
    order="key",
    retry=Retry("10s", "1m", jitter=0.2, on=[409, TimeoutError]),
    delay="5m",
    on_dead="halt",
    outage="tiers",
    reject=[422, KeyError],
    breaker=CircuitBreaker(failures=3),
    maintenance=["Sun 02:00 2h Europe/Rome"],
    rate="50/s",
    concurrent=10,
    batch=100,
    linger="50ms",
    timeout="5s",
    system=System("erp", rate="50/s", concurrent=10),
    dead_letter_limit=DeadLetterLimit(share=0.2),
    alert=Alert(lag="15m"),
)
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.url, Order, token=env.token)


@flow.destination(maintenance="daily 02:00 2h UTC", rate=None, system=None)
def crm(env: Env) -> HttpSink[Order]:
    return HttpSink(env.url, Order, token=env.token)


@flow.route(orders, to=warehouse)
def always(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["id"])


@flow.route(orders, to=warehouse, only="order.paid")
def maybe(order: Event[Order]) -> PickList | None:
    return PickList(order_id=order.data["id"]) if order.data["status"] == "paid" else None


@flow.route(orders, to=picker, only=["order.paid", "order.sent"])
def several(order: Event[Order]) -> list[PickList]:
    return [PickList(order_id=order.data["id"])] * 2


@flow.route(orders, to=picker)
def several_or_none(order: Event[Order]) -> list[PickList] | None:
    return [PickList(order_id=order.data["id"])]


@flow.route(orders, to=picker)
def a_tuple(order: Event[Order]) -> tuple[PickList, ...]:
    return (PickList(order_id=order.data["id"]),)


@flow.route(orders, to=picker, deletes=True, otherwise="delete")
def keyed(order: Event[Order]) -> Message[PickList] | Delete | None:
    if order.change == "delete":
        return Delete(f"pick-{order.key}")
    return Message(PickList(order_id="1"), key="pick-1", headers={"priority": "high"})


flow.table(refunds)
flow.table(orders, by="status", name="by_status", store="disk")


@flow.route(orders, to=picker)
def looked_up(order: Event[Order], refunds: Table[Order], by_status: Index[Order]) -> PickList:
    assert_type(refunds.get(order.key), Order | None)
    assert_type(refunds.get(order.key, 7), Order | int)
    assert_type(refunds[order.key], Order)
    assert_type(by_status["paid"], list[Order])
    found = [(key, row["id"]) for key, row in refunds.scan("r-")]
    return PickList(order_id=found[0][1] if order.key in refunds else order.key)


@flow.route(orders, to=picker)
async def awaited_and_looked_up(order: Event[Order], refunds: Table[Order]) -> list[PickList]:
    return [PickList(order_id=order.key)] * len(refunds)


@flow.route(orders, to=picker)
def with_parameters(order: Event[Order], env: Env, refunds: Table[Order]) -> PickList:
    return PickList(order_id=with_parameters(order, env, refunds)["order_id"])


@flow.route(orders, to=picker)
def mixed(order: Event[Order]) -> list[PickList | Message[PickList] | Delete]:
    return [PickList(order_id="1"), Message(PickList(order_id="2"), key="2"), Delete("3")]


@flow.route(orders, to=picker)
async def awaited_keyed(order: Event[Order]) -> list[Message[PickList]]:
    return [Message(PickList(order_id="2"), key="2")]


@flow.route(orders, to=warehouse)
async def awaited(order: Event[Order]) -> PickList:
    return PickList(order_id=order.data["id"])


@flow.route(orders, to=warehouse)
async def awaited_maybe(order: Event[Order]) -> PickList | None:
    return None


@flow.route(orders, to=warehouse)
async def awaited_several(order: Event[Order]) -> list[PickList]:
    return []


@flow.route(orders, to=warehouse)
async def awaited_anything(order: Event[Order]) -> PickList | list[PickList] | None:
    return []


@flow.route(orders, to=warehouse)
def anything(order: Event[Order]) -> PickList | list[PickList] | None:
    return []


@flow.route(orders, to=warehouse)
def nothing(order: Event[Order]) -> None:
    return None


@flow.route(orders, to=crm)
def forwarded(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=erp)
def typed_with_its_policy(order: Event[Order]) -> Order:
    return order.data


@flow.route(refunds, to=crm)
def refunded(order: Event[Order]) -> Order:
    return order.data


class Client:
    async def find(self, id: str) -> str:
        return id


@flow.destination
def shelves(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.url, PickList)


@flow.client
async def client(env: Env) -> AsyncIterator[Client]:
    yield Client()


@flow.enrich(
    to=shelves, cache="10m", concurrent=5, timeout="2s", breaker=CircuitBreaker(failures=3)
)
async def with_shelf(order: Order, env: Env, client: Client) -> PickList:
    return PickList(order_id=await client.find(order["id"]) + env.url)


@flow.enrich(to=shelves)
async def sometimes(order: Order) -> PickList | None:
    return None


@flow.route(orders, to=with_shelf)
def shelved(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=with_shelf, deletes=True)
def shelved_or_not(order: Event[Order]) -> Message[Order] | Delete | None:
    return Delete()


def decorated_stay_callable(event: Event[Order], row: Record, env: Env) -> None:
    """What a unit test sees."""
    assert_type(orders(row), Order | None)
    assert_type(paid(row), Order | None)
    assert_type(always(event), PickList)
    assert_type(maybe(event), PickList | None)
    assert_type(several(event), list[PickList])
    assert_type(several_or_none(event), PickList | Sequence[PickList] | None)
    assert_type(forwarded(event), Order)


async def awaited_stay_awaitable(event: Event[Order]) -> None:
    """What an async unit test sees."""
    assert_type(await awaited(event), PickList)
    assert_type(await with_shelf(event.data, Env.model_construct(), Client()), PickList | None)
    assert_type(await awaited_maybe(event), PickList | None)
    assert_type(await awaited_several(event), PickList | Sequence[PickList] | None)


@flow.operation(to=crm, verb="update", resource="orders", key="id", wait="5s", expires="1h")
def correct(call: Call[Order]) -> HttpRequest:
    return HttpRequest("PATCH", f"/orders/{call.data['id']}", json=call.data)


@flow.operation(to=crm, verb="get", resource="orders", sql="SELECT 1 WHERE :id = 1")
def found_in_a_table(call: Call[Order]) -> Mapping[str, object]:
    return {"id": call.data["id"]}


values: Mapping[str, object] = found_in_a_table(Call(Order(id="1", status="paid"), "id", "crm"))


corrected: HttpRequest = correct(Call(Order(id="1", status="paid"), "id", "crm"))
