"""A shop's table to an HTTP API and to a data mart: the whole way, for the crash test.

``FLOW`` names the flow.
"""

import os
from urllib.parse import quote

from trunkline import Event, Flow, Params, Record, Retry, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.sql import SqlSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    dsn: Secret
    api: str
    mart_url: Secret


flow = Flow(NAME, Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=["orders"], slot=NAME.replace("-", "_"), batch=500)


@flow.topic(f"{NAME}.orders", source=shop)
def orders(row: Record) -> Order:
    return Order(id=row.key, status=row.data["status"], total_cents=row.data["number"])


def path(event: Event[Order]) -> str:
    """The API is told the event's id, so that what it got can be compared with the topics."""
    return f"/orders/{quote(event.key)}?id={quote(event.id)}"


@flow.destination(retry=Retry("100ms", "1s"))
def api(env: Env) -> HttpSink[Order]:
    return HttpSink(env.api, Order, path=path, delete_method="DELETE", concurrency=16)


@flow.destination(retry=Retry("100ms", "1s"))
def mart(env: Env) -> SqlSink[Order]:
    return SqlSink(env.mart_url, Order, table="mart", create_table=True)


@flow.route(orders, to=api)
def to_api(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=mart)
def to_mart(order: Event[Order]) -> Order:
    return order.data
