"""Expressions of rules over one record, for whoever computes them: ours, and CEL's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "shop.Sale",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["open", "paid"]}},
        {"name": "count", "type": "int"},
        {"name": "total", "type": "long"},
        {"name": "rate", "type": "double"},
        {"name": "flag", "type": "boolean"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "weight", "type": ["null", "long"]},
        {"name": "gift", "type": ["null", "boolean"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "sizes", "type": {"type": "array", "items": "long"}},
        {"name": "labels", "type": {"type": "map", "values": "string"}},
        {"name": "raw", "type": "bytes"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "buyer",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Buyer",
                    "fields": [{"name": "name", "type": "string"}, {"name": "age", "type": "int"}],
                },
            ],
        },
    ],
}
SALE: dict[str, Any] = {
    "id": "A-4711",
    "status": "paid",
    "count": 3,
    "total": 1999,
    "rate": 0.5,
    "flag": True,
    "note": "für Anna",
    "weight": 12,
    "gift": True,
    "tags": ["new", "sale"],
    "sizes": [1, 2, 3],
    "labels": {"colour": "red"},
    "raw": b"\x00\xff",
    "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "buyer": {"name": "Anna", "age": 41},
}
BARE: dict[str, Any] = {
    **SALE,
    **dict.fromkeys(("note", "weight", "gift", "buyer")),
    "tags": [],
    "labels": {},
    "id": "",
    "count": -1,
    "flag": False,
    "at": datetime(2999, 1, 1, tzinfo=UTC),
}

EXPRESSIONS = [
    "true",
    "!false",
    "this.flag",
    "!this.flag",
    "!(this.flag && this.count > 0)",
    "this.count > 0",
    "this.count >= -1",
    "this.count == 3",
    "this.count != 3",
    "this.total < 0x7d0",
    "this.total <= 1999 && this.total > this.count",
    "this.rate < 1.0",
    "this.rate == 5e-1",
    "this.rate >= 0.5 && this.rate <= 0.75",
    "this.rate < 1.5",
    "this.rate > -1.0",
    "this.id != ''",
    'this.id == "A-4711"',
    "this.id > 'A'",
    "this.id < 'Z' && this.status > 'open'",
    r"this.id == 'A\x2d4711'",
    r"this.id == 'A-\064711'",
    r"this.note == 'f\u00fcr Anna'",
    "this.status == 'paid'",
    "this.status in ['open', 'paid']",
    "this.status in []",
    "this.count in [1, 2, 3]",
    "!(this.count in [1, 2])",
    "this.rate in [0.5, 1.0]",
    "'sale' in this.tags",
    "2 in this.sizes",
    "this.count in this.sizes",
    "'colour' in this.labels",
    "size(this.id) == 6",
    "this.id.size() > 0",
    "size(this.note) == 8",
    "size(this.tags) > 0 && size(this.sizes) == 3",
    "size(this.labels) == 1",
    "size(this.raw) == 2",
    "this.id.startsWith('A-')",
    "this.id.endsWith('11')",
    "this.id.contains('47')",
    "this.id.contains('')",
    "this.note.contains(this.buyer.name)",
    r"this.id.matches('^[A-Z]-[0-9]+$')",
    r"this.id.matches(r'\d{4}')",
    r"this.id.matches('(?i)^a')",
    r"this.id.matches(r'^A-\d{3}$')",
    "this.note == null",
    "this.note != null",
    "this.note == null || size(this.note) > 3",
    "size(this.note) > 3 || this.note == null",
    "this.note == 'x'",
    "this.note != 'x'",
    "this.weight > 10",
    "this.weight == null || this.weight > 10",
    "this.weight > 10 && this.flag",
    "this.flag && this.weight > 10",
    "this.gift",
    "this.gift == true",
    "this.gift || this.count == -1",
    "this.buyer.age >= 18",
    "this.buyer == null || this.buyer.age >= 18",
    "!(this.buyer == null) && this.buyer.name != ''",
    "has(this.labels.colour)",
    "has(this.labels.size) || this.labels.colour == 'red'",
    "has(this.labels.colour) && this.labels.colour == 'red'",
    "this.labels.colour in ['red', 'blue']",
    "this.at < now",
    "this.at <= now || this.count < 0",
    "now > this.at && now == now",
    "(this.count > 1 || this.total > 5) && this.status == 'paid' // a remark",
    "this.flag == (this.count > 0)",
]


def schema_with(*rules: dict[str, str], **fields: list[dict[str, str]]) -> str:
    """The record's schema with these rules, and those of fields."""
    made = json.loads(json.dumps(SCHEMA))
    made["confluent:rules"] = list(rules)
    for field in made["fields"]:
        if field["name"] in fields:
            field["confluent:rules"] = fields[field["name"]]
    return json.dumps(made)
