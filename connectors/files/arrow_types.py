"""The Arrow type of an Avro type, and what its values must become for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from trunkline.connectors.json_values import to_json
from trunkline.errors import ConfigurationError
from trunkline.schemas.exact.logical import logical_of

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a name. ``convert``: what makes of a value, which is not None, one of Arrow's;
    None where it is one."""

    name: str
    type: pa.DataType
    convert: Convert | None


_PRIMITIVE: Mapping[str, pa.DataType] = {
    "null": pa.string(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "enum": pa.string(),
}
_LOGICAL: Mapping[str, pa.DataType] = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
}
_MOST_DIGITS, _WIDEST = 38, 76
"""Digits of Arrow's decimals of 128 and of 256 bits."""


def column_of(name: str, avro: Any, named: Mapping[str, Any], of: str) -> Column:
    """The column of a field. ``named``: the types that the schema names; ``of``: whose field it is,
    for people. Raises ConfigurationError for what Parquet has no type for."""
    return Column(name, *_arrow(avro, named, f"{of}.{name}", ()))


def _arrow(
    avro: Any, named: Mapping[str, Any], where: str, within: tuple[str, ...]
) -> tuple[pa.DataType, Convert | None]:
    if isinstance(avro, list):
        rest = [branch for branch in avro if branch != "null"]
        if len(rest) != 1:
            return pa.string(), _json  # Parquet has no unions
        avro = rest[0]
    if isinstance(avro, str):
        avro = named.get(avro, {"type": avro})
    if logical_of(avro) is not None:
        return _logical(avro, where)
    if not isinstance(kind := avro["type"], str):
        return _arrow(kind, named, where, within)
    if kind in _PRIMITIVE:
        return _PRIMITIVE[kind], None
    if kind == "fixed":
        return pa.binary(avro["size"]), None
    if kind == "array":
        item, convert = _arrow(avro["items"], named, where, within)
        return pa.list_(item), None if convert is None else _each(convert)
    if kind == "map":
        item, convert = _arrow(avro["values"], named, where, within)
        return pa.map_(pa.string(), item), _pairs(convert)
    return _record(avro, named, where, within)


def _logical(avro: dict[str, Any], where: str) -> tuple[pa.DataType, Convert | None]:
    kind = avro["logicalType"]
    if kind == "uuid":
        return pa.string(), str
    if kind != "decimal":
        return _LOGICAL[kind], None
    digits, scale = avro["precision"], avro.get("scale", 0)
    if digits > _WIDEST:
        raise ConfigurationError(
            f"FileSink: {where} is a decimal of {digits} digits, and Parquet's have {_WIDEST} as "
            'Arrow writes them: format="jsonl" has all of them'
        )
    if digits > _MOST_DIGITS:
        return pa.decimal256(digits, scale), None
    return pa.decimal128(digits, scale), None


def _record(
    avro: dict[str, Any], named: Mapping[str, Any], where: str, within: tuple[str, ...]
) -> tuple[pa.DataType, Convert | None]:
    if avro["name"] in within:
        raise ConfigurationError(
            f"FileSink: {where} is of a type that holds itself, {avro['name']}, which Parquet has "
            'no type for: format="jsonl" has one'
        )
    inner = (*within, avro["name"])
    columns = [
        Column(f["name"], *_arrow(f["type"], named, f"{where}.{f['name']}", inner))
        for f in avro["fields"]
    ]
    if not columns:
        return pa.string(), _json  # Parquet has no structure of nothing
    type_ = pa.struct([(column.name, column.type) for column in columns])
    converts = {c.name: c.convert for c in columns if c.convert is not None}
    return type_, _fields(converts) if converts else None


def _json(value: Any) -> str:
    return to_json(value).decode()


def _each(convert: Convert) -> Convert:
    return lambda values: [None if value is None else convert(value) for value in values]


def _pairs(convert: Convert | None) -> Convert:
    if convert is None:
        return lambda values: list(values.items())
    return lambda values: [
        (name, None if value is None else convert(value)) for name, value in values.items()
    ]


def _fields(converts: Mapping[str, Convert]) -> Convert:
    def convert(row: Mapping[str, Any]) -> dict[str, Any]:
        changed = {
            name: each(row[name]) for name, each in converts.items() if row.get(name) is not None
        }
        return {**row, **changed}

    return convert
