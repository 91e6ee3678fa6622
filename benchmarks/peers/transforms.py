"""What the destinations get of an order: the same for every Python peer of the route job."""

from __future__ import annotations

import json
from pathlib import Path

SCHEMAS = Path(__file__).parent.parent / "avro_schemas"


def schema(name: str) -> dict:
    return json.loads((SCHEMAS / f"{name}.avsc").read_text("utf-8"))


def pick_list(order: dict) -> dict:
    lines = order["lines"]
    return {
        "order_id": order["id"],
        "skus": [line["sku"] for line in lines],
        "pieces": sum(line["quantity"] for line in lines),
        "city": order["ship_to"]["city"],
        "country": order["ship_to"]["country"],
    }


def invoice(order: dict) -> dict:
    return {
        "order_id": order["id"],
        "customer": order["customer"],
        "issued_at": order["placed_at"],
        "currency": order["currency"],
        "total_cents": order["total_cents"],
        "country": order["ship_to"]["country"],
    }


def activity(order: dict) -> dict:
    return {
        "customer": order["customer"],
        "order_id": order["id"],
        "what": order["status"],
        "at": order["placed_at"],
        "total_cents": order["total_cents"],
    }
