"""The plain JSON of an Avro type as JSON Schema (draft 2020-12), for OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of
from trunkline.schemas.plain.read import TYPE
from trunkline.schemas.types import AvroSchema


def _pattern_of_long() -> str:
    """What a text of 64 bits is, exactly: any of up to 18 digits; of 19, those that have the first
    digits of the largest and then a smaller one; and the largest."""
    largest = str(2**63 - 1)
    below = [
        f"{largest[:at]}[{'1' if at == 0 else '0'}-{int(digit) - 1}][0-9]{{{18 - at}}}"
        for at, digit in enumerate(largest)
        if digit != "0"
    ]
    return f"^(-?(0|[1-9][0-9]{{0,17}}|{'|'.join(below)}|{largest})|-{2**63})$"


_LONG = {"type": "string", "pattern": _pattern_of_long(), "description": "64 bits, as a text"}
_PLAIN: dict[str, dict[str, Any]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": _LONG,
    "float": {"type": "number"},
    "double": {"type": "number"},
    "string": {"type": "string"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
}
_LOGICAL: dict[str, dict[str, Any]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "time-millis": {"type": "string", "pattern": "^\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,3})?$"},
    "time-micros": {"type": "string", "pattern": "^\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,6})?$"},
    "timestamp-millis": {"type": "string", "format": "date-time"},
    "timestamp-micros": {"type": "string", "format": "date-time"},
    "local-timestamp-millis": {"type": "string", "description": "2026-11-29T14:03:00, no zone"},
    "local-timestamp-micros": {"type": "string", "description": "2026-11-29T14:03:00, no zone"},
}


def json_schemas(schema: Any) -> dict[str, Any]:
    """The JSON Schema of each named type in a parsed schema, by its full name; they refer to one
    another as ``#/components/schemas/<name>``."""
    named = avro.named_types(schema)
    return {name: _named(found, named) for name, found in named.items()}


def keyed(schema: AvroSchema, key: str, most: int = 1_000) -> dict[str, Any]:
    """The JSON Schema of values of a record that have an entity: a text that is its key has 1 to
    ``most`` characters."""
    whole = {"$ref": f"#/components/schemas/{schema.name}"}
    types = {field["name"]: field["type"] for field in schema.parsed["fields"]}
    if not key or types[key] != "string":
        return whole
    return {"allOf": [whole, {"properties": {key: {"minLength": 1, "maxLength": most}}}]}


def _named(schema: Any, named: dict[str, Any]) -> dict[str, Any]:
    documented = {"description": schema["doc"]} if schema.get("doc") else {}
    match avro.kind(schema):
        case "enum":
            return {"type": "string", "enum": list(schema["symbols"]), **documented}
        case "fixed":
            return {**_single(schema), **documented}
    properties = {}
    for field in schema["fields"]:
        said = {"description": field["doc"]} if field.get("doc") else {}
        properties[field["name"]] = {**_of(field["type"], named), **said}
    found: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **documented,
    }
    required = [field["name"] for field in schema["fields"] if "default" not in field]
    return {**found, "required": required} if required else found


def _of(schema: Any, named: dict[str, Any]) -> dict[str, Any]:
    name = schema["name"] if isinstance(schema, dict) and "name" in schema else schema
    if isinstance(name, str) and name in named:
        return {"$ref": f"#/components/schemas/{name}"}
    match avro.kind(schema):
        case "union":
            return _union(schema, named)
        case "array":
            return {"type": "array", "items": _of(schema["items"], named)}
        case "map":
            return {"type": "object", "additionalProperties": _of(schema["values"], named)}
    return _single(schema)


def _union(schema: Any, named: dict[str, Any]) -> dict[str, Any]:
    branches = [_of(branch, named) for branch in schema]
    records = [b for b in branches if "$ref" in b]
    if len(records) > 1:
        return {"anyOf": branches, "description": f'an object says by "{TYPE}" which it is'}
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def _single(schema: Any) -> dict[str, Any]:
    if logical_of(schema) is None:
        if avro.kind(schema) == "fixed":
            return {**_PLAIN["bytes"], "description": f"{schema['size']} bytes"}
        return dict(_PLAIN[avro.kind(schema)])
    if schema["logicalType"] == "decimal":
        digits = f"{schema['precision']} digits, {schema.get('scale', 0)} behind the point"
        pattern = "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?$"
        return {"type": "string", "pattern": pattern, "description": digits}
    return dict(_LOGICAL[schema["logicalType"]])
