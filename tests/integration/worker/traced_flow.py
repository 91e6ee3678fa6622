"""A folder of orders, routed, and delivered through three retry tiers. ``FLOW`` names it."""

import os

from trunkline import Event, Flow, Params, Record, Retry
from trunkline.connectors.files import FileSource
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    folder: str
    api: str


flow = Flow(NAME, Env)


@flow.source
def till(env: Env) -> FileSource:
    return FileSource(env.folder, key="id", settle="0s", interval="50ms")


@flow.topic(f"{NAME}.orders", source=till)
def orders(row: Record) -> Order:
    return Order(id=row.key, status="paid", total_cents=1)


@flow.destination(retry=Retry("200ms", "400ms", "600ms"))
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.api, Order, path="/orders/{key}")


@flow.route(orders, to=erp)
def to_erp(order: Event[Order]) -> Order:
    return order.data
