"""The logical types: which Python type each is, and how it becomes the Avro value under it.

A ``write`` returns the Avro value or raises Unfit; it is exact: ``read`` gives the same value back.
What is not in this table (nanoseconds, durations, names that nobody knows, and logical types on
the wrong Avro type) is read and written as the plain Avro type, as the specification wants it.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trunkline.schemas.exact.unfit import Unfit, wants

EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
LOCAL_EPOCH = datetime.datetime(1970, 1, 1)
FIRST_DAY = datetime.date(1970, 1, 1).toordinal()
MICROSECOND = datetime.timedelta(microseconds=1)
DAY = 86_400_000_000
"""Microseconds of a day."""
WIDE = decimal.Context(
    prec=decimal.MAX_PREC,
    Emax=decimal.MAX_EMAX,
    Emin=decimal.MIN_EMIN,
    traps=[decimal.InvalidOperation, decimal.Inexact],
)
"""Rounds nothing, whatever the program's own context says."""


@dataclass(frozen=True, slots=True)
class Logical:
    """One logical type on one Avro type.

    ``python``: its annotation. ``takes``: of which types it writes values. ``write``, ``read``:
    a value and its schema → the other form.
    """

    python: str
    takes: tuple[type, ...]
    wanted: str
    write: Callable[[Any, dict[str, Any]], Any]
    read: Callable[[Any, dict[str, Any]], Any]


def logical_of(schema: Any) -> Logical | None:
    """The logical type of a schema, if it has one that Python has a type for."""
    if not isinstance(schema, dict) or "logicalType" not in schema:
        return None
    found = LOGICAL.get(f"{schema['type']}-{schema['logicalType']}")
    if found is UUID_BYTES and schema["size"] != 16:
        return None
    if schema["logicalType"] == "decimal" and not _is_decimal(schema):
        return None
    return found


def _is_decimal(schema: dict[str, Any]) -> bool:
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int):
        return False
    if "size" in schema and precision > (8 * schema["size"] - 1) * math.log10(2):
        return False  # more digits than the bytes hold
    return 0 <= scale <= precision and precision > 0


def _date(value: Any, schema: dict[str, Any]) -> int:
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise wants("a date", value)
    return value.toordinal() - FIRST_DAY


def _read_date(number: int, schema: dict[str, Any]) -> datetime.date:
    return datetime.date.fromordinal(number + FIRST_DAY)


def _time(unit: int) -> Logical:
    """``unit``: microseconds of one."""

    def write(value: Any, schema: dict[str, Any]) -> int:
        if not isinstance(value, datetime.time):
            raise wants("a time", value)
        if value.tzinfo is not None:
            raise wants("a time without a time zone", value, "one with it")
        seconds = value.hour * 3600 + value.minute * 60 + value.second
        return _whole(seconds * 1_000_000 + value.microsecond, unit, "a time")

    def read(number: int, schema: dict[str, Any]) -> datetime.time:
        if not 0 <= number * unit < DAY:
            raise ValueError("a time of day that no day has")
        return (LOCAL_EPOCH + number * unit * MICROSECOND).time()

    return Logical("datetime.time", (datetime.time,), "a time", write, read)


def _moment(unit: int) -> Logical:
    wanted = "a datetime with a time zone"

    def write(value: Any, schema: dict[str, Any]) -> int:
        if not isinstance(value, datetime.datetime):
            raise wants(wanted, value)
        if value.utcoffset() is None:
            raise wants(wanted, value, "one without")
        return _since(EPOCH, value, unit)

    def read(number: int, schema: dict[str, Any]) -> datetime.datetime:
        return EPOCH + number * unit * MICROSECOND

    return Logical("datetime.datetime", (datetime.datetime,), wanted, write, read)


def _local(unit: int) -> Logical:
    wanted = "a datetime without a time zone"

    def write(value: Any, schema: dict[str, Any]) -> int:
        if not isinstance(value, datetime.datetime):
            raise wants(wanted, value)
        if value.tzinfo is not None:
            raise wants(wanted, value, "one with it")
        return _since(LOCAL_EPOCH, value, unit)

    def read(number: int, schema: dict[str, Any]) -> datetime.datetime:
        return LOCAL_EPOCH + number * unit * MICROSECOND

    return Logical("datetime.datetime", (datetime.datetime,), wanted, write, read)


def _since(epoch: datetime.datetime, value: datetime.datetime, unit: int) -> int:
    since = value - epoch
    count = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    # A subclass may count nanoseconds, as that of pandas does. (Not ==: a datetime in the hour
    # that a change of the clocks repeats equals none of another time zone.)
    if since != count * MICROSECOND:
        raise wants("a datetime in whole microseconds", value, "one with nanoseconds")
    return _whole(count, unit, "a datetime")


def _whole(count: int, unit: int, what: str) -> int:
    number, rest = divmod(count, unit)
    if rest:
        raise Unfit(
            f"wants {what} in whole milliseconds, not one with microseconds: they would be lost; "
            "cut them off, or make the field's type one of microseconds"
        )
    return number


def _decimal(value: Any, schema: dict[str, Any]) -> int:
    """The number without its point."""
    if not isinstance(value, decimal.Decimal):
        raise wants("a Decimal", value)
    precision, scale = schema["precision"], schema.get("scale", 0)
    if not value.is_finite():
        raise wants("a finite Decimal", value, "an infinity or NaN")
    # Asked before it is computed: Decimal("1E+999999999") has a billion digits.
    if value and value.adjusted() + scale >= precision:
        left = precision - scale
        raise wants(f"a Decimal of at most {left} digits before the point", value, "a larger one")
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # else it is not finite
    lost = max(0, -scale - exponent)
    if value and any(digits[-lost:] if lost else ()):
        raise wants(f"a Decimal of at most {scale} digits after the point", value, "a finer one")
    if not value:
        return 0
    return int(decimal.Decimal((sign, digits, exponent + scale)))


def _bytes_decimal(value: Any, schema: dict[str, Any]) -> bytes:
    number = _decimal(value, schema)
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)


def _fixed_decimal(value: Any, schema: dict[str, Any]) -> bytes:
    try:
        return _decimal(value, schema).to_bytes(schema["size"], "big", signed=True)
    except OverflowError:
        raise wants(f"a Decimal of {schema['size']} bytes", value, "a larger one") from None


def _read_decimal(raw: bytes, schema: dict[str, Any]) -> decimal.Decimal:
    number = decimal.Decimal(int.from_bytes(raw, "big", signed=True))
    return number.scaleb(-schema.get("scale", 0), WIDE)


def _uuid(value: Any, schema: dict[str, Any]) -> uuid.UUID:
    if isinstance(value, uuid.UUID):
        return value
    if not isinstance(value, str):
        raise wants("a UUID", value)
    try:
        found = uuid.UUID(value)
    except ValueError:
        raise wants("a UUID", value, "another text") from None
    if str(found) != value:
        raise wants("a UUID, or its text in lower case with hyphens", value, "another form of it")
    return found


def _uuid_text(value: Any, schema: dict[str, Any]) -> str:
    return str(_uuid(value, schema))


def _uuid_bytes(value: Any, schema: dict[str, Any]) -> bytes:
    return _uuid(value, schema).bytes


def _read_uuid_text(text: str, schema: dict[str, Any]) -> uuid.UUID:
    return uuid.UUID(text)


def _read_uuid_bytes(raw: bytes, schema: dict[str, Any]) -> uuid.UUID:
    return uuid.UUID(bytes=raw)


DECIMAL = ("decimal.Decimal", (decimal.Decimal,), "a Decimal")
UUID = ("uuid.UUID", (uuid.UUID, str), "a UUID")
UUID_BYTES = Logical(*UUID, _uuid_bytes, _read_uuid_bytes)
LOGICAL = {
    "int-date": Logical("datetime.date", (datetime.date,), "a date", _date, _read_date),
    "int-time-millis": _time(1000),
    "long-time-micros": _time(1),
    "long-timestamp-millis": _moment(1000),
    "long-timestamp-micros": _moment(1),
    "long-local-timestamp-millis": _local(1000),
    "long-local-timestamp-micros": _local(1),
    "bytes-decimal": Logical(*DECIMAL, _bytes_decimal, _read_decimal),
    "fixed-decimal": Logical(*DECIMAL, _fixed_decimal, _read_decimal),
    "string-uuid": Logical(*UUID, _uuid_text, _read_uuid_text),
    "fixed-uuid": UUID_BYTES,
}
"""By Avro type and logical type."""
