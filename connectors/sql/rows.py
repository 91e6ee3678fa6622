"""Rows of any query as JSON, exactly: by the types that the driver says their columns have."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import CursorResult

from trunkline.connectors.json_values import to_json
from trunkline.errors import Rejected

MAX_BYTES = 850_000
"""Of one answer: a record of Kafka holds it, with what stands beside it."""

Row = dict[str, Any]
_Plain = Callable[[Any], Any]

# Object ids of PostgreSQL's types (pg_type.dat), and field types of MySQL's protocol.
_PG_LONG, _PG_LONGS, _PG_JSON = 20, 1016, (114, 3802)
_MY_LONG, _MY_BIT, _MY_JSON, _MY_TIMESTAMP = 8, 16, 245, 7


def rows_of(result: CursorResult[Any], dialect: str, most: int) -> tuple[list[Row], bool]:
    """Up to ``most`` rows, and whether there are more; none of a statement that returns none.

    Integers of 64 bits and decimals are texts, moments ISO 8601, bytes base64, and JSON is the
    very text that the database has. Raises Rejected for more than MAX_BYTES.
    """
    if not result.returns_rows:
        return [], False
    names = list(result.keys())
    if len(set(names)) < len(names):
        raise _unfit("two columns of the answer have one name: give one of them another, by AS")
    cursor = result.cursor
    found = result.fetchmany(1)  # a cursor of the server knows its columns after the first row
    if not found or cursor is None:
        return [], False
    forms = [_form(column[1], dialect) for column in cursor.description or ()]
    rows: list[Row] = []
    size = 0
    while found:
        for row in found:
            if len(rows) == most:
                result.close()
                return rows, True
            made = {n: form(v) for n, form, v in zip(names, forms, row, strict=True)}
            size += len(to_json(made)) + 1
            if size > MAX_BYTES:
                result.close()
                raise _unfit(f"the answer has more than {MAX_BYTES} bytes: ask for less")
            rows.append(made)
        found = result.fetchmany(100)
    return rows, False


def _unfit(what: str) -> Rejected:
    refused = Rejected(what)
    refused.unsent = True
    return refused


def _form(code: Any, dialect: str) -> _Plain:
    """What makes JSON of a column's values. ``code``: the driver's for its type."""
    if dialect == "postgresql":
        if code in _PG_JSON:
            return _json
        return _longs if code in (_PG_LONG, _PG_LONGS) else _plain
    if dialect == "mysql":
        of_mysql: dict[Any, _Plain] = {
            _MY_LONG: _longs,
            _MY_BIT: lambda value: value if value is None else str(int.from_bytes(value, "big")),
            _MY_JSON: _json,
            _MY_TIMESTAMP: _utc,
        }
        return of_mysql.get(code, _plain)
    return _longs  # SQLite has integers of 64 bits alone


def _json(value: Any) -> Any:
    """JSON as the database wrote it: no digit becomes another."""
    return orjson.Fragment(value) if isinstance(value, str) else _plain(value)


def _longs(value: Any) -> Any:
    if isinstance(value, list):
        return [_longs(one) for one in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _plain(value)


def _utc(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)  # the session's zone
    return _plain(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _clock(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Sequence):
        return [_plain(one) for one in value]
    return str(value)


def _clock(value: timedelta) -> str:
    """A time of MySQL, or an interval: ``[-]hours:minutes:seconds``."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    seconds, rest = value.days * 86_400 + value.seconds, value.microseconds
    fraction = f".{rest:06d}" if rest else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
