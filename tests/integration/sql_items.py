"""A type with every kind of Avro field, and databases for the SQL sink's tests."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from trunkline.schemas.types import avro_type


class Rich(TypedDict):
    id: str
    count: int | None
    big: int
    ratio: float
    small: float
    active: bool
    raw: bytes
    color: str
    price: Decimal
    day: date
    clock: time
    at: datetime
    local: datetime
    uuid: UUID
    tags: list[str]
    address: dict[str, Any] | None


def _logical(type: str, name: str, **more: int) -> dict[str, Any]:
    return {"type": type, "logicalType": name, **more}


TYPES: dict[str, Any] = {
    "id": "string",
    "count": ["null", "int"],
    "big": "long",
    "ratio": "double",
    "small": "float",
    "active": "boolean",
    "raw": "bytes",
    "color": {"type": "enum", "name": "Color", "symbols": ["red", "green"]},
    "price": _logical("bytes", "decimal", precision=12, scale=2),
    "day": _logical("int", "date"),
    "clock": _logical("long", "time-micros"),
    "at": _logical("long", "timestamp-micros"),
    "local": _logical("long", "local-timestamp-micros"),
    "uuid": _logical("string", "uuid"),
    "tags": {"type": "array", "items": "string"},
    "address": [
        "null",
        {"type": "record", "name": "Address", "fields": [{"name": "zip", "type": "string"}]},
    ],
}

avro_type(
    Rich,
    json.dumps(
        {
            "type": "record",
            "name": "Rich",
            "namespace": "tests",
            "fields": [{"name": name, "type": type} for name, type in TYPES.items()],
        }
    ),
)


def rich(id: str, **changed: Any) -> Rich:
    value: Any = {
        "id": id,
        "count": 1,
        "big": 2**62,
        "ratio": 0.1,
        "small": 0.5,
        "active": True,
        "raw": b"\x00\xff",
        "color": "red",
        "price": Decimal("1234.50"),
        "day": date(2024, 2, 29),
        "clock": time(12, 30, 0, 250_000),
        "at": datetime(2024, 2, 29, 12, 30, 0, 123_456, tzinfo=UTC),
        "local": datetime(2024, 2, 29, 12, 30, 0, 123_456),
        "uuid": UUID("12345678-1234-5678-1234-567812345678"),
        "tags": ["a", "é"],
        "address": {"zip": "00100"},
    }
    return value | changed  # type: ignore[no-any-return]
