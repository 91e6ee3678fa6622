"""What is wrong with the tables of a flow: names, fields of an index, stores, topics of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.schemas.types import has_schema, schema_of
from trunkline.streams.flow.annotations import format_annotation, type_of_topic
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.problems import FlowError, Problem
from trunkline.streams.flow.table import STORE_KINDS, TableDefinition

_INDEXABLE = ("string", "int", "long", "boolean", "enum")
"""Avro types that an index can be by."""


def check_tables(flow: Flow[Any]) -> Iterator[Problem]:
    """Everything that is wrong with the tables of one flow."""
    first: dict[str, TableDefinition[Any]] = {}
    for table in flow.tables:
        before = first.setdefault(table.name, table)
        if before is not table:
            message = f"the name is taken by the {before.kind} in line {before.place.line}"
            yield _problem(table, f"{message}: give it another, name=")
        if not isinstance(table.name, str) or not table.name.isidentifier():
            yield _problem(table, f"name={table.name!r}: it is a name as a parameter has")
        if table.store not in STORE_KINDS:
            yield _problem(table, f'store={table.store!r}: it is "memory" or "disk"')
        if table.topic.flow is not flow:
            other = f"the topic {table.topic.name} belongs to the flow {table.topic.flow.name!r}"
            yield _problem(table, f"{other}; use flow.existing_topic({table.topic.topic!r}, …)")
        yield from _field(table)


def _field(table: TableDefinition[Any]) -> Iterator[Problem]:
    """A field of ``by=`` that the topic's type has not, or that no index can be by."""
    try:
        type_ = type_of_topic(table.topic)
    except FlowError:
        return  # the check of the topic has said so
    if not table.by or not has_schema(type_):
        return
    parsed = schema_of(type_).parsed
    fields = {field["name"]: field["type"] for field in parsed["fields"]}
    shown = format_annotation(type_)
    if table.by not in fields:
        yield _problem(table, f"{shown} has no field {table.by!r}; it has {', '.join(fields)}")
    elif not _is_indexable(fields[table.by], parsed.get("__named_schemas", {})):
        what = "a text, a whole number, an enum, or true or false"
        yield _problem(table, f"by={table.by!r}: an index is by a field that is {what}")


def _is_indexable(avro: Any, named: Mapping[str, Any]) -> bool:
    if isinstance(avro, list):
        return all(_is_indexable(one, named) for one in avro if one != "null")
    if isinstance(avro, dict):
        return avro["type"] in _INDEXABLE and not avro.get("logicalType")
    return avro in _INDEXABLE or (avro in named and _is_indexable(named[avro], named))


def _problem(table: TableDefinition[Any], message: str) -> Problem:
    return Problem(table.place, f"{table.kind} {table.name}: {message}")
