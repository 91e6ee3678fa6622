"""Debezium's semantic types: what a value is that has one of these names in its schema.

Debezium's documentation, "Data type mappings" of each connector; Kafka Connect's logical types,
``org.apache.kafka.connect.data``. A converter takes a value as it is in Avro or, in JSON, as
Connect writes it (bytes in base64), and raises ValueError, TypeError or an ArithmeticError for
another one.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any, Final

from trunkline.connectors.json_values import exact_json

Convert = Callable[[Any], Any]

_WIDE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_FIRST_DAY = date(1970, 1, 1).toordinal()
_LOCAL = datetime(1970, 1, 1)
_EPOCH = datetime.fromtimestamp(0, UTC)
_DAY = 86_400_000_000
_MOST_SCALE = 100_000
_MOST_BYTES = 65_536
"""Of a decimal: PostgreSQL's largest has 61,229. The time that one takes grows with the square: one
of a megabyte keeps all threads for minutes."""
_FINE = re.compile(r"\.(\d{6})(\d+)")
_HINT = re.compile(r"([\w.]+?)(?:\((\d+)\))?")


class Unchanged:
    """The type of UNCHANGED."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<unchanged: a large value that Debezium was not sent>"


UNCHANGED: Final = Unchanged()
"""Stands for a large value that an update left alone, and that Debezium therefore has not got. No
Avro type accepts it, so that it cannot pass for a value by mistake."""


def bytes_of(value: Any) -> bytes:
    """Bytes, also as base64 text. Raises ValueError, TypeError."""
    if isinstance(value, str):
        return base64.b64decode(value, validate=True)
    return bytes(value)


def decimal_of(scale: int) -> Convert:
    """Of Connect's Decimal: the unscaled number in two's complement, its highest byte first."""
    if abs(scale) > _MOST_SCALE:
        raise ValueError(f"a scale of {scale}")

    def convert(value: Any) -> Decimal:
        if isinstance(value, Decimal):  # Avro's own logical type was read already
            return value
        raw = bytes_of(value)
        if len(raw) > _MOST_BYTES:
            raise ValueError(f"a decimal of {len(raw)} bytes")
        number = int.from_bytes(raw, "big", signed=True)
        return Decimal(number).scaleb(-scale, _WIDE)

    return convert


def _variable_decimal(value: Any) -> Decimal:
    """Of a table with the value's own scale: Oracle's NUMBER, PostgreSQL's numeric."""
    found: Decimal = decimal_of(int(value["scale"]))(value["value"])
    return found


def _date(value: Any) -> Any:
    if isinstance(value, date):
        return value
    ordinal = int(value) + _FIRST_DAY
    try:
        return date.fromordinal(ordinal)
    except (ValueError, OverflowError):  # years beyond 9999: as it came, and loud in any schema
        return value


def _time(nanos: int) -> Convert:
    """``nanos``: nanoseconds of one."""

    def convert(value: Any) -> Any:
        if isinstance(value, time):
            return value
        micros, rest = divmod(int(value) * nanos, 1000)
        if not 0 <= micros < _DAY:
            return value
        found = (_LOCAL + timedelta(microseconds=micros)).time()
        return f"{found.isoformat('microseconds')}{rest:03}" if rest else found

    return convert


def _moment(nanos: int, epoch: datetime) -> Convert:
    """A datetime where it is exact; with nanoseconds the ISO text that has all of its digits."""

    def convert(value: Any) -> Any:
        if isinstance(value, datetime):
            return value
        micros, rest = divmod(int(value) * nanos, 1000)
        try:
            found = epoch + timedelta(microseconds=micros)
        except OverflowError:  # infinity, years beyond 9999
            return value
        if not rest:
            return found
        text = found.isoformat(timespec="microseconds")
        return f"{text[:26]}{rest:03}{text[26:]}"

    return convert


def _zoned(value: Any) -> Any:
    """Of ISO 8601 with an offset; the text itself where Python would lose digits, or cannot."""
    fine = _FINE.search(value)
    if fine and fine[2].strip("0"):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _bits(value: Any) -> int:
    """A number, of bytes of which the lowest comes first."""
    return int.from_bytes(bytes_of(value), "little")


def _json(value: Any) -> Any:
    return exact_json(value)


def _double(value: Any) -> float:
    """Also of Java's texts NaN and Infinity."""
    return float(value)


_CONNECT, _TIME, _DATA = "org.apache.kafka.connect.data.", "io.debezium.time.", "io.debezium.data."
_MILLI, _MICRO, _NANO = 1_000_000, 1000, 1
_CONVERTERS: Mapping[str, Convert] = {
    _CONNECT + "Date": _date,
    _CONNECT + "Time": _time(_MILLI),
    _CONNECT + "Timestamp": _moment(_MILLI, _EPOCH),
    _TIME + "Date": _date,
    _TIME + "Time": _time(_MILLI),
    _TIME + "MicroTime": _time(_MICRO),
    _TIME + "NanoTime": _time(_NANO),
    _TIME + "Timestamp": _moment(_MILLI, _LOCAL),
    _TIME + "MicroTimestamp": _moment(_MICRO, _LOCAL),
    _TIME + "NanoTimestamp": _moment(_NANO, _LOCAL),
    _TIME + "ZonedTimestamp": _zoned,
    _DATA + "VariableScaleDecimal": _variable_decimal,
    _DATA + "Uuid": _uuid,
    _DATA + "Bits": _bits,
    _DATA + "Json": _json,
}
"""By the names of schemas. What is not here stays as it is: texts (Enum, EnumSet, Xml, Ltree,
Interval, ZonedTime, the ISO strings of ``time.precision.mode=isostring``), numbers (Year,
MicroDuration), tables (geometry: ``wkb`` in bytes and ``srid``), vectors."""
_SHORT = {name.rpartition(".")[2]: name for name in _CONVERTERS}  # Debezium's win: the later ones
JSON_TYPE = _DATA + "Json"


def converter(name: str, parameters: Mapping[str, Any]) -> Convert | None:
    """What converts values of a semantic type; None for those that stay as they are. Raises
    ValueError for a decimal without a sensible scale."""
    if name == _CONNECT + "Decimal":
        return decimal_of(int(parameters.get("scale", 0)))
    return _CONVERTERS.get(name)


def hinted(hint: str) -> Convert:
    """What converts values of a column whose type a flow names: ``Decimal(2)``, ``MicroTimestamp``,
    ``bytes``, ``double``, or the whole name of a semantic type. Raises ValueError."""
    found = _HINT.fullmatch(hint)
    name, number = (found[1], found[2]) if found else (hint, None)
    if name in ("Decimal", _CONNECT + "Decimal") and number is not None:
        return decimal_of(int(number))
    plain: dict[str, Convert] = {"bytes": bytes_of, "double": _double, "decimal": Decimal}
    convert = plain.get(name) or _CONVERTERS.get(_SHORT.get(name, name))
    if convert is None or number is not None:
        known = ", ".join(["Decimal(SCALE)", *plain, *sorted(_SHORT)])
        raise ValueError(f"{hint!r} is none of {known}")
    return convert
