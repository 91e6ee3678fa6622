"""A webshop's paid orders reach its warehouse with the customer's name, and are taken back when
they are cancelled; the data mart has what the shop and its partner have. See docs/webshop.md."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from trunkline import Event, Flow, Index, Message, Params, Record, Retryable, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.webshop import (
    Customer,
    Order,
    OrderLine,
    PartnerLine,
    PartnerOrder,
    Pick,
    PickRequest,
)


class Env(Params):
    shop_dsn: Secret
    shop_url: str
    partner_port: int
    partner_secret: Secret
    warehouse_url: str
    mart_url: Secret


flow = Flow("webshop", Env)


# What the shop has, table by table, and what its partner sends.


@flow.source
def shop(env: Env) -> PostgresCDC:
    tables = ["public.customers", "public.orders", "public.order_lines"]
    return PostgresCDC(env.shop_dsn, tables=tables)


@flow.source
def partner(env: Env) -> WebhookSource:
    return WebhookSource(
        port=env.partner_port, path="/orders", key="/id", secret=env.partner_secret
    )


@flow.topic("webshop.customers", source=shop, stream="public.customers")
def customers(row: Record) -> Customer:
    return Customer(id=row.key, name=row.data["name"])


@flow.topic("webshop.orders", source=shop, stream="public.orders")
def orders(row: Record) -> Order:
    customer = str(row.data["customer_id"])
    return Order(id=row.key, customer_id=customer, status=row.data["status"])


@flow.topic("webshop.order_lines", source=shop, stream="public.order_lines")
def lines(row: Record) -> OrderLine:
    return OrderLine(
        order_id=str(row.data["order_id"]),
        line=row.data["line"],
        sku=row.data["sku"],
        quantity=row.data["quantity"],
    )


@flow.topic("webshop.partner_orders", source=partner)
def partner_orders(call: Record) -> PartnerOrder:
    return PartnerOrder(
        order_id=call.key,
        lines=[
            PartnerLine(line=number, sku=line["sku"], quantity=line["quantity"])
            for number, line in enumerate(call.data["lines"], 1)
        ],
    )


# The warehouse: paid orders, with the customer's name.

flow.table(orders, by="customer_id")


class Shop:
    """The shop's API, which knows what is true now."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def buyer_of(self, order_id: str) -> str | None:
        """The name of the customer of a paid order; None if the order is not paid any more."""
        answer = await self._http.get(f"/orders/{order_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:  # deleted since
            return None
        answer.raise_for_status()
        order = answer.json()
        if order["status"] != "paid":
            return None
        if order["customer"] is None:
            raise Retryable(f"the customer of order {order_id} is not there yet")
        return str(order["customer"]["name"])


@flow.client
async def shop_api(env: Env) -> AsyncIterator[Shop]:
    async with httpx.AsyncClient(base_url=env.shop_url) as http:
        yield Shop(http)


@flow.destination
def warehouse(env: Env) -> HttpSink[PickRequest]:
    return HttpSink(
        env.warehouse_url, PickRequest, path="/picks/{key}", method="PUT", delete_method="DELETE"
    )


@flow.enrich(to=warehouse)
async def with_customer(pick: Pick, api: Shop) -> PickRequest | None:
    name = await api.buyer_of(pick["order_id"])
    return None if name is None else PickRequest(order_id=pick["order_id"], customer_name=name)


@flow.route(orders, to=with_customer, otherwise="delete")
def picks(order: Event[Order]) -> Pick | None:
    """What is not paid, or no more, is not to be picked."""
    return Pick(order_id=order.key) if order.data["status"] == "paid" else None


@flow.route(customers, to=with_customer)
def renamed(customer: Event[Customer], of_customer: Index[Order]) -> list[Message[Pick]]:
    """A customer's new name goes to the picks of all paid orders."""
    return [
        Message(Pick(order_id=order["id"]), key=order["id"])
        for order in of_customer.get(customer.key)
        if order["status"] == "paid"
    ]


# The data mart: all of it, as it stands.


@flow.destination
def mart_customers(env: Env) -> SqlSink[Customer]:
    return SqlSink(env.mart_url, Customer, table="customers", create_table=True)


@flow.destination
def mart_orders(env: Env) -> SqlSink[Order]:
    return SqlSink(env.mart_url, Order, table="orders", create_table=True)


@flow.destination
def mart_lines(env: Env) -> SqlSink[OrderLine]:
    key = ["order_id", "line"]
    return SqlSink(env.mart_url, OrderLine, table="order_lines", key=key, create_table=True)


@flow.destination
def mart_partner(env: Env) -> SqlSink[PartnerOrder]:
    """A row a line; an order that comes again with fewer lines has fewer rows then."""
    return SqlSink(
        env.mart_url,
        PartnerOrder,
        table="partner_lines",
        key=["order_id", "line"],
        owner="order_id",
        create_table=True,
    )


@flow.route(customers, to=mart_customers)
def all_customers(customer: Event[Customer]) -> Customer:
    return customer.data


@flow.route(orders, to=mart_orders)
def all_orders(order: Event[Order]) -> Order:
    return order.data


@flow.route(lines, to=mart_lines)
def all_lines(line: Event[OrderLine]) -> OrderLine:
    return line.data


@flow.route(partner_orders, to=mart_partner)
def all_partner_orders(order: Event[PartnerOrder]) -> PartnerOrder:
    return order.data
