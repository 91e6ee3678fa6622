"""The types of webshop, made by `trunkline schemas generate`:
change avro_schemas/webshop, not this file."""

# ruff: noqa: E501

from __future__ import annotations

from typing import TypedDict

from trunkline.schemas.types import avro_type


class Customer(TypedDict):
    """A customer of the shop."""

    id: str
    """The shop's number of the customer; the key of its events."""
    name: str
    """What stands on the parcel."""


avro_type(
    Customer,
    r"""
{"type": "record", "name": "webshop.Customer", "doc": "A customer of the shop.", "fields": [
{"name": "id", "type": "string", "doc": "The shop's number of the customer; the key of its events."},
{"name": "name", "type": "string", "doc": "What stands on the parcel."}
]}
""",
)


class Order(TypedDict):
    """An order, without its lines."""

    id: str
    """The shop's number of the order; the key of its events."""
    customer_id: str
    """Who ordered."""
    status: str
    """Where the order stands: placed, paid, cancelled, …"""


avro_type(
    Order,
    r"""
{"type": "record", "name": "webshop.Order", "doc": "An order, without its lines.", "fields": [
{"name": "id", "type": "string", "doc": "The shop's number of the order; the key of its events."},
{"name": "customer_id", "type": "string", "doc": "Who ordered."},
{"name": "status", "type": "string", "doc": "Where the order stands: placed, paid, cancelled, …"}
]}
""",
)


class OrderLine(TypedDict):
    """A line of an order."""

    order_id: str
    """The order that it belongs to."""
    line: int
    """Its number in the order, from 1."""
    sku: str
    """The article."""
    quantity: int
    """How many of it."""


avro_type(
    OrderLine,
    r"""
{"type": "record", "name": "webshop.OrderLine", "doc": "A line of an order.", "fields": [
{"name": "order_id", "type": "string", "doc": "The order that it belongs to."},
{"name": "line", "type": "int", "doc": "Its number in the order, from 1."},
{"name": "sku", "type": "string", "doc": "The article."},
{"name": "quantity", "type": "int", "doc": "How many of it."}
]}
""",
)


class PartnerLine(TypedDict):
    """A line of a partner's order."""

    line: int
    """Its number in the order, from 1."""
    sku: str
    """The article."""
    quantity: int
    """How many of it."""


avro_type(
    PartnerLine,
    r"""
{"type": "record", "name": "webshop.PartnerLine", "doc": "A line of a partner's order.", "fields": [
{"name": "line", "type": "int", "doc": "Its number in the order, from 1."},
{"name": "sku", "type": "string", "doc": "The article."},
{"name": "quantity", "type": "int", "doc": "How many of it."}
]}
""",
)


class PartnerOrder(TypedDict):
    """An order that a partner sells for the shop: a whole, with its lines."""

    order_id: str
    """The partner's number of the order; the key of its events."""
    lines: list[PartnerLine]
    """All lines that the order has now."""


avro_type(
    PartnerOrder,
    r"""
{"type": "record", "name": "webshop.PartnerOrder", "doc": "An order that a partner sells for the shop: a whole, with its lines.", "fields": [
{"name": "order_id", "type": "string", "doc": "The partner's number of the order; the key of its events."},
{"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "webshop.PartnerLine", "doc": "A line of a partner's order.", "fields": [{"name": "line", "type": "int", "doc": "Its number in the order, from 1."}, {"name": "sku", "type": "string", "doc": "The article."}, {"name": "quantity", "type": "int", "doc": "How many of it."}]}}, "doc": "All lines that the order has now."}
]}
""",
)


class Pick(TypedDict):
    """A paid order, as it is asked about before the warehouse gets it."""

    order_id: str
    """The order; the key of its messages."""


avro_type(
    Pick,
    r"""
{"type": "record", "name": "webshop.Pick", "doc": "A paid order, as it is asked about before the warehouse gets it.", "fields": [
{"name": "order_id", "type": "string", "doc": "The order; the key of its messages."}
]}
""",
)


class PickRequest(TypedDict):
    """What the warehouse is to pick, and for whom."""

    order_id: str
    """The order."""
    customer_name: str
    """What stands on the parcel."""


avro_type(
    PickRequest,
    r"""
{"type": "record", "name": "webshop.PickRequest", "doc": "What the warehouse is to pick, and for whom.", "fields": [
{"name": "order_id", "type": "string", "doc": "The order."},
{"name": "customer_name", "type": "string", "doc": "What stands on the parcel."}
]}
""",
)
