"""Generated readers: from a value in the wire format to its data."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.compiled.source import LEAVE, Generator, NotGenerated, Source, nullable
from trunkline.schemas.exact.read import Read, Readers, number

HEADER = 5
"""Bytes of the wire format before the data."""

ZIGZAG = [n >> 1 ^ -(n & 1) for n in range(128)]
"""The number that a single byte is."""
SIZE = [None if n & 1 else n >> 1 for n in range(128)] + [None] * 128
"""The length that a single byte is; None: it is longer than a byte, or negative."""

MOMENTS = {"timestamp-millis": 1000, "timestamp-micros": 1}
"""Microseconds of a unit."""


def reader(schema: Any, careful: Callable[[bytes], Any], skip: int = 0) -> Callable[[bytes], Any]:
    """A function that reads values which were written with this very schema, behind the first
    ``skip`` bytes of what it is given; ``careful`` where none can be generated. It does what
    ``careful`` does, in less time."""
    if avro.is_recursive(schema):
        return careful
    source = Source(**_KNOWN)
    try:
        source.add(f"p = {HEADER + skip}")
        result = _Reading(source, schema).value(schema)
    except NotGenerated:
        return careful
    source.add(f"if p != len(b): {LEAVE}", f"return {result}")
    return source.function("b", careful)


class _Reading(Generator):
    """The source that reads: ``b`` are the bytes, ``p`` is the place."""

    def __init__(self, source: Source, schema: Any) -> None:
        super().__init__(source)
        named = avro.named_types(schema)
        self._readers = Readers(named, named)

    def _exact(self, schema: Any) -> Read:
        return self._readers.of(schema, schema)

    def value(self, schema: Any) -> str:
        """Add what reads a value; returns the expression of the value."""
        read, schema = self.method(schema)
        if read is None:
            into, other = self._source.name(), self._source.constant(self._exact(schema))
            self._source.add(f"{into}, p = {other}(b, p)")
            return into
        found: str = read(schema)
        return found

    def _null(self, schema: Any) -> str:
        return "None"

    def _boolean(self, schema: Any) -> str:
        into = self._source.name()
        self._source.add(f"{into} = (False, True)[b[p]]", "p += 1")
        return into

    def _int(self, schema: Any) -> str:
        into = self._source.name()
        self._source.add(
            "n = b[p]",
            f"if n < 128: {into} = ZIGZAG[n]; p += 1",
            "elif (m := b[p + 1]) < 128:",
            f"    n = n & 127 | m << 7; {into} = n >> 1 ^ -(n & 1); p += 2",
            f"else: {into}, p = long(b, p)",
        )
        return into

    _long = _int

    def _float(self, schema: Any) -> str:
        return self._number("single", 4)

    def _double(self, schema: Any) -> str:
        return self._number("double", 8)

    def _number(self, unpack: str, size: int) -> str:
        into = self._source.name()
        self._source.add(f"{into} = {unpack}(b, p)[0]", f"p += {size}")
        return into

    def _count(self) -> None:
        self._source.add("n = SIZE[b[p]]", "if n is None: n, p = size(b, p)", "else: p += 1")

    def _bytes(self, schema: Any, decode: str = "") -> str:
        into = self._source.name()
        self._count()
        self._source.add("q = p + n", f"{into} = b[p:q]{decode}", "p = q")
        return into

    def _string(self, schema: Any) -> str:
        return self._bytes(schema, ".decode()")

    def _enum(self, schema: Any) -> str:
        symbols = self._source.constant(tuple(schema["symbols"]))
        into = self._source.name()
        self._source.add(f"{into} = {symbols}[SIZE[b[p]]]", "p += 1")
        return into

    def _long_timestamp_millis(self, schema: Any) -> str:
        number, into = self._int(schema), self._source.name()
        unit = MOMENTS[schema["logicalType"]]
        self._source.add(f"{into} = EPOCH + timedelta(0, 0, {number} * {unit})")
        return into

    _long_timestamp_micros = _long_timestamp_millis

    def _int_date(self, schema: Any) -> str:
        return f"date({self._int(schema)} + DAYS)"

    def _union(self, schema: Any) -> str:
        null, branch = nullable(schema)
        into = self._source.name()
        self._source.add("n = b[p]", "p += 1")
        with self._source.block(f"if n == {2 * null}:"):
            self._source.add(f"{into} = None")
        with self._source.block(f"elif n == {2 * (1 - null)}:"):
            self._source.add(f"{into} = {self.value(branch)}")
        self._source.add(f"else: {LEAVE}")
        return into

    def _array(self, schema: Any) -> str:
        return self._blocks("[]", lambda into: f"{into}.append({self.value(schema['items'])})")

    def _map(self, schema: Any) -> str:
        def item(into: str) -> str:
            key = self._string(schema)
            return f"{into}[{key}] = {self.value(schema['values'])}"

        return self._blocks("{}", item)

    def _blocks(self, empty: str, item: Callable[[str], str]) -> str:
        into = self._source.name()
        self._source.add(f"{into} = {empty}")
        with self._source.block("while True:"):
            self._count()
            self._source.add("if not n: break")
            with self._source.block("for _ in range(n):"):
                self._source.add(item(into))
        return into

    def _record(self, schema: Any) -> str:
        fields = [f"{field['name']!r}: {self.value(field['type'])}" for field in schema["fields"]]
        return "{" + ", ".join(fields) + "}"


def _size(b: bytes, p: int) -> tuple[int, int]:
    n, p = number(b, p)
    if n < 0:
        raise ValueError("a negative length, or a block with its size")
    return n, p


_KNOWN: dict[str, object] = {
    "ZIGZAG": ZIGZAG,
    "SIZE": SIZE,
    "EPOCH": datetime.fromtimestamp(0, UTC),
    "DAYS": date(1970, 1, 1).toordinal(),
    "timedelta": timedelta,
    "date": date.fromordinal,
    "single": struct.Struct("<f").unpack_from,
    "double": struct.Struct("<d").unpack_from,
    "long": number,
    "size": _size,
}
