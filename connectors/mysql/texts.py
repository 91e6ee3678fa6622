"""Values of the text protocol, of a snapshot's rows, as Python values.

A row must have the same values whichever way it comes: these are the counterparts of the readers
of the log in ``columns``. What Python's types do not have, as the zero date or a TIME of 100
hours, stays text as the server writes it: no date or time of a schema accepts it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from trunkline.connectors.mysql.charsets import decoder

Convert = Callable[[bytes], Any]

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_GEOMETRY = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "geomcollection",
)  # fmt: skip


def converter(type_: str, charset: str) -> Convert | None:
    """How to read a column's text; None for a type that is not known. ``type_``: as
    ``information_schema.columns.data_type``."""
    if type_ in _INTEGERS:
        return int
    if type_ in _TEXTS:
        return decoder(charset)
    if type_ in _BYTES or type_ in _GEOMETRY:
        return bytes
    return _OTHERS.get(type_)


def _decimal(text: bytes) -> Decimal:
    return Decimal(text.decode())


def _bits(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _date(text: bytes) -> date | str:
    try:
        return date.fromisoformat(text.decode())
    except ValueError:
        return text.decode()


def _datetime(text: bytes) -> datetime | str:
    try:
        return datetime.fromisoformat(text.decode())
    except ValueError:
        return text.decode()


def _timestamp(text: bytes) -> datetime | str:
    found = _datetime(text)
    return found if isinstance(found, str) else found.replace(tzinfo=UTC)


def _time(text: bytes) -> time | str:
    shown = text.decode()
    return time.fromisoformat(shown) if len(shown.split(":")[0]) == 2 and shown < "24" else shown


_OTHERS: dict[str, Convert] = {
    "decimal": _decimal,
    "float": float,
    "double": float,
    "bit": _bits,
    "date": _date,
    "datetime": _datetime,
    "timestamp": _timestamp,
    "time": _time,
}
