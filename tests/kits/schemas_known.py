"""Schemas for tests, and a registry that knows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypedDict

from trunkline.schemas.registry import Registry
from trunkline.schemas.types import avro_type

TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}


class Known(Registry):
    """A registry whose client already knows its schemas: nothing is asked, no server is needed."""

    def __init__(self, schemas: Mapping[int, Any]) -> None:
        super().__init__("http://registry.invalid")
        self._schemas |= {id: json.dumps(schema) for id, schema in schemas.items()}

    def register(self, subject: str, schema_json: str) -> int:
        ids = [id for id, text in self._schemas.items() if text == schema_json]
        id = ids[0] if ids else len(self._schemas) + 1
        self._schemas[id] = schema_json
        return id


def record(name: str = "Thing", /, **fields: Any) -> dict[str, Any]:
    """A record's schema; a field is a type or (type, default)."""
    described = [
        {"name": field, "type": type_[0], "default": type_[1]}
        if isinstance(type_, tuple)
        else {"name": field, "type": type_}
        for field, type_ in fields.items()
    ]
    return {"type": "record", "name": name, "fields": described}


def typed(schema: dict[str, Any]) -> type:
    """A fresh type with this schema."""

    class Thing(TypedDict):
        pass

    avro_type(Thing, json.dumps(schema))
    return Thing
