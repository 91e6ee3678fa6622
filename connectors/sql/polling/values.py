"""What the columns of a table hold: how each is selected, and its values in Python, exactly.

Dates and times of PostgreSQL, MySQL and MariaDB come as the server's text, in UTC: so a position
keeps all of their digits, and what Python's calendar does not have stays that text.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import types
from sqlalchemy.dialects import mysql, postgresql

from trunkline.connectors.json_values import exact_json
from trunkline.errors import ConfigurationError

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class PolledColumn:
    """A column. ``expression``: how it is selected; ``convert``: of what the driver gives, or None
    where that is right; ``long``: whether its values may be large; ``zoned``: whether its times
    have a zone, None where it holds none."""

    name: str
    expression: str
    convert: Convert | None
    long: bool
    zoned: bool | None


_SMALL: Any = (
    types.Integer,
    types.Numeric,
    types.Float,
    types.Boolean,
    types.DateTime,
    types.Date,
    types.Time,
)
_PLAIN: Any = (
    types.Integer,
    types.Numeric,
    types.Float,
    types.Boolean,
    types.String,
    types.JSON,
)


def polled_column(name: str, quoted: str, type_: Any, dialect: str) -> PolledColumn:
    """The column of this name and reflected type; ``quoted``: its name in SQL."""
    make = {"postgresql": _postgres, "mysql": _mysql, "sqlite": _sqlite}.get(dialect, _any)
    expression, convert = make(quoted, type_)
    zoned = None
    if isinstance(type_, types.DateTime):
        zoned = bool(type_.timezone) or isinstance(type_, mysql.TIMESTAMP)
    return PolledColumn(name, expression, convert, not isinstance(type_, _SMALL), zoned)


def _postgres(quoted: str, type_: Any) -> tuple[str, Convert | None]:
    text = f"CAST({quoted} AS TEXT)"
    if isinstance(type_, types.DateTime | types.Date | types.Time):
        return text, _moment(type_)
    if isinstance(type_, types.LargeBinary):
        return quoted, bytes
    if isinstance(type_, postgresql.ARRAY):
        inner = type_.item_type
        plain = isinstance(inner, types.Integer | types.Float | types.Boolean | types.Text)
        decimal = isinstance(inner, types.Numeric) and not isinstance(inner, types.Float)
        return (quoted, None) if plain or decimal else (f"CAST({quoted} AS TEXT[])", None)
    named = isinstance(type_, _PLAIN) and not isinstance(type_, types.Enum)
    # uuid, enums, intervals, ranges, inet, …: the server's own text.
    return (quoted, None) if named else (text, None)


def _mysql(quoted: str, type_: Any) -> tuple[str, Convert | None]:
    if isinstance(type_, types.DateTime | types.Date | types.Time):
        aware = isinstance(type_, mysql.TIMESTAMP)
        return f"CAST({quoted} AS CHAR)", _moment(type_, UTC if aware else None)
    if isinstance(type_, mysql.BIT):
        return quoted, lambda value: int.from_bytes(value, "big")
    if isinstance(type_, mysql.FLOAT):  # else the server writes six digits of it
        return f"({quoted} + 0e0)", None
    if isinstance(type_, types.JSON):
        return quoted, exact_json
    return quoted, None


def _sqlite(quoted: str, type_: Any) -> tuple[str, Convert | None]:
    """SQLite has what was written, whatever the column's type: made what that type says, where
    it can be."""
    if isinstance(type_, types.DateTime | types.Date | types.Time):
        parse = _moment(type_)
        return quoted, lambda value: parse(value) if isinstance(value, str) else value
    if isinstance(type_, types.Numeric) and not isinstance(type_, types.Float):
        return quoted, _decimal
    if isinstance(type_, types.Boolean):
        return quoted, lambda value: bool(value) if value in (0, 1) else value
    if isinstance(type_, types.JSON):
        return quoted, lambda value: _or_itself(exact_json, value)
    return quoted, None


def _any(quoted: str, type_: Any) -> tuple[str, Convert | None]:
    del type_
    return (
        quoted,
        lambda value: bytes(value) if isinstance(value, bytearray | memoryview) else value,
    )


def plain(value: Any) -> Any:
    """Bytes as such, in whichever of Python's types a driver gives them."""
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def _moment(type_: Any, zone: Any = None) -> Convert:
    """Reads the text of a date or time; the text itself for what is none of a calendar."""
    kind: Any = date
    if isinstance(type_, types.DateTime):
        kind = datetime
    elif isinstance(type_, types.Time):
        kind = time

    def parse(text: str) -> Any:
        try:
            found = kind.fromisoformat(text)
        except ValueError:
            return text
        return found.replace(tzinfo=zone) if zone is not None else found

    return parse


def _decimal(value: Any) -> Any:
    if isinstance(value, int | float | str):
        return _or_itself(Decimal, repr(value) if isinstance(value, float) else value)
    return value


def _or_itself(convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError, ArithmeticError):
        return value


_TAGS: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    Decimal: ("decimal", str),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    UUID: ("uuid", str),
}
_FROM_TAGS: Mapping[str, Convert] = {
    "decimal": Decimal,
    "bytes": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
}


def to_position(value: Any, column: str) -> Any:
    """A value that rows are ordered by, as JSON. Raises ConfigurationError for what is none."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    tag = _TAGS.get(type(value))
    if tag is None:
        raise ConfigurationError(
            f"rows cannot be read by {column}, which holds {type(value).__name__}: take a column "
            "of whole numbers, decimals, texts, bytes or times"
        )
    return {tag[0]: tag[1](value)}


def from_position(stored: Any) -> Any:
    """The value that ``to_position`` wrote. Raises ConfigurationError."""
    if not isinstance(stored, dict):
        return stored
    try:
        ((tag, text),) = stored.items()
        return _FROM_TAGS[tag](text)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise ConfigurationError(f"the position is none of SqlPolling's: {stored}") from error


def before(now: datetime, seconds: float, zone: Any, *, zoned: bool) -> datetime:
    """The moment ``seconds`` before ``now``, as a column holds it that has zones, or has none.

    The times of an hour that a zone has twice are read when both are over: whoever has read up to
    2:59 would find nothing behind it of the hour that begins at 2:00 again.
    """
    at = now - timedelta(seconds=seconds)
    if zoned:
        return at
    local = at.astimezone(zone)
    if not _is_twice(local):
        return local.replace(tzinfo=None)
    begin = local.replace(second=0, microsecond=0)
    while _is_twice(begin - _MINUTE):
        begin -= _MINUTE
    return begin.replace(tzinfo=None, fold=0) - timedelta(microseconds=1)


_MINUTE = timedelta(minutes=1)


def _is_twice(local: datetime) -> bool:
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
