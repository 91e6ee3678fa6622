"""A flow that meets bad input, at its source and at its routes. ``FLOW`` names it."""

import json
import os
from typing import TypedDict

from trunkline import Event, Flow, Params, Record, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.postgres import PostgresCDC
from trunkline.schemas.commerce import Order, PickList
from trunkline.schemas.types import avro_type

NAME = os.environ["FLOW"]


class Account(TypedDict):
    id: str
    mail: str
    cents: int


RULES = [
    {"name": "paid", "expr": "this.cents > 0", "doc": "nothing is free"},
    {"name": "known", "expr": "this.mail in ['a@example.com', 'b@example.com']"},
]
FIELDS = [
    {"name": "id", "type": "string"},
    {"name": "mail", "type": "string", "confluent:tags": ["PII"]},
    {"name": "cents", "type": "long"},
]
avro_type(
    Account,
    json.dumps({"type": "record", "name": "Account", "fields": FIELDS, "confluent:rules": RULES}),
)


class Env(Params):
    dsn: Secret
    api: str


flow = Flow(NAME, Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=["orders"])


@flow.topic(f"{NAME}.accounts", source=shop)
def accounts(row: Record) -> Account | None:
    if not row.key.startswith("account-"):
        return None
    return Account(id=row.key, mail=row.data["status"], cents=row.data["number"])


@flow.topic(f"{NAME}.orders", source=shop)
def orders(row: Record) -> Order | None:
    if row.key.startswith("account-"):
        return None
    if row.key == "raises":
        raise LookupError("this order is in no catalogue")
    return Order(id=row.key, status=row.data["status"], total_cents=row.data["number"])


@flow.destination
def plain(env: Env) -> HttpSink[Order]:
    return HttpSink(env.api, Order, path="/orders/{key}")


@flow.destination
def slow(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.api, PickList, path="/orders/slow-{key}")


@flow.route(orders, to=plain)
def to_plain(order: Event[Order]) -> Order:
    if order.data["status"] == "route raises":
        raise ArithmeticError("the route is wrong")
    return order.data


@flow.route(orders, to=slow)
async def to_slow(order: Event[Order]) -> PickList:
    if order.data["status"] == "async route raises":
        raise RuntimeError("the service it asks is wrong")
    return PickList(order_id=order.data["id"])
