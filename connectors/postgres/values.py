"""PostgreSQL's text output as Python values, one converter a type, and a table's rows as records.

Snapshot and stream both hand over the text that the server's output functions write (as bytes),
so that a row has the same Python values whichever way it comes. The session must write dates in
ISO style, UTC, and bytea in hex: ``connection.connect`` sees to it.
"""

from __future__ import annotations

import json
import re
from binascii import unhexlify
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any, Final

import orjson

from trunkline.event import join_key

Convert = Callable[[bytes], Any]
Raw = Sequence[Any]
"""A row as the server wrote it: bytes, None for NULL, or UNCHANGED, column by column."""

_ARRAY_TOKEN = re.compile(rb'[{},]|"((?:[^"\\]|\\.)*)"|[^{},"]+', re.DOTALL)
_LONG_NUMBER = re.compile(rb"[0-9.]{16}|[0-9][eE]")
_INT_DIGITS = 4_000
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Unchanged:
    """The type of UNCHANGED."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<unchanged: not sent by PostgreSQL unless REPLICA IDENTITY is FULL>"


UNCHANGED: Final = Unchanged()
"""Stands for a large (TOAST) value that an update left alone, and the server therefore did not
send. No Avro type accepts it, so that it cannot pass for a value by mistake."""


def _bool(text: bytes) -> bool:
    return text == b"t"


def _bytea(text: bytes) -> bytes:
    return unhexlify(text[2:])  # after the \x


def _numeric(text: bytes) -> Decimal:
    return Decimal(text.decode())


def _json(text: bytes) -> Any:
    """JSON without a digit lost: jsonb holds numbers as exactly as numeric does.

    A float has 15 digits surely, and orjson makes floats of integers beyond 64 bits; documents with
    longer numbers, or with exponents, are read by Python's own parser.
    """
    if _LONG_NUMBER.search(text) is None:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:  # type json may hold what it is too strict for: surrogates
            pass
    return json.loads(text, parse_float=_exact, parse_int=_integer)


def _exact(text: str) -> float | Decimal | str:
    """The float that is written with these digits, or the Decimal if there is none. The text, where
    the exponent is beyond either: type json checks no numbers."""
    try:
        exact = Decimal(text)
    except ArithmeticError:
        return text
    number = float(text)
    return number if isfinite(number) and Decimal(repr(number)) == exact else exact


def _integer(text: str) -> int | Decimal:
    """The integer, or the Decimal where Python would not write an integer of so many digits."""
    return int(text) if len(text) < _INT_DIGITS else Decimal(text)


def _iso(parse: Callable[[str], Any]) -> Convert:
    """A converter for dates and times, None for what Python's calendar does not have: infinity,
    years before 1 and after 9999, 24:00. One such row must not stop the source."""

    def convert(text: bytes) -> Any:
        try:
            return parse(text.decode())
        except ValueError:
            return None

    return convert


_TEXT: Convert = bytes.decode
_JSON_TYPES = (114, 3802)
_CONVERTERS: dict[int, Convert] = {
    16: _bool,
    17: _bytea,
    20: int,  # int8
    21: int,  # int2
    23: int,  # int4
    26: int,  # oid
    114: _json,
    700: float,  # float4
    701: float,  # float8
    1082: _iso(date.fromisoformat),
    1083: _iso(time.fromisoformat),
    1114: _iso(datetime.fromisoformat),
    1184: _iso(datetime.fromisoformat),
    1700: _numeric,
    3802: _json,  # jsonb
}


def parse_array(text: bytes, convert: Convert) -> list[Any]:
    """An array's text (``{1,NULL,"a b"}``, nested for more dimensions) as lists.

    PostgreSQL documentation, "Arrays", "Array Input and Output Syntax".
    """
    if text.startswith(b"["):  # [0:2]={…}: bounds that do not start at 1
        text = text[text.index(b"=") + 1 :]
    if b'"' in text or b"{" in text[1:]:
        return _nested_array(text, convert)
    if text == b"{}":
        return []
    return [None if item == b"NULL" else convert(item) for item in text[1:-1].split(b",")]


def _nested_array(text: bytes, convert: Convert) -> list[Any]:
    stack: list[list[Any]] = [[]]
    for token in _ARRAY_TOKEN.finditer(text):
        item = token[0]
        if item == b"{":
            stack.append([])
        elif item == b"}":
            done = stack.pop()
            stack[-1].append(done)
        elif token[1] is not None:
            stack[-1].append(convert(_ESCAPED.sub(rb"\1", token[1])))
        elif item != b",":
            stack[-1].append(None if item == b"NULL" else convert(item))
    array: list[Any] = stack[0][0]
    return array


@dataclass(slots=True)
class Types:
    """What a database knows of its types: all of them, the base of each domain, the element of
    each array. ``json_as_text``: whether JSON stays as the server wrote it."""

    known: frozenset[int] = frozenset()
    domains: Mapping[int, int] = field(default_factory=dict)
    arrays: Mapping[int, int] = field(default_factory=dict)
    json_as_text: bool = False

    def converter(self, oid: int) -> Convert:
        """How to read a value of type ``oid``; enums and all types not named here stay text."""
        while oid in self.domains:
            oid = self.domains[oid]
        if oid in self.arrays:
            return partial(parse_array, convert=self.converter(self.arrays[oid]))
        if self.json_as_text and oid in _JSON_TYPES:
            return _TEXT
        return _CONVERTERS.get(oid, _TEXT)


class Shape:
    """The columns of a table at one moment: turns raw rows into data and keys."""

    __slots__ = ("_columns", "_keys", "names", "stream")

    def __init__(
        self, stream: str, columns: Sequence[tuple[str, int]], key: Sequence[str], types: Types
    ) -> None:
        self.stream = stream
        self.names = [name for name, _ in columns]
        self._columns = [(name, types.converter(oid)) for name, oid in columns]
        self._keys = [at for at, name in enumerate(self.names) if name in key]

    def data(self, row: Raw) -> dict[str, Any]:
        """Column → value. NULL and the marker of a value that was not sent stay as they are."""
        return {
            name: convert(value) if value.__class__ is bytes else value
            for (name, convert), value in zip(self._columns, row, strict=True)
        }

    def key(self, row: Raw) -> str:
        """The key's text: see ``join_key``. Raises TypeError if a key column is not in the row."""
        return join_key([bytes.decode(row[at]) for at in self._keys])

    def key_data(self, row: Raw) -> dict[str, Any]:
        """The key's columns alone: what the server tells of a deleted row."""
        columns = [self._columns[at] for at in self._keys]
        return {
            name: convert(row[at]) for (name, convert), at in zip(columns, self._keys, strict=True)
        }
