"""The types of commerce, made by `trunkline schemas generate`:
change avro_schemas/commerce, not this file."""

# ruff: noqa: E501

from __future__ import annotations

from typing import TypedDict

from trunkline.schemas.types import avro_type


class Order(TypedDict):
    """An order of a customer, as the shop knows it."""

    id: str
    """The shop's number of the order; the key of its events."""
    status: str
    """Where the order stands: placed, paid, shipped, …"""
    total_cents: int
    """What the customer pays, in cents."""


avro_type(
    Order,
    r"""
{"type": "record", "name": "commerce.Order", "doc": "An order of a customer, as the shop knows it.", "fields": [
{"name": "id", "type": "string", "doc": "The shop's number of the order; the key of its events."},
{"name": "status", "type": "string", "doc": "Where the order stands: placed, paid, shipped, …"},
{"name": "total_cents", "type": "long", "doc": "What the customer pays, in cents."}
]}
""",
)


class PickList(TypedDict):
    """An order that the warehouse is to pick."""

    order_id: str
    """The order's id."""


avro_type(
    PickList,
    r"""
{"type": "record", "name": "commerce.PickList", "doc": "An order that the warehouse is to pick.", "fields": [
{"name": "order_id", "type": "string", "doc": "The order's id."}
]}
""",
)
