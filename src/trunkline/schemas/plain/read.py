"""JSON to a type's values: all that is wrong with it at once, each with a JSON pointer.

The forms lose nothing: a ``long`` and a decimal are texts, since most readers of JSON make floats
of numbers; moments are RFC 3339, bytes base64. A union is written as the value itself, and several
records in one are told apart by ``"$type"``. Unknown fields are refused: a typing error in an
optional field would be a change that nobody makes.
"""

from __future__ import annotations

import ast
import base64
import binascii
import re
import struct
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of
from trunkline.schemas.exact.unfit import Unfit
from trunkline.schemas.rules.check import Check

MAX_ERRORS = 100
"""Errors that are told of one value."""
MAX_DEPTH = 100
"""Lists and objects in one another."""
TYPE = "$type"
"""The name that says which record of a union a JSON object is."""
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,999})(\.[0-9]{1,1000})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d{1,6})?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?")


class FieldError(NamedTuple):
    """One thing that is wrong: where, as a JSON pointer in a fragment (RFC 6901, section 6), and
    what. It never shows the value, which may be confidential."""

    pointer: str
    detail: str


def broken_rules(check: Check | None, value: Any) -> list[FieldError]:
    """The rules of its schema that a value breaks, as mistakes in its JSON: ``lines[2].sku`` is
    ``#/lines/2/sku``. ``check``: of ``AvroSchema``."""
    return [
        FieldError(f"#{_pointer(one.field)}", f"{one.rule}: {one.message}")
        for one in (check(value) if check else ())
    ]


def _pointer(field: str) -> str:
    """Of several fields it is the value that has them."""
    if not field or ", " in field:
        return ""
    return "".join(f"/{_escaped(_step(*one))}" for one in _STEP.findall(field))


def _step(key: str, name: str) -> str:
    try:
        return str(ast.literal_eval(key)) if key else name
    except (SyntaxError, ValueError):  # a long key is cut, perhaps within an escape
        return key


# A map's key stands in the path as Python writes it.
_STEP = re.compile(r"""\[('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\]|([^.\[\]]+)""")


class _Wrong(Exception):
    """A single value does not fit; its text says what is wanted."""


class PlainReader:
    """Reads JSON values (as ``parse`` gives them) as values of a parsed Avro schema. For any
    thread."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._named = avro.named_types(schema)

    def read(self, value: Any) -> tuple[Any, list[FieldError]]:
        """The Avro value, as the codec's encoder takes it, and what is wrong: with any errors the
        value is of no use."""
        errors: list[FieldError] = []
        found = _Reading(self._named).read(value, self._schema, "", errors, 0)
        return found, errors[:MAX_ERRORS]


class _Reading:
    """The reading of one value.

    What a union makes of an object or array is remembered: where an object may be a record or a
    map, and holds others of the kind, each would else be read twice as often as the one around it.
    A body of 300 bytes took as long as the gateway lived.
    """

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._unions: dict[tuple[int, int], tuple[Any, list[FieldError]]] = {}

    def read(self, value: Any, schema: Any, at: str, errors: list[FieldError], depth: int) -> Any:
        if isinstance(schema, str):
            schema = self._named.get(schema, schema)
        if depth > MAX_DEPTH:
            return _note(errors, at, f"is nested more than {MAX_DEPTH} deep")
        match avro.kind(schema):
            case "union" if isinstance(value, dict | list):
                both = id(value), id(schema)  # each JSON object and array is one of its own
                if both not in self._unions:
                    said: list[FieldError] = []
                    self._unions[both] = self._union(value, schema, at, said, depth), said
                found, said = self._unions[both]
                errors += said
                return found
            case "union":
                return self._union(value, schema, at, errors, depth)
            case "record" | "error":
                return self._record(value, schema, at, errors, depth)
            case "array":
                if not isinstance(value, list):
                    return _note(errors, at, "must be an array")
                items = schema["items"]
                return [
                    self.read(item, items, f"{at}/{index}", errors, depth + 1)
                    for index, item in enumerate(value)
                ]
            case "map":
                if not isinstance(value, dict):
                    return _note(errors, at, "must be an object")
                values = schema["values"]
                for name in value:
                    _text_or_note(name, f"{at}/{_escaped(name)}", errors)
                return {
                    name: self.read(one, values, f"{at}/{_escaped(name)}", errors, depth + 1)
                    for name, one in value.items()
                }
        try:
            return _single(value, schema)
        except _Wrong as wrong:
            return _note(errors, at, str(wrong))

    def _record(
        self, value: Any, schema: Any, at: str, errors: list[FieldError], depth: int
    ) -> Any:
        if not isinstance(value, dict):
            return _note(errors, at, "must be an object")
        fields = {field["name"]: field for field in schema["fields"]}
        for name in value:
            if name not in fields and name != TYPE:
                _note(errors, f"{at}/{_escaped(name)}", "is no field")
        found = {}
        for name, field in fields.items():
            if name in value:
                place = f"{at}/{_escaped(name)}"
                found[name] = self.read(value[name], field["type"], place, errors, depth + 1)
            elif "default" not in field:
                _note(errors, f"{at}/{_escaped(name)}", "is missing")
        if value.get(TYPE, schema["name"]) != schema["name"] and TYPE not in fields:
            _note(errors, f"{at}/{TYPE}", f"must be {schema['name']!r}, or left out")
        return found

    def _union(self, value: Any, schema: Any, at: str, errors: list[FieldError], depth: int) -> Any:
        branches = [self._named.get(b, b) if isinstance(b, str) else b for b in schema]
        if value is None:
            if "null" not in schema:
                _note(errors, at, "must not be null")
            return None
        branches = [branch for branch in branches if avro.kind(branch) != "null"]
        records = {b["name"]: b for b in branches if avro.kind(b) in ("record", "error")}
        if isinstance(value, dict) and len(records) > 1:
            chosen = records.get(str(value.get(TYPE)))
            if chosen is None:
                names = ", ".join(map(repr, records))
                return _note(errors, f"{at}/{TYPE}", f"must say which it is: {names}")
            return self._record(value, chosen, at, errors, depth)
        if len(branches) == 1:
            return self.read(value, branches[0], at, errors, depth)
        found, closest = None, None
        for branch in branches:
            wrong: list[FieldError] = []
            found = self.read(value, branch, at, wrong, depth)
            if not wrong:
                return found
            if any(error.pointer != f"#{at}" for error in wrong):
                closest = wrong  # the kind of value fits, and something within it does not
        errors += closest or [FieldError(f"#{at}", "fits none of the types that it may have")]
        return found


def _note(errors: list[FieldError], at: str, detail: str) -> None:
    if len(errors) < MAX_ERRORS:
        errors.append(FieldError(f"#{at}", detail))


def _escaped(name: str) -> str:
    """A name in a JSON pointer (RFC 6901, section 3)."""
    plain = name.encode(errors="replace").decode()[:100]
    return plain.replace("~", "~0").replace("/", "~1")


def _text_or_note(value: str, at: str, errors: list[FieldError]) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        _note(errors, at, "has half a surrogate pair, which is no character")


def _single(value: Any, schema: Any) -> Any:
    """A value that holds no others. Raises _Wrong."""
    kind = avro.kind(schema)
    logical = logical_of(schema)
    if logical is None:
        return _PLAIN[kind](value, schema)
    found = _LOGICAL[schema["logicalType"]](value)
    try:
        logical.write(found, schema)  # finer than the type, or larger
    except Unfit as unfit:
        raise _Wrong(unfit.reason) from None
    return found


def _null(value: Any, schema: Any) -> None:
    if value is not None:
        raise _Wrong("must be null")


def _boolean(value: Any, schema: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be true or false")
    return value


def _int(value: Any, schema: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Wrong("must be a whole number")
    if not -(1 << 31) <= value < 1 << 31:
        raise _Wrong("must be a whole number of 32 bits")
    return value


def _long(value: Any, schema: Any) -> int:
    if not isinstance(value, str) or len(value) > 20 or not _INTEGER.fullmatch(value):
        raise _Wrong('must be a whole number as a text, as "42": as a number it could be rounded')
    if not -(1 << 63) <= (number := int(value)) < 1 << 63:
        raise _Wrong("must be a whole number of 64 bits, as a text")
    return number


def _double(value: Any, schema: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Wrong("must be a number")
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if found in (float("inf"), float("-inf")):
        raise _Wrong("is beyond what a number can be here")
    if isinstance(value, int) and int(found) != value:
        raise _Wrong("has more digits than are kept")
    return found


def _float(value: Any, schema: Any) -> float:
    found = _double(value, schema)
    try:
        kept = struct.unpack("<f", struct.pack("<f", found))[0]
    except OverflowError:
        raise _Wrong("is beyond what a number of 32 bits can be") from None
    if (found and not kept) or (isinstance(value, int) and kept != found):
        raise _Wrong("cannot be kept in 32 bits")
    return found


def _string(value: Any, schema: Any = None) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong("has half a surrogate pair, which is no character") from None
    return value


def _enum(value: Any, schema: Any) -> str:
    if not isinstance(value, str) or value not in schema["symbols"]:
        raise _Wrong(f"must be one of {', '.join(schema['symbols'])}")
    return value


def _bytes(value: Any, schema: Any = None) -> bytes:
    try:
        return base64.b64decode(_string(value), validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong("must be base64") from None


def _fixed(value: Any, schema: Any) -> bytes:
    raw = _bytes(value)
    if len(raw) != schema["size"]:
        raise _Wrong(f"must be {schema['size']} bytes in base64")
    return raw


def _decimal(value: Any) -> Decimal:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise _Wrong('must be a decimal as a text, as "12.50"')
    try:
        return Decimal(value)
    except InvalidOperation:
        raise _Wrong("must be a decimal as a text") from None


def _iso(form: re.Pattern[str], parsed: Callable[[str], Any], wanted: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise _Wrong(f"must be {wanted}")
        try:
            return parsed(value.upper())
        except ValueError:  # the 30th of February
            raise _Wrong(f"must be {wanted}, and one that there is") from None

    return read


def _uuid(value: Any) -> uuid.UUID:
    try:
        found = uuid.UUID(_string(value))
    except ValueError:
        raise _Wrong("must be a UUID") from None
    if str(found) != value.lower():
        raise _Wrong("must be a UUID, as 8-4-4-4-12 hexadecimal digits")
    return found


_PLAIN: dict[str, Callable[[Any, Any], Any]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _float,
    "double": _double,
    "string": _string,
    "enum": _enum,
    "bytes": _bytes,
    "fixed": _fixed,
}
_AS_MOMENT = _iso(_MOMENT, datetime.fromisoformat, "a moment as 2026-11-29T14:03:00Z (RFC 3339)")
_AS_LOCAL = _iso(_LOCAL, datetime.fromisoformat, "a time as 2026-11-29T14:03:00, without a zone")
_AS_TIME = _iso(_TIME, time.fromisoformat, "a time of day as 14:03:00")
_LOGICAL: dict[str, Callable[[Any], Any]] = {
    "decimal": _decimal,
    "uuid": _uuid,
    "date": _iso(_DATE, date.fromisoformat, "a date as 2026-11-29"),
    "time-millis": _AS_TIME,
    "time-micros": _AS_TIME,
    "timestamp-millis": _AS_MOMENT,
    "timestamp-micros": _AS_MOMENT,
    "local-timestamp-millis": _AS_LOCAL,
    "local-timestamp-micros": _AS_LOCAL,
}
