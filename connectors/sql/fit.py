"""Whether a column holds a field's values as they are: nothing is rounded, cut off or taken for
something else in silence.

What every database does with a value that does not fit is its own affair: it refuses some loudly
(a number out of range), which ends in a dead letter, and changes others without a word: a DOUBLE
in an INT, the microseconds of a DATETIME, ``007`` in a number. The second kind is looked for here,
twice: in the types, once at the start; and where only the value can tell, in the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import types
from sqlalchemy.dialects import mysql, postgresql

from trunkline.connectors.sql.table import Field
from trunkline.errors import DataError

ColumnType = Any
"""A type as SQLAlchemy reflects it: its attributes differ by dialect."""


class Check(NamedTuple):
    """Whether a value of one column fits, and what is wrong if it does not."""

    column: str
    fits: Callable[[Any], bool]
    reason: str


def check_rows(checks: Sequence[Check], rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises DataError naming the field of a row that its column would not hold as it is."""
    for column, fits, reason in checks:
        for row in rows:
            value = row[column]
            if value is None:
                continue
            try:
                if fits(value):
                    continue
            except (TypeError, AttributeError, ValueError, ArithmeticError):
                continue  # not what the schema says: the driver or the server tells better
            raise DataError(reason)


# The types, at the start.

_FAMILIES: tuple[tuple[Any, str], ...] = (
    ((mysql.ENUM, postgresql.ENUM, types.Enum), "enum"),
    (mysql.SET, "set"),
    (mysql.YEAR, "year"),
    ((mysql.BIT, postgresql.BIT), "bit"),
    (types.Boolean, "boolean"),
    (types.Integer, "integer"),
    (types.Float, "float"),
    (types.Numeric, "numeric"),
    (types.JSON, "json"),
    (types.Uuid, "uuid"),
    ((types.LargeBinary, types.BINARY, types.VARBINARY), "binary"),
    (types.DateTime, "moment"),
    (types.Date, "date"),
    (types.Time, "time"),
    (types.String, "text"),
)
_NUMBERS = frozenset({"integer", "numeric", "float"})
_DATES = frozenset({"date", "time", "moment", "year"})
_LISTS = frozenset({"enum", "set"})
# What is changed in silence, or can never be written: a row of either would be too late.
_NEVER: dict[str, frozenset[str]] = {
    "int": _DATES | _LISTS,
    "long": _DATES | _LISTS,
    "float": _DATES | _LISTS | {"integer", "bit"},
    "double": _DATES | _LISTS | {"integer", "bit"},
    "decimal": _DATES | _LISTS,
    "string": frozenset({"float", "year", "bit"}),
    "enum": frozenset({"year", "bit"}) | _NUMBERS | (_DATES - {"year"}),
    "bytes": _NUMBERS | _DATES | _LISTS,
    "fixed": _NUMBERS | _DATES | _LISTS,
    "boolean": _DATES | _LISTS,
    "date": _NUMBERS | _LISTS | {"time", "year", "boolean"},
    "time": _NUMBERS | _LISTS | {"date", "moment", "year", "boolean"},
    "moment": _NUMBERS | _LISTS | {"date", "time", "year", "boolean"},
    "uuid": _NUMBERS | _DATES | _LISTS | {"boolean"},
    "json": _NUMBERS | _DATES | _LISTS | {"boolean", "uuid"},
}
# PostgreSQL casts none of these by itself, or takes a text for something else.
_NEVER_POSTGRES: dict[str, frozenset[str]] = {
    "int": frozenset({"boolean"}),
    "long": frozenset({"boolean"}),
    "float": frozenset({"boolean"}),
    "double": frozenset({"boolean"}),
    "decimal": frozenset({"boolean"}),
    "string": frozenset({"boolean", "binary"}),
    "enum": frozenset({"boolean", "binary"}),
    "boolean": _NUMBERS,
}
SINGLE_DIGITS, DOUBLE_DIGITS = 6, 15
"""Decimal digits that a float of 4 and of 8 bytes keeps, whatever they are."""


def family_of(column: ColumnType) -> str:
    """``integer``, ``numeric``, ``text``, …; "" for a type that is left alone."""
    column = underlying(column)
    return next((name for cls, name in _FAMILIES if isinstance(column, cls)), "")


def underlying(column: ColumnType) -> ColumnType:
    """The type that a domain is made of; any other type is its own."""
    while isinstance(column, postgresql.DOMAIN):
        column = column.data_type
    return column


def misfit(field: Field, column: ColumnType, dialect: str) -> str:
    """Why a column cannot hold all values of a field as they are; "" if it can."""
    column, family, kind = underlying(column), family_of(column), _kind(field)
    if dialect == "sqlite":
        return _misfit_of_sqlite(field, family)
    never = _NEVER[kind] | (_NEVER_POSTGRES.get(kind, frozenset()) if _is_pg(dialect) else set())
    if family in never:
        return f"it holds no {field.kind} as it is"
    if family == "float":
        return _misfit_of_float(field, column)
    if kind == "decimal":
        return _misfit_of_decimal(field, column, family)
    if kind in ("time", "moment") and family == kind:
        kept, needed = _fraction(column, dialect), 3 if field.kind.endswith("millis") else 6
        return f"it keeps {kept} of {needed} digits of a second" if kept < needed else ""
    if kind == "enum" and family == "enum":
        lacking = [symbol for symbol in field.avro["symbols"] if symbol not in column.enums]
        return f"it lacks {', '.join(lacking)}" if lacking else ""
    if kind == "fixed" and isinstance(column, types.BINARY) and column.length:
        size = field.avro["size"]
        return f"it fills up {size} bytes with zeros" if column.length > size else ""
    return ""


def _is_pg(dialect: str) -> bool:
    return dialect == "postgresql"


def _kind(field: Field) -> str:
    if field.kind.startswith(("timestamp", "local-timestamp")):
        return "moment"
    return "time" if field.kind.startswith("time-") else field.kind


def _misfit_of_sqlite(field: Field, family: str) -> str:
    """SQLite takes anything anywhere; but its numbers are of 8 bytes, and a text becomes one."""
    if family in ("numeric", "float") and field.kind == "decimal":
        digits = field.avro["precision"]
        return f"it keeps {DOUBLE_DIGITS} of {digits} digits" if digits > DOUBLE_DIGITS else ""
    if family == "float" and field.kind == "long":
        return f"it keeps {DOUBLE_DIGITS} of 19 digits"
    return ""


def _misfit_of_float(field: Field, column: ColumnType) -> str:
    single = not isinstance(column, types.Double) and (column.precision or 0) <= 24
    if getattr(column, "scale", None) is not None:  # FLOAT(7, 2) of MySQL
        return f"it rounds to {column.scale} decimals"
    kept = SINGLE_DIGITS if single else DOUBLE_DIGITS
    digits = {"int": 10, "long": 19, "double": DOUBLE_DIGITS + 2 if single else 0}.get(
        field.kind, 0
    )
    if field.kind == "decimal":
        digits = field.avro["precision"]
    return f"it keeps {kept} of {digits} digits" if digits > kept else ""


def _misfit_of_decimal(field: Field, column: ColumnType, family: str) -> str:
    scale = field.avro.get("scale", 0)
    if family == "integer":
        return f"it keeps none of {scale} decimals" if scale else ""
    if family == "numeric" and column.precision is not None and (column.scale or 0) < scale:
        return f"it keeps {column.scale or 0} of {scale} decimals"
    return ""


def _fraction(column: ColumnType, dialect: str) -> int:
    """Digits of a second's fraction that a TIME or TIMESTAMP keeps."""
    if _is_pg(dialect):
        precision = getattr(column, "precision", None)
        return 6 if precision is None else int(precision)
    return int(getattr(column, "fsp", None) or 0)


# The values.


def check_of(field: Field, column: ColumnType, dialect: str) -> Check | None:
    """What to look at in each value, as the types alone do not tell; None: nothing."""
    column = underlying(column)
    made = _check(field, column, dialect)
    if made is None:
        return None
    fits, what = made
    return Check(
        field.column, fits, f"field {field.name}: {what} in column {field.column} {column}"
    )


def _check(
    field: Field, column: ColumnType, dialect: str
) -> tuple[Callable[[Any], bool], str] | None:
    kind, family = _kind(field), family_of(column)
    if dialect == "sqlite":
        number = kind == "string" and family in _NUMBERS
        return (_stays_in_sqlite, "the text would become another number") if number else None
    if family == "numeric" and column.precision is not None:
        return _number_check(kind, column.scale or 0)
    if kind in ("time", "moment") and family == kind:
        lost = 10 ** (6 - _fraction(column, dialect))
        if lost == 1:
            return None
        return lambda value: value.microsecond % lost == 0, "digits of the second would be lost"
    if kind == "bytes" and isinstance(column, types.BINARY) and column.length:
        size = column.length
        return lambda value: len(value) == size, "bytes would be filled up with zeros"
    if getattr(column, "unsigned", False) and kind in ("int", "long", "float", "double"):
        return lambda value: value >= 0, "there are no negative numbers"
    if kind in ("string", "enum"):
        return _text_check(column, family, dialect)
    return None


def _number_check(kind: str, scale: int) -> tuple[Callable[[Any], bool], str] | None:
    lost = f"it would be rounded to {scale} decimals"
    if kind == "decimal":
        return lambda value: _decimals(value) <= scale, lost
    if kind in ("float", "double"):
        return lambda value: _decimals(Decimal(repr(value))) <= scale, lost
    if kind == "string":
        number = re.compile(rf"-?(0|[1-9]\d*)(\.\d{{1,{scale}}})?" if scale else r"-?(0|[1-9]\d*)")
        return lambda value: bool(number.fullmatch(value)), "the text would become another number"
    return None


def _decimals(value: Decimal) -> int:
    """Digits behind the point that are not zeros at its end; 0 for what is no number."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= 0:
        return 0
    text = "".join(map(str, value.as_tuple().digits)).rjust(-exponent, "0")
    return len(text[exponent:].rstrip("0"))


_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d:\d\d"


def _text_check(
    column: ColumnType, family: str, dialect: str
) -> tuple[Callable[[Any], bool], str] | None:
    if family == "text":
        return _length_check(column)
    if family == "enum":
        return frozenset(column.enums).__contains__, "there is no such symbol"
    if family == "set":
        known = list(column.values)
        return lambda v: v == ",".join(k for k in known if k in v.split(",")), "it would be changed"
    if family == "uuid":
        return lambda value: value == str(UUID(value)), "it would be written in another way"
    if family == "integer":
        whole = re.compile(r"-?[1-9]\d*|0")
        return lambda value: bool(whole.fullmatch(value)), "the text would become another number"
    if family in ("date", "time", "moment"):
        form = _form_of(column, family, dialect)
        return lambda value: bool(form.fullmatch(value)), "a part of the text would be lost"
    return None


def _form_of(column: ColumnType, family: str, dialect: str) -> re.Pattern[str]:
    """The texts that a column of dates or times keeps whole."""
    if family == "date":
        return re.compile(_DAY)
    digits = _fraction(column, dialect)
    clock = _CLOCK + (rf"(\.\d{{1,{digits}}})?" if digits else "")
    zone = r"(Z|[+-]\d\d(:?\d\d)?)?" if getattr(column, "timezone", False) else ""
    return re.compile(clock + zone if family == "time" else rf"{_DAY}[T ]{clock}{zone}")


def _length_check(column: ColumnType) -> tuple[Callable[[Any], bool], str] | None:
    """Servers refuse what is too long, but for blanks at its end: those they cut off in silence."""
    padded = isinstance(column, types.CHAR)
    if length := column.length:
        long = f"it is longer than {length} characters"
        if padded:
            return lambda v: len(v) <= length and not v.endswith(" "), f"{long}, or ends in a blank"
        return lambda value: len(value) <= length, long
    limit = _BYTES.get(type(column), 0)
    if limit:
        return (
            lambda v: len(v) * 4 <= limit or len(v.encode()) <= limit,
            f"it is longer than {limit} bytes",
        )
    return None


_BYTES: dict[type, int] = {mysql.TINYTEXT: 255, mysql.TEXT: 2**16 - 1, mysql.MEDIUMTEXT: 2**24 - 1}


def _stays_in_sqlite(value: str) -> bool:
    if re.fullmatch(r"-?[1-9]\d{0,17}|0", value):
        return True
    try:
        float(value)
    except ValueError:
        return True
    return False
