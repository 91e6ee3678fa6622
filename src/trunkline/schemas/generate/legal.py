"""What is wrong with a schema, as the Avro specification has it: fastavro lets some of it pass,
and Java's parser, the registry or the first event would refuse it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.alike import alike_branches
from trunkline.schemas.exact.logical import logical_of

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
MAX_DEPTH = 60
"""Types in one another, apart from named ones: Python takes 100 brackets, and mypy's and ruff's
own limits are near."""


def faults(schema: Any) -> Iterator[str]:
    """What is wrong with a schema with full names only, in which all types are defined."""
    named = avro.named_types(schema)
    for node in avro.walk(schema):
        yield from _logical(node)
        match avro.kind(node):
            case "union":
                yield from _union(node)
            case "record" | "enum" | "fixed":
                yield from _names(node)
                yield from _members(node, named)
    for one, other in alike_branches(schema):
        yield (
            f"a union has {one} and {other}, whose values Python cannot tell apart: give each a "
            "field that the others lack, or a field of an enum with a symbol of its own"
        )


def is_too_deep(schema: Any, depth: int = 0) -> bool:
    """Whether arrays, maps and unions are nested deeper than Python and its tools can read."""
    if depth > MAX_DEPTH:
        return True
    inside = 0 if isinstance(schema, dict) and "fields" in schema else depth + 1
    return any(is_too_deep(child, inside) for child in avro.children(schema))


def _names(node: dict[str, Any]) -> Iterator[str]:
    parts = node["name"].split(".")
    members = [field["name"] for field in node.get("fields", ())]
    members += node.get("symbols", ())
    for name in [*parts, *members]:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield f"{name!r} is no name in Avro: letters, digits and _ only, no digit first"
    for name, count in Counter(map(str, members)).items():
        if count > 1:
            yield f"{node['name']} has {name} {count} times"


def _logical(node: Any) -> Iterator[str]:
    """The specification has a wrong decimal ignored; whoever wrote it wants to know."""
    if isinstance(node, dict) and node.get("logicalType") == "decimal" and not logical_of(node):
        yield "a decimal needs bytes or a fixed, a precision, and a scale that is no larger"


def _members(node: dict[str, Any], named: dict[str, Any]) -> Iterator[str]:
    if node["type"] == "enum" and not node["symbols"]:
        yield f"enum {node['name']} has no symbols, so it has no values"
    for field in node.get("fields", ()):
        if "default" in field:
            type_ = field["type"]
            branches = type_ if isinstance(type_, list) else [type_]
            if not any(_fits(field["default"], branch, named) for branch in branches):
                yield f"the default of {node['name']}.{field['name']} is no value of its type"


def _union(branches: list[Any]) -> Iterator[str]:
    if not branches:
        yield "a union without branches has no values"
    kinds = Counter(avro.kind(branch) for branch in branches)
    for kind, count in kinds.items():
        if kind == "union":
            yield "a union stands directly in a union: write its branches into the outer one"
        elif count > 1 and kind not in ("record", "enum", "fixed"):
            yield f"a union has {kind} {count} times: one is allowed, whatever the logical types"


def _fits(default: Any, schema: Any, named: dict[str, Any]) -> bool:
    """Whether a default, as it stands in the JSON, is a value of a type, as far as names and sizes
    go: fastavro looks at the rest."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    match avro.kind(schema), default:
        case "null", _:
            return default is None
        case "union", _:
            return any(_fits(default, branch, named) for branch in schema)
        case "enum", _:
            return default in schema["symbols"]
        case "fixed", str():
            return len(default) == schema["size"] and all(ord(c) < 256 for c in default)
        case "bytes", str():
            return all(ord(c) < 256 for c in default)
        case "array", list():
            return all(_fits(item, schema["items"], named) for item in default)
        case "map", dict():
            return all(_fits(item, schema["values"], named) for item in default.values())
        case "record", dict():
            return _record_fits(default, schema, named)
        case "string", str():
            return True
        case "boolean", bool():
            return True
        case "int" | "long", int():
            return not isinstance(default, bool)
        case "float" | "double", int() | float():
            return not isinstance(default, bool)
        case _:
            return False


def _record_fits(default: dict[str, Any], schema: Any, named: dict[str, Any]) -> bool:
    fields = {field["name"]: field for field in schema["fields"]}
    given = all(
        name in fields and _fits(item, fields[name]["type"], named)
        for name, item in default.items()
    )
    return given and all("default" in f for name, f in fields.items() if name not in default)
