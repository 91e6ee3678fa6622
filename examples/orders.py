"""Paid orders reach the warehouse in seconds, every order the CRM."""

from trunkline import Event, Flow, Params, Record, Retry, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.postgres import PostgresCDC
from trunkline.schemas.commerce import Order, PickList


class Env(Params):
    shop_dsn: Secret
    warehouse_url: str
    crm_url: str
    crm_token: Secret


flow = Flow("orders", Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.shop_dsn, tables=["public.orders"])


@flow.topic("commerce.orders", source=shop)
def orders(row: Record) -> Order:
    return Order(id=row.key, status=row.data["status"], total_cents=row.data["cents"])


@flow.destination(retry=Retry("10s", "1m", "10m"))
def warehouse(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.warehouse_url, PickList)


@flow.destination
def crm(env: Env) -> HttpSink[Order]:
    return HttpSink(env.crm_url, Order, token=env.crm_token)


@flow.route(orders, to=warehouse)
def pick_list(order: Event[Order]) -> PickList | None:
    """The warehouse picks paid orders only."""
    return PickList(order_id=order.data["id"]) if order.data["status"] == "paid" else None


@flow.route(orders, to=crm)
def customer_history(order: Event[Order]) -> Order:
    return order.data
