"""A schema, parsed by fastavro: usable defaults, its parts, equality, and dangerous ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fastavro import parse_schema

from trunkline.schemas.exact.logical import logical_of

STRUCTURE = {"type", "name", "fields", "items", "values", "symbols", "size"}
MEANINGFUL = STRUCTURE | {"logicalType", "precision", "scale"}


def parse(schema_json: str) -> Any:
    """fastavro's parsed form of a schema, whose defaults are values as a reader returns them.

    fastavro hands out defaults as they stand in the JSON (bytes as text, a date as a number).
    Raises ValueError, TypeError, KeyError or fastavro's SchemaParseException and UnknownType.
    """
    named: dict[str, Any] = {}
    parsed = parse_schema(json.loads(schema_json), named)
    # Found first and set afterwards: a record's default takes those of its fields as the schema
    # writes them, and not what they have become already.
    found = [
        (field, _default(field["default"], field["type"], named))
        for field in _fields(named)
        if "default" in field
    ]
    for field, default in found:
        field["default"] = default
    return parsed


def parse_written(schema_json: str) -> Any:
    """fastavro's parsed form of a schema that somebody else writes with.

    Its defaults do not matter for reading what it wrote, and a decimal without a sensible precision
    is plain bytes, as the specification has it: neither may cost its events. Raises as ``parse``.
    """
    return parse_schema(_bare(json.loads(schema_json)), {})


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {key: _bare(schema[key]) for key in ("type", "items", "values") if key in schema}
    if schema.get("logicalType") == "decimal" and logical_of(schema) is None:
        bare |= {"logicalType": None}
    if "fields" in schema:
        bare["fields"] = [
            {key: _bare(field[key]) for key in field if key != "default"}
            for field in schema["fields"]
        ]
    rest = {key: value for key, value in schema.items() if key not in bare}
    return {key: value for key, value in (rest | bare).items() if value is not None}


def same(one: Any, other: Any) -> bool:
    """Whether two parsed schemas write the same bytes for the same values."""
    return bool(_essence(one) == _essence(other))


def is_recursive(parsed: Any) -> bool:
    """Whether a type contains itself: its values can be nested to any depth."""
    return _recurs(parsed, named_types(parsed), (), set())


def has_endless_array(parsed: Any) -> bool:
    """Whether there is an array whose items take no bytes: ten bytes could declare 2⁶² of them."""
    named, known = named_types(parsed), dict[str, bool]()
    return any(
        kind(node) == "array" and _takes_nothing(node["items"], named, known)
        for node in walk(parsed)
    )


def kind(schema: Any) -> str:
    """The type of a schema: a primitive's or a named type's name, ``union``, ``record``, …"""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def children(schema: Any) -> list[Any]:
    """The schemas directly inside of a schema."""
    match kind(schema):
        case "union":
            return list(schema)
        case "array":
            return [schema["items"]]
        case "map":
            return [schema["values"]]
        case "record" | "error":
            return [field["type"] for field in schema["fields"]]
        case _:
            return []


def walk(schema: Any) -> Iterator[Any]:
    """The schema and everything inside of it, outer before inner."""
    yield schema
    for child in children(schema):
        yield from walk(child)


def named_types(parsed: Any) -> dict[str, Any]:
    """The records, enums and fixed of a parsed schema by their full names."""
    return {
        node["name"]: node for node in walk(parsed) if isinstance(node, dict) and "name" in node
    }


def _fields(named: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for schema in named.values():
        yield from schema.get("fields", ())


def _essence(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_essence(item) for item in schema]
    if isinstance(schema, dict):
        return {name: _essence(schema[name]) for name in MEANINGFUL & schema.keys()}
    return schema


def _recurs(schema: Any, named: dict[str, Any], inside: tuple[str, ...], known: set[str]) -> bool:
    """``known``: names that were looked through, so that each is looked through once, however
    often it is used."""
    name = schema["name"] if isinstance(schema, dict) and "name" in schema else str(schema)
    if name in inside:
        return True
    if name in known:
        return False
    if isinstance(schema, str):
        return schema in named and _recurs(named[schema], named, inside, known)
    if "name" in schema:
        inside = (*inside, name)
    if any(_recurs(child, named, inside, known) for child in children(schema)):
        return True
    if "name" in schema:
        known.add(name)
    return False


def _takes_nothing(schema: Any, named: dict[str, Any], known: dict[str, bool]) -> bool:
    """``known``: the answers for names; a type within itself counts as one that takes bytes."""
    name = kind(schema)
    if name in named:
        if name not in known:
            known[name] = False
            known[name] = _takes_nothing(named[name], named, known)
        return known[name]
    if name in ("record", "error"):
        return all(_takes_nothing(child, named, known) for child in children(schema))
    return name == "null" or (name == "fixed" and schema["size"] == 0)


def _default(value: Any, schema: Any, named: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        return value if value is None or not branches else _default(value, branches[0], named)
    if isinstance(schema, str) and schema in named:
        return _default(value, named[schema], named)
    plain = _plain_default(value, schema, named)
    if not isinstance(schema, dict):
        return plain
    logical = logical_of(schema)
    return logical.read(plain, schema) if logical else plain


def _plain_default(value: Any, schema: Any, named: dict[str, Any]) -> Any:
    match kind(schema):
        case "bytes" | "fixed" if isinstance(value, str):
            return value.encode("iso-8859-1")  # the Avro specification's JSON form of bytes
        case "array":
            return [_default(item, schema["items"], named) for item in value]
        case "map":
            return {key: _default(item, schema["values"], named) for key, item in value.items()}
        case "record" | "error":
            given = {
                field["name"]: field["default"] for field in schema["fields"] if "default" in field
            }
            given |= value
            return {
                field["name"]: _default(given[field["name"]], field["type"], named)
                for field in schema["fields"]
                if field["name"] in given
            }
        case _:
            return value
