"""Writes a value, or refuses it: a value that would come back changed is Unfit.

What comes back is equal to what was written, in the type that docs/schemas.md names for it. A
``float`` alone comes back as the nearest number of 32 bits, since that is what the type is for.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.describe import describe
from trunkline.schemas.exact.logical import Logical, logical_of
from trunkline.schemas.exact.unfit import Unfit, wants

Write = Callable[[Any], bytes]
"""The bytes of a value. Raises Unfit."""
MISSING = object()
SINGLE = struct.Struct("<f")
DOUBLE = struct.Struct("<d")
WIDER = ["int", "long", "float", "double"]
"""Numbers, the narrower first."""
MAX_TOLD = 200
"""Characters of an enum's symbols that an error tells."""
_BYTES = (bytes, bytearray, memoryview)
TAKEN: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "bytes": _BYTES,
    "fixed": _BYTES,
    "string": (str,),
    "enum": (str,),
    "array": (list, tuple),
    "map": (dict,),
    "record": (dict,),
    "error": (dict,),
}
MAX_NESTING = 150
"""Lists and dicts in one another, in a type that contains itself: deeper ones could not be read
wherever the reader's stack is deeper than the writer's."""


def exact_writer(schema: Any) -> Write:
    """The function that writes values of a parsed schema. May be used by any number of threads."""
    write = Writers(schema).of(schema)
    if not avro.is_recursive(schema):
        return write

    def write_nested(value: Any) -> bytes:
        _require_shallow(value)
        return write(value)

    return write_nested


class Writers:
    """Makes writers; those of named types once, however often they are named."""

    def __init__(self, schema: Any) -> None:
        """``schema``: the whole one, in whose parts types may only be named."""
        self._schemas = avro.named_types(schema)
        self._named: dict[str, Write] = {}

    def of(self, schema: Any) -> Write:
        """The writer of a schema, by the method for its kind."""
        if isinstance(schema, str):
            schema = self._schemas.get(schema, schema)
        name = schema["name"] if isinstance(schema, dict) and "name" in schema else None
        if name in self._named:
            return self._named[name]
        plain: Write = getattr(self, f"_{avro.kind(schema)}")(schema)
        write = _converted(plain, schema, logical_of(schema))
        if name is not None:
            self._named[name] = write
        return write

    def _null(self, schema: Any) -> Write:
        return _null

    def _boolean(self, schema: Any) -> Write:
        return _boolean

    def _int(self, schema: Any) -> Write:
        return _int

    def _long(self, schema: Any) -> Write:
        return _long

    def _float(self, schema: Any) -> Write:
        return _float

    def _double(self, schema: Any) -> Write:
        return _double

    def _bytes(self, schema: Any) -> Write:
        return _bytes

    def _string(self, schema: Any) -> Write:
        return _string

    def _fixed(self, schema: Any) -> Write:
        size, wanted = schema["size"], f"{schema['size']} bytes of {schema['name']}"

        def write(value: Any) -> bytes:
            raw = _raw(value)
            if len(raw) != size:
                raise wants(wanted, value, f"{len(raw)}")
            return raw

        return write

    def _enum(self, schema: Any) -> Write:
        symbols = {symbol: zigzag(index) for index, symbol in enumerate(schema["symbols"])}
        told = ", ".join(schema["symbols"])
        told = f"{told[:MAX_TOLD]}…" if len(told) > MAX_TOLD else told
        wanted = f"a symbol of enum {schema['name']} ({told})"

        def write(value: Any) -> bytes:
            if not isinstance(value, str):
                raise wants(wanted, value)
            if value not in symbols:
                raise wants(wanted, value, "another text")
            return symbols[value]

        return write

    def _array(self, schema: Any) -> Write:
        write_item = self.of(schema["items"])

        def write(value: Any) -> bytes:
            # A generator would be used up, a set has no order, a text has letters for items.
            if not isinstance(value, list | tuple):
                raise wants("a list", value)
            parts = [zigzag(len(value))] if value else []
            for index, item in enumerate(value):
                try:
                    parts.append(write_item(item))
                except Unfit as unfit:
                    raise unfit.inside(f"[{index}]") from None
            return b"".join([*parts, b"\0"])

        return write

    def _map(self, schema: Any) -> Write:
        write_value = self.of(schema["values"])

        def write(value: Any) -> bytes:
            if not isinstance(value, Mapping):
                raise wants("a dict", value)
            parts = [zigzag(len(value))] if value else []
            for index, (key, item) in enumerate(value.items()):
                place = f"[key {index}]"  # not the key itself: it is data
                if not isinstance(key, str):
                    raise wants("a text for a key", key).inside(place)
                try:
                    parts += [_string(key), write_value(item)]
                except Unfit as unfit:
                    raise unfit.inside(place) from None
            return b"".join([*parts, b"\0"])

        return write

    def _record(self, schema: Any) -> Write:
        fields: list[tuple[str, Write, Any, str]] = []
        names = {field["name"] for field in schema["fields"]}
        wanted = f"a dict for record {schema['name']}"

        def write(value: Any) -> bytes:
            if not isinstance(value, Mapping):
                raise wants(wanted, value)
            if more := [str(name) for name in value if name not in names]:
                raise Unfit(f"has more fields than the schema: {', '.join(more)}")
            parts = []
            for name, write_field, default, described in fields:
                found = value.get(name, default)
                try:
                    if found is MISSING:
                        raise wants(described, None)
                    parts.append(write_field(found))
                except Unfit as unfit:
                    raise unfit.inside(f".{name}") from None
            return b"".join(parts)

        self._named[schema["name"]] = write  # before its fields, which may name it
        for field in schema["fields"]:
            default = field.get("default", MISSING)
            described = describe(field["type"])
            fields.append((field["name"], self.of(field["type"]), default, described))
        return write

    _error = _record

    def _union(self, schema: Any) -> Write:
        branches = [(zigzag(i), self.of(branch)) for i, branch in enumerate(schema)]
        wanted = " or ".join(describe(branch) for branch in schema)
        takers = [taken_types(branch, self._schemas) for branch in schema]
        every = [type_ for types in takers for type_ in types]
        direct = {
            type_: branch
            for types, branch in zip(takers, branches, strict=True)
            for type_ in types
            if every.count(type_) == 1
        }

        def write(value: Any) -> bytes:
            if type(value) in direct:
                number, write_branch = direct[type(value)]
                return number + write_branch(value)
            fits: dict[int, bytes] = {}
            close: list[Unfit] = []
            for index, (number, write_branch) in enumerate(branches):
                try:
                    fits[index] = number + write_branch(value)
                except Unfit as unfit:
                    if unfit.close or unfit.path:
                        close.append(unfit)
            if len(fits) == 1:
                return next(iter(fits.values()))
            if fits:
                return fits[chosen(value, [(index, schema[index]) for index in fits])]
            # The reason of the one branch that was meant says more than the names of all.
            raise close[0] if len(close) == 1 else wants(wanted, value)

        return write


def _converted(plain: Write, schema: Any, logical: Logical | None) -> Write:
    if logical is None:
        return plain
    convert = logical.write

    def write(value: Any) -> bytes:
        return plain(convert(value, schema))

    return write


def chosen(value: Any, fits: list[tuple[int, Any]]) -> int:
    """The number of the branch for a value that fits several. Raises Unfit where only a guess
    could tell: a withdrawal must not become a deposit since both have an amount."""
    if not isinstance(value, uuid.UUID):  # a text that happens to be one
        fits = [fit for fit in fits if annotation_of(fit[1]) != "uuid.UUID"] or fits
    if all(avro.kind(branch) in WIDER for _, branch in fits):
        # Each of them gives the same number back.
        order = WIDER[::-1] if isinstance(value, float) else WIDER
        return min(fits, key=lambda fit: order.index(avro.kind(fit[1])))[0]
    if len(fits) > 1:
        raise Unfit(
            f"fits {' and '.join(describe(branch) for _, branch in fits)} alike: give each a field "
            "that the others lack, or a field of an enum with a symbol of its own"
        )
    return fits[0][0]


def taken_types(schema: Any, named: dict[str, Any]) -> tuple[type, ...]:
    """The Python types of which a type takes values, apart from their subclasses."""
    if isinstance(schema, str):
        schema = named.get(schema, schema)
    logical = logical_of(schema)
    return logical.takes if logical else TAKEN[avro.kind(schema)]


def annotation_of(schema: Any) -> str:
    """The Python type of a logical type, or nothing."""
    logical = logical_of(schema)
    return logical.python if logical else ""


def zigzag(number: int) -> bytes:
    """A long of Avro: the sign in the lowest bit, then seven bits a byte, the lowest first."""
    number = number << 1 ^ number >> 63
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _null(value: Any) -> bytes:
    if value is not None:
        raise wants("nothing", value)
    return b""


def _boolean(value: Any) -> bytes:
    if value is not True and value is not False:
        raise wants("a bool", value)
    return b"\1" if value else b"\0"


def _int(value: Any) -> bytes:
    return _number(value, 32)


def _long(value: Any) -> bytes:
    return _number(value, 64)


def _number(value: Any, bits: int) -> bytes:
    if not isinstance(value, int) or isinstance(value, bool):
        raise wants("an int", value)
    if not -1 << bits - 1 <= value < 1 << bits - 1:
        kind = "an int" if bits == 32 else "long: an int"
        raise wants(f"{kind} of {bits} bits", value, "one beyond them")
    return zigzag(value)


def _float(value: Any) -> bytes:
    number = _real(value)
    try:
        raw = SINGLE.pack(number)
    except OverflowError:
        raise wants("a number of 32 bits", value, "one beyond them") from None
    kept = SINGLE.unpack(raw)[0]
    if (number and not kept) or (isinstance(value, int) and kept != value):
        raise wants("a number of 32 bits", value, "one that would be another: use double")
    return raw


def _double(value: Any) -> bytes:
    return DOUBLE.pack(_real(value))


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wants("a float", value)
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if isinstance(value, int) and number != value:
        raise wants("a number of 64 bits", value, "an int of more digits than a float has")
    return number


def _bytes(value: Any) -> bytes:
    raw = _raw(value)
    return zigzag(len(raw)) + raw


def _raw(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise wants("bytes", value)
    raw = bytes(value)
    if raw != value:  # a memoryview of numbers
        raise wants("bytes", value, "a memoryview of something else")
    return raw


def _string(value: Any) -> bytes:
    if not isinstance(value, str):
        raise wants("string", value)
    try:
        raw = str.encode(value)
    except UnicodeEncodeError:
        problem = "one with half a surrogate pair (in UTF-8 surrogates not allowed)"
        raise wants("string", value, problem) from None
    return zigzag(len(raw)) + raw


def _require_shallow(value: Any) -> None:
    """By hand and not by recursion: a dict that contains itself has no end."""
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_NESTING:
            raise Unfit(f"is nested more than {MAX_NESTING} deep")
        inner: Iterable[Any] = ()
        if isinstance(item, Mapping):
            inner = item.values()
        elif isinstance(item, list | tuple):
            inner = item
        waiting += [(one, depth + 1) for one in inner if isinstance(one, Mapping | list | tuple)]
