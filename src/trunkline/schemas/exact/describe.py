"""How a type is called in a message."""

from __future__ import annotations

from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of


def describe(schema: Any) -> str:
    """A type for a message."""
    logical = logical_of(schema)
    name = f" {schema['name']}" if isinstance(schema, dict) and "name" in schema else ""
    if avro.kind(schema) == "union":
        return " or ".join(describe(branch) for branch in schema)
    return logical.wanted if logical else f"{avro.kind(schema)}{name}"
