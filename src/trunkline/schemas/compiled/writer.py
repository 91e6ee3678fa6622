"""Generated writers: from data to a value in the wire format."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from trunkline.schemas import avro
from trunkline.schemas.compiled.source import LEAVE, Generator, NotGenerated, Source, nullable
from trunkline.schemas.exact.write import Writers, zigzag

NUMBER = [bytes([n]) for n in range(1 << 7)]
"""Numbers of up to 14 bits, after the zigzag: their bytes."""
NUMBER += [bytes([n & 127 | 128, n >> 7]) for n in range(1 << 7, 1 << 14)]
SIZE = NUMBER[::2]
"""Lengths: their bytes."""
LOWEST = [bytes([n & 127 | 128, n >> 7 | 128]) for n in range(1 << 14)]
"""The lowest 14 bits of a larger number: their bytes."""


def writer(schema: Any, prefix: bytes, careful: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """A function that writes values of a schema behind ``prefix``; ``careful`` where none can be
    generated. It does what ``careful`` does, in less time."""
    if avro.is_recursive(schema):
        return careful
    source = Source(**_KNOWN)
    try:
        parts = _Writing(source, schema).value(schema, "d")
    except NotGenerated:
        return careful
    source.add(f"return {joined([source.constant(prefix), *parts])}")
    return source.function("d", careful)


def joined(parts: list[str]) -> str:
    """The expression of several parts' bytes."""
    return parts[0] if len(parts) == 1 else f"join(({', '.join(parts)},))"


class _Writing(Generator):
    """The source that writes. What it is not sure of it leaves to ``careful``."""

    def __init__(self, source: Source, schema: Any) -> None:
        super().__init__(source)
        self._exact = Writers(schema)

    def value(self, schema: Any, of: str) -> list[str]:
        """Add what writes ``of``, an expression; returns the expressions of its bytes."""
        write, schema = self.method(schema)
        if write is None:
            return [f"{self._source.constant(self._exact.of(schema))}({of})"]
        parts: list[str] = write(schema, of)
        return parts

    def _kept(self, of: str) -> str:
        """``of`` in a variable: it is used several times."""
        into = self._source.name()
        self._source.add(f"{into} = {of}")
        return into

    def _only(self, of: str, kind: str) -> str:
        """``of`` in a variable if it is of exactly this type."""
        into = self._kept(of)
        self._source.add(f"if type({into}) is not {kind}: {LEAVE}")
        return into

    def _null(self, schema: Any, of: str) -> list[str]:
        self._source.add(f"if {of} is not None: {LEAVE}")
        return ["b''"]

    def _boolean(self, schema: Any, of: str) -> list[str]:
        return [f"NUMBER[{self._only(of, 'bool')}]"]

    def _int(self, schema: Any, of: str) -> list[str]:
        number = self._only(of, "int")
        self._source.add(f"if not -0x80000000 <= {number} < 0x80000000: {LEAVE}")
        return self._zigzag(number)

    def _long(self, schema: Any, of: str) -> list[str]:
        return self._zigzag(self._only(of, "int"))

    def _zigzag(self, number: str) -> list[str]:
        self._source.add(f"{number} = {number} << 1 ^ {number} >> 63")
        return [f"NUMBER[{number}] if {number} < 16384 else long({number})"]

    def _float(self, schema: Any, of: str) -> list[str]:
        number, raw = self._only(of, "float"), self._source.name()
        self._source.add(f"{raw} = single({number})", f"if {number} and {raw} in NAUGHT: {LEAVE}")
        return [raw]

    def _double(self, schema: Any, of: str) -> list[str]:
        return [f"double({self._only(of, 'float')})"]

    def _bytes(self, schema: Any, of: str) -> list[str]:
        raw = self._only(of, "bytes")
        return [f"SIZE[len({raw})]", raw]

    def _fixed(self, schema: Any, of: str) -> list[str]:
        raw = self._only(of, "bytes")
        self._source.add(f"if len({raw}) != {schema['size']}: {LEAVE}")
        return [raw]

    def _string_uuid(self, schema: Any, of: str) -> list[str]:
        raw = self._kept(f"str({self._only(of, 'UUID')}).encode()")
        return [f"SIZE[len({raw})]", raw]

    def _string(self, schema: Any, of: str) -> list[str]:
        raw = self._kept(f"utf8({of})")  # not its method: others have an encode(), too
        return [f"SIZE[len({raw})]", raw]

    def _enum(self, schema: Any, of: str) -> list[str]:
        symbols = {symbol: zigzag(index) for index, symbol in enumerate(schema["symbols"])}
        return [f"{self._source.constant(symbols)}[{of}]"]

    def _long_timestamp_millis(self, schema: Any, of: str) -> list[str]:
        since = self._since(of)
        rest = self._kept(f"{since}.microseconds")
        self._source.add(f"if {rest} % 1000: {LEAVE}")
        whole = f"({since}.days * 86400 + {since}.seconds) * 1000"
        return self._zigzag(self._kept(f"{whole} + {rest} // 1000"))

    def _long_timestamp_micros(self, schema: Any, of: str) -> list[str]:
        since = self._since(of)
        whole = f"({since}.days * 86400 + {since}.seconds) * 1000000"
        return self._zigzag(self._kept(f"{whole} + {since}.microseconds"))

    def _since(self, of: str) -> str:
        # A moment without a time zone has no difference to one with it: that is unusual.
        return self._kept(f"{self._only(of, 'datetime')} - EPOCH")

    def _int_date(self, schema: Any, of: str) -> list[str]:
        day = self._only(of, "date")
        return self._zigzag(self._kept(f"{day}.toordinal() - DAYS"))

    def _union(self, schema: Any, of: str) -> list[str]:
        null, branch = nullable(schema)
        value, into = self._kept(of), self._source.name()
        with self._source.block(f"if {value} is None:"):
            self._source.add(f"{into} = SIZE[{null}]")
        with self._source.block("else:"):
            parts = self.value(branch, value)
            self._source.add(f"{into} = {joined([f'SIZE[{1 - null}]', *parts])}")
        return [into]

    def _array(self, schema: Any, of: str) -> list[str]:
        items = self._only(of, "list")
        return self._blocks(items, "for i in {}:", schema["items"], [])

    def _map(self, schema: Any, of: str) -> list[str]:
        items = self._only(of, "dict")
        return self._blocks(items, "for k, i in {}.items():", schema["values"], ["k"])

    def _blocks(self, items: str, each: str, schema: Any, keys: list[str]) -> list[str]:
        """One block of all items, if there are any; each is a key's text, if any, and a value."""
        into = self._kept("[]")
        with self._source.block(each.format(items)):
            parts = [part for key in keys for part in self._string(schema, key)]
            parts += self.value(schema, "i")
            self._source.add(f"{into}.append({joined(parts)})")
        size = f"SIZE[len({items})]"
        return [f"{size} + join({into}) + SIZE[0] if {items} else SIZE[0]"]

    def _record(self, schema: Any, of: str) -> list[str]:
        fields = schema["fields"]
        data = self._only(of, "dict")  # a defaultdict would invent what is misspelt
        self._source.add(f"if len({data}) != {len(fields)}: {LEAVE}")
        found = [self.value(field["type"], f"{data}[{field['name']!r}]") for field in fields]
        return [part for parts in found for part in parts] or ["b''"]


def _long(n: int) -> bytes:
    """The bytes of a number of any length, after the zigzag."""
    if n >> 64:
        raise ValueError("a number of more than 64 bits")
    parts = []
    while n >= 1 << 14:
        parts.append(LOWEST[n & 0x3FFF])
        n >>= 14
    parts.append(NUMBER[n])
    return b"".join(parts)


_KNOWN: dict[str, object] = {
    "NUMBER": NUMBER,
    "SIZE": SIZE,
    "EPOCH": datetime.fromtimestamp(0, UTC),
    "DAYS": date(1970, 1, 1).toordinal(),
    "datetime": datetime,
    "date": date,
    "UUID": UUID,
    "single": struct.Struct("<f").pack,
    "NAUGHT": {struct.pack("<f", 0.0), struct.pack("<f", -0.0)},
    "double": struct.Struct("<d").pack,
    "utf8": str.encode,
    "join": b"".join,
    "long": _long,
}
