"""A flow with a secret of every kind. ``FLOW`` names it."""

import os
from collections.abc import Sequence
from urllib.parse import quote

from trunkline import Alert, Event, Flow, Params, Record, Retry, Secret
from trunkline.connectors.base import Sink
from trunkline.connectors.http import ClientCredentials, HttpPolling, HttpSink
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    shop_dsn: Secret
    list_key: Secret
    hook_secret: Secret
    hook_port: int
    api: str
    password: Secret
    api_key: Secret
    client_secret: Secret
    mart_url: Secret
    legacy_key: Secret


flow = Flow(NAME, Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.shop_dsn, tables=["orders"], slot=NAME.replace("-", "_"))


@flow.source
def hook(env: Env) -> WebhookSource:
    return WebhookSource(port=env.hook_port, key="id", secret=env.hook_secret)


@flow.source
def prices(env: Env) -> HttpPolling:
    return HttpPolling(f"{env.api}/list", key="id", params={"key": env.list_key}, every="1s")


@flow.topic(f"{NAME}.orders", source=[shop, hook, prices])
def orders(row: Record) -> Order:
    return Order(id=row.key, status="paid", total_cents=1)


class LegacySink(Sink[Order]):
    """As others write them: a library's error says with which address it failed."""

    type = Order

    def __init__(self, url: str, key: Secret) -> None:
        self._url, self._key = url, key

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        """Fails."""
        raise RuntimeError(f"GET {self._url}?key={quote(self._key.reveal())}: no route to host")


@flow.destination(retry=Retry("1s"))
def crm(env: Env) -> HttpSink[Order]:
    return HttpSink(
        f"{env.api}/crm", Order, auth=("marked", env.password), headers={"X-Key": env.api_key}
    )


@flow.destination(alert=Alert(open="1s", lag="1s"))
def erp(env: Env) -> HttpSink[Order]:
    oauth = ClientCredentials(f"{env.api}/token", "marked", env.client_secret, auth="body")
    return HttpSink(f"{env.api}/erp", Order, oauth=oauth)


@flow.destination
def mart(env: Env) -> SqlSink[Order]:
    return SqlSink(env.mart_url, Order, table="orders", create_table=True)


@flow.destination(retry=Retry("1s"))
def legacy(env: Env) -> LegacySink:
    return LegacySink("http://127.0.0.1:1/", env.legacy_key)


@flow.route(orders, to=crm)
def to_crm(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=erp)
def to_erp(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=mart)
def to_mart(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=legacy)
def to_legacy(order: Event[Order]) -> Order:
    return order.data
