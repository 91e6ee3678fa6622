"""What a message's schema says of the encodings of its values, compiled into one function.

Two forms: Avro as Confluent's and Apicurio's converters write it (``connect.name`` and
``connect.parameters`` beside a type), and the schema that Connect's JsonConverter sends along. A
compiled function changes the value that it is given, which must be nobody else's, and returns it;
it raises DataError naming the field. None instead of a function: nothing is to be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.connectors.debezium.semantics import JSON_TYPE, Convert, bytes_of, converter
from trunkline.connectors.kafka.values import MALFORMED
from trunkline.errors import DataError

_DEEPEST = 50
"""How deep a schema may be nested."""


def of_connect(schema: Any, *, json_as_text: bool = False) -> Convert | None:
    """Of a schema as JsonConverter writes it. Raises DataError for what is none."""
    return _checked(lambda: _connect(schema, json_as_text, 0))


def of_avro(schema: Any, *, json_as_text: bool = False) -> Convert | None:
    """Of a schema in Avro, as parsed JSON. Raises DataError for what is none."""
    return _checked(lambda: _avro(schema, "", {}, json_as_text, 0))


def _checked(compile_: Any) -> Convert | None:
    try:
        found: Convert | None = compile_()
    except MALFORMED as error:
        raise DataError(f"the message's schema makes no sense: {error!r}") from error
    return found


def _connect(schema: Any, json_as_text: bool, depth: int) -> Convert | None:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deep")
    if not isinstance(schema, Mapping):
        return None
    kind, below = schema.get("type"), depth + 1
    inner: Convert | None = None
    if kind == "struct":
        fields = [(f["field"], _connect(f, json_as_text, below)) for f in schema["fields"]]
        inner = _table(fields)
    elif kind == "array":
        inner = _list(_connect(schema.get("items"), json_as_text, below))
    elif kind == "map" and (schema.get("keys") or {}).get("type") == "string":
        inner = _map(_connect(schema.get("values"), json_as_text, below))
    named = _named(schema.get("name"), schema.get("parameters") or {}, json_as_text)
    if named is None and kind == "bytes":
        return bytes_of
    if named is None and kind in ("float", "double"):  # their digits made a Decimal of some
        return float
    return _both(inner, named)


def _avro(
    schema: Any, space: str, known: dict[str, Convert | None], json_as_text: bool, depth: int
) -> Convert | None:
    """``space``: the namespace; ``known``: what named types before this one became."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deep")
    below = depth + 1
    if isinstance(schema, str):
        return known.get(schema if "." in schema else f"{space}.{schema}", known.get(schema))
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        return _avro(branches[0], space, known, json_as_text, below) if len(branches) == 1 else None
    kind = schema["type"]
    if not isinstance(kind, str):  # {"type": {"type": "long", …}}
        return _avro(kind, space, known, json_as_text, below)
    inner, full = None, ""
    if kind == "record":
        name = schema["name"]
        space = name.rpartition(".")[0] if "." in name else schema.get("namespace", space)
        full = name if "." in name or not space else f"{space}.{name}"
        fields = [
            (field["name"], _avro(field["type"], space, known, json_as_text, below))
            for field in schema["fields"]
        ]
        inner = _table(fields)
    elif kind == "array":
        inner = _list(_avro(schema["items"], space, known, json_as_text, below))
    elif kind == "map":
        inner = _map(_avro(schema["values"], space, known, json_as_text, below))
    parameters = {**schema, **(schema.get("connect.parameters") or {})}
    named = _named(schema.get("connect.name"), parameters, json_as_text)
    both = _both(inner, named)
    if full:
        known[full] = both
    return both


def _named(name: Any, parameters: Mapping[str, Any], json_as_text: bool) -> Convert | None:
    if not isinstance(name, str) or (json_as_text and name == JSON_TYPE):
        return None
    return converter(name, parameters)


def _both(inner: Convert | None, outer: Convert | None) -> Convert | None:
    if inner is None or outer is None:
        return outer or inner
    return lambda value: outer(inner(value))


def _table(fields: list[tuple[str, Convert | None]]) -> Convert | None:
    converted = [(name, convert) for name, convert in fields if convert is not None]
    return table_converter(converted) if converted else None


def table_converter(fields: list[tuple[str, Convert]]) -> Convert:
    """A function that converts these fields of a table, as far as they are there."""

    def convert(table: Any) -> Any:
        for name, change in fields:
            value = table.get(name)
            if value is not None:
                try:
                    table[name] = change(value)
                except MALFORMED as error:
                    raise DataError(
                        f"field {name!r} is not what its schema says: {error!r}"
                    ) from error
        return table

    return convert


def _list(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda items: [None if item is None else convert(item) for item in items]


def _map(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda items: {
        key: None if item is None else convert(item) for key, item in items.items()
    }
