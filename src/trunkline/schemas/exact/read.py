"""Reads a value that one schema wrote as another one wants it.

As the Avro specification's "Schema Resolution" says, with its promotions, aliases, defaults and
enum defaults; what is no business of the bytes, a logical type, is the reader's. A value that the
reader's type cannot hold exactly is an error.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.describe import describe
from trunkline.schemas.exact.logical import logical_of

Read = Callable[[bytes, int], tuple[Any, int]]
"""The value at a place, and the place behind it. Raises ValueError, LookupError, ArithmeticError,
struct.error or RecursionError for bytes that are none."""
SINGLE = struct.Struct("<f")
DOUBLE = struct.Struct("<d")
PROMOTED = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""What a reader may take a writer's type for."""

NANOSECONDS = {"millis": 1_000_000, "micros": 1_000, "nanos": 1}
MOMENTS = ("timestamp", "local-timestamp")


class Unresolvable(ValueError):
    """The reader's schema has no place for what the writer's schema writes."""


def exact_reader(written: Any, wanted: Any = None) -> Read:
    """The function that reads values which ``written`` wrote, as the schema ``wanted`` or as they
    are. May be used by any number of threads. Raises Unresolvable."""
    wanted = written if wanted is None else wanted
    return Readers(avro.named_types(written), avro.named_types(wanted)).of(written, wanted)


class Readers:
    """Makes readers; those of two named types once, however often they are named."""

    def __init__(self, written: dict[str, Any], wanted: dict[str, Any]) -> None:
        """The named types of the two schemas."""
        self._written = written
        self._wanted = wanted
        self._records: dict[tuple[str, str], Read] = {}

    def of(self, written: Any, wanted: Any) -> Read:
        """The reader of one schema as another. Raises Unresolvable."""
        if isinstance(written, str):
            written = self._written.get(written, written)
        if isinstance(wanted, str):
            wanted = self._wanted.get(wanted, wanted)
        if avro.kind(written) == "union":
            return self._from_union(written, wanted)
        if avro.kind(wanted) == "union":
            return self._as_branch(written, wanted)
        if written is not wanted and not _match(written, wanted):
            raise Unresolvable(f"{describe(written)} was written, {describe(wanted)} is wanted")
        plain: Read = getattr(self, f"_{avro.kind(written)}")(written, wanted)
        return _logical(_promoted(plain, written, wanted), written, wanted)

    def _from_union(self, written: list[Any], wanted: Any) -> Read:
        """A branch that the reader cannot take is an error only when it comes."""
        branches: list[Read | Unresolvable] = []
        same = written is wanted
        for branch in written:
            try:
                branches.append(self.of(branch, branch if same else wanted))
            except Unresolvable as error:
                branches.append(error)
        if all(isinstance(branch, Unresolvable) for branch in branches):
            raise Unresolvable(f"none of {describe(written)} is {describe(wanted)}")

        def read(b: bytes, p: int) -> tuple[Any, int]:
            index, p = number(b, p)
            if not 0 <= index < len(branches):
                raise ValueError(f"branch {index} of a union of {len(branches)}")
            branch = branches[index]
            if isinstance(branch, Unresolvable):
                raise branch
            return branch(b, p)

        return read

    def _as_branch(self, written: Any, wanted: list[Any]) -> Read:
        """The first branch of the same type and name, else the first that will do."""
        known = [self._wanted.get(b, b) if isinstance(b, str) else b for b in wanted]
        name = _name(written)
        ranked = sorted(known, key=lambda b: (avro.kind(b) != avro.kind(written), name != _name(b)))
        for branch in ranked:
            try:
                return self.of(written, branch)
            except Unresolvable:
                continue
        raise Unresolvable(f"{describe(written)} is none of {describe(wanted)}")

    def _null(self, written: Any, wanted: Any) -> Read:
        return lambda _, p: (None, p)

    def _boolean(self, written: Any, wanted: Any) -> Read:
        return lambda b, p: (bool(b[p]), p + 1)

    def _int(self, written: Any, wanted: Any) -> Read:
        return number

    _long = _int

    def _float(self, written: Any, wanted: Any) -> Read:
        return lambda b, p: (SINGLE.unpack_from(b, p)[0], p + 4)

    def _double(self, written: Any, wanted: Any) -> Read:
        return lambda b, p: (DOUBLE.unpack_from(b, p)[0], p + 8)

    def _bytes(self, written: Any, wanted: Any) -> Read:
        return _raw

    def _string(self, written: Any, wanted: Any) -> Read:
        return _text

    def _fixed(self, written: Any, wanted: Any) -> Read:
        size = written["size"]
        return lambda b, p: _cut(b, p, size)

    def _enum(self, written: Any, wanted: Any) -> Read:
        symbols, known = written["symbols"], set(wanted["symbols"])
        taken = [symbol if symbol in known else wanted.get("default") for symbol in symbols]

        def read(b: bytes, p: int) -> tuple[Any, int]:
            index, p = number(b, p)
            if not 0 <= index < len(taken):
                raise ValueError(f"symbol {index} of an enum of {len(taken)}")
            if taken[index] is None:
                raise Unresolvable(f"{symbols[index]} is no symbol of {describe(wanted)}")
            return taken[index], p

        return read

    def _array(self, written: Any, wanted: Any) -> Read:
        read_item = self.of(written["items"], wanted["items"])

        def read(b: bytes, p: int) -> tuple[Any, int]:
            items: list[Any] = []
            add = items.append
            count, p = _count(b, p)
            while count:
                for _ in range(count):
                    item, p = read_item(b, p)
                    add(item)
                count, p = _count(b, p)
            return items, p

        return read

    def _map(self, written: Any, wanted: Any) -> Read:
        read_value = self.of(written["values"], wanted["values"])

        def read(b: bytes, p: int) -> tuple[Any, int]:
            items: dict[str, Any] = {}
            count, p = _count(b, p)
            while count:
                for _ in range(count):
                    key, p = _text(b, p)
                    items[key], p = read_value(b, p)
                count, p = _count(b, p)
            return items, p

        return read

    def _record(self, written: Any, wanted: Any) -> Read:
        names = (written["name"], wanted["name"])
        if names in self._records:
            return self._records[names]
        steps: list[tuple[str | None, Read]] = []
        order = [field["name"] for field in wanted["fields"]]
        defaults: list[tuple[str, Any, bool]] = []

        def read(b: bytes, p: int) -> tuple[Any, int]:
            data: dict[str, Any] = dict.fromkeys(order)  # the reader's order
            for name, read_field in steps:
                if name is None:
                    p = read_field(b, p)[1]
                else:
                    data[name], p = read_field(b, p)
            for field, default, mutable in defaults:
                data[field] = copy.deepcopy(default) if mutable else default
            return data, p

        self._records[names] = read  # before its fields, which may name it
        try:
            self._fill(written, wanted, steps, defaults)
        except Unresolvable as error:
            # A type inside of it that was resolved meanwhile may have kept it.
            steps[:] = [(None, _never(error))]
            del self._records[names]
            raise
        return read

    _error = _record

    def _fill(
        self,
        written: Any,
        wanted: Any,
        steps: list[tuple[str | None, Read]],
        defaults: list[tuple[str, Any, bool]],
    ) -> None:
        """Add the steps that read a record's fields, and the defaults of those that lack."""
        found = _fields(written, wanted)
        for field in written["fields"]:
            target = found.get(field["name"])
            if target is not None:
                steps.append((target["name"], self.of(field["type"], target["type"])))
            else:
                skipped = Readers(self._written, self._written).of(field["type"], field["type"])
                steps.append((None, skipped))
        given = {target["name"] for target in found.values()}
        for field in wanted["fields"]:
            if field["name"] in given:
                continue
            if "default" not in field:
                raise Unresolvable(
                    f"{wanted['name']}.{field['name']} was not written and has no default"
                )
            default = field["default"]
            # Two events must not share a list.
            defaults.append((field["name"], default, isinstance(default, list | dict)))


def _fields(written: Any, wanted: Any) -> dict[str, Any]:
    """The reader's fields by the names of the writer's: those of the same name first, since an
    alias may be the name of another field that was renamed, too."""
    names = {field["name"] for field in written["fields"]}
    found = {field["name"]: field for field in wanted["fields"] if field["name"] in names}
    for field in wanted["fields"]:
        if field["name"] not in names:
            alias = next((a for a in field.get("aliases", ()) if a in names - found.keys()), None)
            if alias is not None:
                found[alias] = field
    return found


def _match(written: Any, wanted: Any) -> bool:
    kind, other = avro.kind(written), avro.kind(wanted)
    if kind != other:
        return other in PROMOTED.get(kind, ())
    if _name(written) is None:
        return True
    known = {_name(wanted), *(alias.rpartition(".")[2] for alias in wanted.get("aliases", ()))}
    return _name(written) in known and written.get("size") == wanted.get("size")


def _name(schema: Any) -> str | None:
    """Without its namespace, as the specification compares names."""
    return schema["name"].rpartition(".")[2] if "name" in schema else None


def _promoted(read: Read, written: Any, wanted: Any) -> Read:
    kind, other = avro.kind(written), avro.kind(wanted)
    if kind == other or other == "long":
        return read
    texts: dict[str, Callable[[Any], Any]] = {"bytes": str.encode, "string": bytes.decode}
    convert = texts.get(other, _real)

    def promoted(b: bytes, p: int) -> tuple[Any, int]:
        value, p = read(b, p)
        return convert(value), p

    return promoted


def _real(value: float) -> float:
    number = float(value)
    if number != value:
        raise ValueError("a long of more digits than a double has")
    return number


def _logical(read: Read, written: Any, wanted: Any) -> Read:
    """The logical type of the reader. Where both have the same one, the writer's scale or unit
    tells what was meant."""
    source, target = logical_of(written), logical_of(wanted)
    if written is not wanted and (units := _units(written, wanted)):
        read = _scaled(read, *units)
    if target is None:
        return read
    if source is not None and source.wanted == target.wanted:
        target, wanted = source, written
    convert = target.read

    def logical(b: bytes, p: int) -> tuple[Any, int]:
        value, p = read(b, p)
        return convert(value, wanted), p

    return logical


def _units(written: Any, wanted: Any) -> tuple[int, int] | None:
    """Both units, of moments of which only one counts nanoseconds, which are plain numbers."""
    if not isinstance(written, dict) or not isinstance(wanted, dict):
        return None
    names = (written.get("logicalType"), wanted.get("logicalType"))
    (kind, _, unit), (other, _, wanted_unit) = (str(name).rpartition("-") for name in names)
    if kind != other or (unit == "nanos") == (wanted_unit == "nanos"):
        return None
    known = unit in NANOSECONDS and wanted_unit in NANOSECONDS and kind in MOMENTS
    return (NANOSECONDS[unit], NANOSECONDS[wanted_unit]) if known else None


def _scaled(read: Read, unit: int, wanted_unit: int) -> Read:
    def scaled(b: bytes, p: int) -> tuple[Any, int]:
        value, p = read(b, p)
        found, rest = divmod(value * unit, wanted_unit)
        if rest:
            raise ValueError("a time of more digits than its new type has")
        return found, p

    return scaled


def _never(error: Unresolvable) -> Read:
    def read(b: bytes, p: int) -> tuple[Any, int]:
        raise error

    return read


def number(b: bytes, p: int) -> tuple[int, int]:
    """A number of any length, and the place behind it."""
    n, shift = b[p] & 127, 7
    while b[p] > 127:
        p += 1
        n |= (b[p] & 127) << shift
        shift += 7
        if shift > 70:
            raise ValueError("a number of more than 64 bits")
    if n >> 64:
        raise ValueError("a number of more than 64 bits")
    return n >> 1 ^ -(n & 1), p + 1


def _count(b: bytes, p: int) -> tuple[int, int]:
    """The number of items of a block; of a negative one the block's bytes follow."""
    n, p = number(b, p)
    if n < 0:
        n, p = -n, number(b, p)[1]
    return n, p


def _cut(b: bytes, p: int, size: int) -> tuple[bytes, int]:
    end = p + size
    if size < 0 or end > len(b):
        raise ValueError(f"{size} bytes expected, {len(b) - p} left")
    return b[p:end], end


def _raw(b: bytes, p: int) -> tuple[bytes, int]:
    size, p = number(b, p)
    return _cut(b, p, size)


def _text(b: bytes, p: int) -> tuple[str, int]:
    raw, p = _raw(b, p)
    return raw.decode(), p
