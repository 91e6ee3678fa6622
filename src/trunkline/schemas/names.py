"""The names of types in a schema as JSON: full ones, and where each type is defined.

As the Avro specification's "Names" resolves them: a name without a namespace has that of the type
around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trunkline.schemas import avro

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED = ("record", "enum", "fixed")
COMPLEX = (*NAMED, "array", "map")


def qualified(schema: Any, namespace: str = "") -> Any:
    """The schema with full names. Raises KeyError, TypeError or AttributeError for what is none."""
    if isinstance(schema, str):
        return schema if schema in PRIMITIVES else full_name(schema, namespace)
    if isinstance(schema, dict) and schema["type"] not in (*PRIMITIVES, *COMPLEX):
        return qualified(schema["type"], namespace)  # {"type": {"type": …}}, {"type": "Order"}
    if avro.kind(schema) in NAMED:
        name = full_name(schema["name"], schema.get("namespace", namespace))
        namespace = name.rpartition(".")[0]
        rest = {key: schema[key] for key in schema if key not in ("type", "name", "namespace")}
        schema = {"type": schema["type"], "name": name, **rest}
    return rebuilt(schema, lambda child: qualified(child, namespace))


def full_name(name: str, namespace: str) -> str:
    """A name with its namespace, if it has none of its own."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def rebuilt(schema: Any, change: Callable[[Any], Any]) -> Any:
    """The schema with another one for each schema directly inside of it."""
    match avro.kind(schema):
        case "union":
            return [change(branch) for branch in schema]
        case "array":
            return {**schema, "items": change(schema["items"])}
        case "map":
            return {**schema, "values": change(schema["values"])}
        case "record":
            fields = [{**field, "type": change(field["type"])} for field in schema["fields"]]
            return {**schema, "fields": fields}
        case _:
            return schema


def definitions(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every named type in a schema with full names, inner before outer, so that Python can read
    them in order."""
    if isinstance(schema, str):
        return
    for child in avro.children(schema):
        yield from definitions(child)
    if isinstance(schema, dict) and schema["type"] in NAMED:
        yield schema["name"], schema


def inlined(schema: Any, known: Callable[[str], Any], seen: set[str]) -> Any:
    """A schema with full names, in which each type is defined where it first occurs. ``known``: a
    type by its full name; ``seen``: the names of those that are defined before."""
    if isinstance(schema, str):
        if schema in PRIMITIVES or schema in seen:
            return schema
        schema = known(schema)
    if avro.kind(schema) in NAMED:
        if schema["name"] in seen:
            return schema["name"]
        seen.add(schema["name"])
    return rebuilt(schema, lambda child: inlined(child, known, seen))


def without_docs(schema: Any) -> Any:
    """The schema as far as it says anything to programs."""
    if isinstance(schema, list):
        return [without_docs(one) for one in schema]
    if isinstance(schema, Mapping):
        return {key: without_docs(one) for key, one in schema.items() if key != "doc"}
    return schema
