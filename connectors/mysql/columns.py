"""The values of a row event, a reader for each column's type.

MySQL Source Code Documentation, "Table_map_event" (types and their metadata); formats of DECIMAL,
DATETIME2, TIMESTAMP2 and TIME2 as in MySQL's strings/decimal.c and sql-common/my_time.c. A reader
takes the event and where the value begins, and gives the value and where it ends: a closure over
everything that the type's metadata says, made once for a table map and used for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from struct import Struct
from typing import Any

from trunkline.connectors.mysql.charsets import Decode

Read = Callable[[bytes, int], tuple[Any, int]]

TINY, SHORT, LONG, FLOAT, DOUBLE = 1, 2, 3, 4, 5
LONGLONG, INT24, DATE, YEAR, VARCHAR, BIT = 8, 9, 10, 13, 15, 16
TIMESTAMP2, DATETIME2, TIME2 = 17, 18, 19
JSON, NEWDECIMAL, ENUM, SET = 245, 246, 247, 248
BLOB, VAR_STRING, STRING, GEOMETRY = 252, 253, 254, 255

NUMERIC = frozenset((TINY, SHORT, LONG, FLOAT, DOUBLE, LONGLONG, INT24, NEWDECIMAL, YEAR))
"""The types of which the table map tells signs."""
TEXTUAL = frozenset((VARCHAR, BLOB, VAR_STRING, STRING))
"""The types of which it tells character sets; MariaDB's also for GEOMETRY."""
METADATA = {
    FLOAT: 1, DOUBLE: 1, VARCHAR: 2, BIT: 2, TIMESTAMP2: 1, DATETIME2: 1, TIME2: 1, JSON: 1,
    NEWDECIMAL: 2, ENUM: 2, SET: 2, BLOB: 1, VAR_STRING: 2, STRING: 2, GEOMETRY: 1,
    TINY: 0, SHORT: 0, LONG: 0, LONGLONG: 0, INT24: 0, DATE: 0, YEAR: 0,
}  # fmt: skip
"""How many bytes the table map has of each type that is known."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""DECIMAL: bytes of so many digits that do not fill a group of nine."""

_FIXED = {
    (TINY, False): Struct("<b"),
    (TINY, True): Struct("<B"),
    (SHORT, False): Struct("<h"),
    (SHORT, True): Struct("<H"),
    (LONG, False): Struct("<i"),
    (LONG, True): Struct("<I"),
    (LONGLONG, False): Struct("<q"),
    (LONGLONG, True): Struct("<Q"),
    (FLOAT, False): Struct("<f"),
    (FLOAT, True): Struct("<f"),
    (DOUBLE, False): Struct("<d"),
    (DOUBLE, True): Struct("<d"),
}


def fixed(type_: int, unsigned: bool) -> Read:
    """Integers and floats of a size that ``struct`` has."""
    form = _FIXED[type_, unsigned]
    unpack, size = form.unpack_from, form.size

    def read(row: bytes, at: int) -> tuple[Any, int]:
        return unpack(row, at)[0], at + size

    return read


def medium(unsigned: bool) -> Read:
    """MEDIUMINT."""

    def read(row: bytes, at: int) -> tuple[int, int]:
        end = at + 3
        return int.from_bytes(row[at:end], "little", signed=not unsigned), end

    return read


def year(row: bytes, at: int) -> tuple[int, int]:
    """YEAR: 0 is the year 0000."""
    value = row[at]
    return value and 1900 + value, at + 1


def decimal(precision: int, scale: int) -> Read:
    """DECIMAL: groups of nine digits in four bytes, big endian; the rest in fewer."""
    whole, part = divmod(precision - scale, 9), divmod(scale, 9)
    sizes = [_DIGIT_BYTES[whole[1]]] + [4] * whole[0]
    fractions = [(4, 9)] * part[0] + ([(_DIGIT_BYTES[part[1]], part[1])] if part[1] else [])
    size = sum(sizes) + sum(each for each, _ in fractions)
    flip, high = (1 << 8 * size) - 1, 1 << (8 * size - 1)

    def read(row: bytes, at: int) -> tuple[Decimal, int]:
        end = at + size
        number = int.from_bytes(row[at:end], "big") ^ high
        sign = ""
        if number & high:
            number, sign = number ^ flip, "-"
        digits, begin, value = number.to_bytes(size, "big"), 0, 0
        for each in sizes:
            value = value * 1_000_000_000 + int.from_bytes(digits[begin : begin + each], "big")
            begin += each
        text = f"{sign}{value}"
        if fractions:
            text += "."
        for each, count in fractions:
            group = int.from_bytes(digits[begin : begin + each], "big")
            text += f"{group:0{count}d}"
            begin += each
        return Decimal(text), end

    return read


def bits(count: int, full: int) -> Read:
    """BIT(n) as a number."""
    size = full + (count + 7) // 8

    def read(row: bytes, at: int) -> tuple[int, int]:
        end = at + size
        return int.from_bytes(row[at:end], "big"), end

    return read


def text(prefix: int, decode: Decode, pad: int = 0) -> Read:
    """Text and bytes behind their length, of ``prefix`` bytes. ``pad``: the length of a BINARY
    column, of whose values the log leaves out the zeros at the end."""
    if pad:

        def padded(row: bytes, at: int) -> tuple[Any, int]:
            at, begin = at + prefix, at
            end = at + int.from_bytes(row[begin:at], "little")
            return row[at:end].ljust(pad, b"\0"), end

        return padded
    if prefix == 1:

        def short(row: bytes, at: int) -> tuple[Any, int]:
            at, end = at + 1, at + 1 + row[at]
            return decode(row[at:end]), end

        return short

    def read(row: bytes, at: int) -> tuple[Any, int]:
        at, begin = at + prefix, at
        end = at + int.from_bytes(row[begin:at], "little")
        return decode(row[at:end]), end

    return read


def enum(size: int, labels: Sequence[str | bytes]) -> Read:
    """ENUM: the label; "" for the number 0, which stands for a value that was none."""
    known = ["", *labels]

    def read(row: bytes, at: int) -> tuple[Any, int]:
        end = at + size
        return known[int.from_bytes(row[at:end], "little")], end

    return read


def set_of(size: int, labels: Sequence[str | bytes]) -> Read:
    """SET: the labels between commas, as the server writes them."""
    flags = [(1 << number, str(label)) for number, label in enumerate(labels)]

    def read(row: bytes, at: int) -> tuple[str, int]:
        end = at + size
        value = int.from_bytes(row[at:end], "little")
        return ",".join([label for flag, label in flags if value & flag]), end

    return read


def day(row: bytes, at: int) -> tuple[date | str, int]:
    """DATE."""
    end = at + 3
    value = int.from_bytes(row[at:end], "little")
    parts = value >> 9, value >> 5 & 15, value & 31
    try:
        return date(*parts), end
    except ValueError:
        return "{:04d}-{:02d}-{:02d}".format(*parts), end


def moment(digits: int) -> Read:
    """DATETIME(digits)."""
    after = (digits + 1) // 2
    size, factor = 5 + after, 10 ** (6 - 2 * after)

    def read(row: bytes, at: int) -> tuple[datetime | str, int]:
        end = at + size
        value = int.from_bytes(row[at:end], "big")
        micros = (value & ((1 << 8 * after) - 1)) * factor if after else 0
        value = (value >> 8 * after) - 0x8000000000
        months, day_of = divmod(value >> 17, 32)
        years, month = divmod(months, 13)
        parts = (years, month, day_of, value >> 12 & 31, value >> 6 & 63, value & 63)
        try:
            return datetime(*parts, micros), end
        except ValueError:
            shown = "{:04d}-{:02d}-{:02d} {:02d}:{:02d}:{:02d}".format(*parts)
            return shown + _fraction(micros, digits), end

    return read


def instant(digits: int) -> Read:
    """TIMESTAMP(digits), in UTC; the number 0 is the zero date."""
    after = (digits + 1) // 2
    size, factor = 4 + after, 10 ** (6 - 2 * after)
    zero = "0000-00-00 00:00:00" + _fraction(0, digits)

    def read(row: bytes, at: int) -> tuple[datetime | str, int]:
        end = at + size
        seconds = int.from_bytes(row[at : at + 4], "big")
        micros = int.from_bytes(row[at + 4 : end], "big") * factor
        if not seconds and not micros:
            return zero, end
        return _EPOCH + timedelta(seconds=seconds, microseconds=micros), end

    return read


def clock(digits: int) -> Read:
    """TIME(digits): a ``time`` where it is one of a day, else text: ``-838:59:59``."""
    after = (digits + 1) // 2
    size, factor = 3 + after, 10 ** (6 - 2 * after)
    middle = 1 << (8 * size - 1)

    def read(row: bytes, at: int) -> tuple[time | str, int]:
        end = at + size
        value = int.from_bytes(row[at:end], "big") - middle
        sign, value = ("-", -value) if value < 0 else ("", value)
        micros = (value & ((1 << 8 * after) - 1)) * factor if after else 0
        value >>= 8 * after
        parts = value >> 12 & 1023, value >> 6 & 63, value & 63
        if not sign and parts[0] < 24:
            return time(*parts, micros), end
        shown = "{}{:02d}:{:02d}:{:02d}".format(sign, *parts)
        return shown + _fraction(micros, digits), end

    return read


def _fraction(micros: int, digits: int) -> str:
    return "." + f"{micros:06d}"[:digits] if digits else ""
