"""The route job's canonical order and what three destinations get of it, with their Avro schemas.

Written as ``trunkline schemas generate`` writes types, but kept out of the product's own domains.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

from trunkline.schemas.types import avro_type

SCHEMAS = Path(__file__).with_name("avro_schemas")
TYPES = ("order.placed", "order.paid", "order.shipped")
"""A placed and a shipped order go to the CRM, a paid one to the warehouse and to billing."""


class Line(TypedDict):
    sku: str
    quantity: int
    price_cents: int


class Address(TypedDict):
    name: str
    street: str
    city: str
    postcode: str
    country: str


class Order(TypedDict):
    id: str
    status: str
    customer: str
    placed_at: datetime
    currency: str
    total_cents: int
    note: str | None
    lines: list[Line]
    ship_to: Address


class PickList(TypedDict):
    order_id: str
    skus: list[str]
    pieces: int
    city: str
    country: str


class Invoice(TypedDict):
    order_id: str
    customer: str
    issued_at: datetime
    currency: str
    total_cents: int
    country: str


class Activity(TypedDict):
    customer: str
    order_id: str
    what: str
    at: datetime
    total_cents: int


for _type in (Order, PickList, Invoice, Activity):
    avro_type(_type, (SCHEMAS / f"{_type.__name__}.avsc").read_text("utf-8"))


def schema(name: str) -> Any:
    """The schema of a type, by its name."""
    return json.loads((SCHEMAS / f"{name}.avsc").read_text("utf-8"))


def expected_outputs(events: int) -> int:
    """How many messages the destinations get of so many events: two of each paid order."""
    return events + (events + 1) // 3


def orders(count: int) -> Iterator[tuple[str, Order]]:
    """Event types and orders, always the same ones."""
    dice = random.Random(20130101)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        kind = TYPES[number % 3]
        yield kind, _order(number, kind, start + timedelta(seconds=number), dice)


def _order(number: int, kind: str, at: datetime, dice: random.Random) -> Order:
    lines = [
        Line(sku=f"SKU-{dice.randrange(100_000):05}", quantity=q, price_cents=100 * q + 99)
        for q in (1, 2, 3)
    ]
    return Order(
        id=f"ord-{number:08}",
        status=kind.removeprefix("order."),
        customer=f"cus-{dice.randrange(50_000):06}",
        placed_at=at,
        currency="EUR",
        total_cents=sum(line["quantity"] * line["price_cents"] for line in lines),
        note=None if number % 4 else "leave it at the door",
        lines=lines,
        ship_to=Address(
            name="Anna Maria Rossi",
            street=f"Via Roma {dice.randrange(200)}",
            city="Torino",
            postcode="10121",
            country="IT",
        ),
    )
