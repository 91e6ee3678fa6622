"""Avro's object container files (Avro 1.12, "Object Container Files"): blocks of rows, each checked
by a marker behind it, all of the schema in the file's header."""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

import cramjam
import fastavro

from trunkline.connectors.files.formats import FileError, Row
from trunkline.connectors.files.lines import Lines, TooLong
from trunkline.errors import DataError

_MAGIC = b"Obj\x01"
_SYNC = 16
_HEADER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "Magic", "size": 4}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "Sync", "size": _SYNC}},
        ],
    }
)
_LARGEST_HEADER = 1 << 20
_LARGEST_BLOCK = 32 << 20
"""Bytes of a block, packed or unpacked: writers make blocks of 16 kB to some MB."""
_LONG = 10
"""Bytes of the longest number."""
_MOST_VALUES = 100_000
"""Values that a row may have besides those of its arrays and maps."""
_LOOKED = 1 << 20
"""Bytes that are looked through at once for the next marker."""


class _Block(NamedTuple):
    """Rows in a row: ``number`` of them in ``size`` packed bytes from ``start`` on."""

    number: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Avro:
    """Avro's object container files, with the codecs null, deflate, bzip2, xz, snappy and
    zstandard. Values are as the file's schema says: numbers, ``datetime``, ``Decimal``, records as
    dicts. The place of a row is its number in the file.

    A row that cannot be decoded takes the rest of its block with it, as nothing tells where the
    next one begins: that is one bad row. A block that is damaged is one, too.
    """

    by_lines: ClassVar[bool] = False

    def rows(self, lines: Lines, needed: Sequence[str]) -> Iterator[Row]:
        """See FileFormat."""
        if not lines.end:
            return
        done, number, (schema, unpack, sync, at) = lines.number, 0, _header(lines)
        fields = [field["name"] for field in schema["fields"]]
        if missing := [name for name in needed if name not in fields]:
            raise FileError(f"the schema lacks {', '.join(missing)}", lines.take(0, at))
        while at < lines.end:
            try:
                block = _block(lines, at, sync)
            except DataError as error:
                beyond = _behind_marker(lines, at + 1, sync)
                if (number := number + 1) > done:
                    lines.mark(number)
                    raw = lines.take(at, min(beyond - at, lines.limit))
                    yield Row({}, number, number - 1, error, raw)
                at = beyond
                continue
            if number + block.number > done:
                yield from _rows(lines, block, number, done, schema, unpack)
            number += block.number
            at = block.start + block.size + _SYNC


def _rows(
    lines: Lines, block: _Block, number: int, done: int, schema: Any, unpack: _Unpack
) -> Iterator[Row]:
    """The rows of a block behind the first ``done`` of the file; ``number`` are before it."""
    packed, at, plain = lines.take(block.start, block.size), 0, b""
    row = number
    try:
        plain = unpack(packed)
        if block.number > len(plain):
            raise DataError(f"{block.number} rows cannot be in {len(plain)} bytes")
        data = BytesIO(plain)
        while row < number + block.number:
            at = data.tell()
            value: Any = fastavro.schemaless_reader(data, schema, None)
            row, size = row + 1, data.tell() - at
            if row > done:
                lines.mark(row)
                if size > lines.limit:
                    long = TooLong(f"the row has more than {lines.limit} bytes")
                    yield Row({}, row, row - 1, long, plain[at : at + lines.limit])
                else:
                    yield Row(value, row, row - 1, size=size)
    except Exception as error:  # noqa: BLE001 - of codecs and of what is in their bytes, any kind
        said = f"the rest of the block, {number + block.number - row} rows, cannot be read: {error}"
        if row >= done:
            lines.mark(number + block.number)
            raw = (plain or packed)[at : at + lines.limit]
            yield Row({}, row + 1, row, DataError(said), raw)


def _header(lines: Lines) -> tuple[Any, _Unpack, bytes, int]:
    """Schema, codec, marker, and where the first block begins. Raises FileError."""
    raw = lines.take(0, min(lines.end, _LARGEST_HEADER))
    if not raw.startswith(_MAGIC):
        raise FileError("the file is no Avro object container", raw[:100])
    data = BytesIO(raw)
    try:
        header: Any = fastavro.schemaless_reader(data, _HEADER, None)
        named: dict[str, Any] = {}
        text = json.loads(header["meta"]["avro.schema"])
        schema: Any = fastavro.parse_schema(text, named_schemas=named)
        codec = header["meta"].get("avro.codec", b"null").decode()
    except Exception as error:
        raise FileError(f"the header cannot be read: {error!r}", raw[:100]) from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise FileError("the schema is not one of a record", raw[:100])
    if codec not in _CODECS:
        raise FileError(f"the codec {codec} is none of {', '.join(_CODECS)}", raw[:100])
    if _is_recursive(schema, frozenset()):
        raise FileError("the schema is recursive: rows may be nested to any depth", raw[:100])
    if _values(schema, named, {}) > _MOST_VALUES:
        raise FileError(f"the schema has rows of more than {_MOST_VALUES} values", raw[:100])
    if _holds_weightless(schema, named):
        raise FileError("the schema has arrays of nothing, which may be of any length", raw[:100])
    return schema, _CODECS[codec], header["sync"], data.tell()


def _inner(schema: dict[str, Any]) -> list[Any]:
    """The schemas that this one is made of."""
    fields = [field["type"] for field in schema.get("fields", ())]
    return fields + [schema[part] for part in ("items", "values", "type") if part in schema]


def _is_recursive(schema: Any, above: frozenset[str]) -> bool:
    """Whether a type holds itself. Its values are read by recursion in C, where a file that is
    nested deeply enough would end the process."""
    if isinstance(schema, str):
        return schema in above
    if isinstance(schema, list):
        return any(_is_recursive(one, above) for one in schema)
    within = above | {schema.get("name", "")}
    return any(_is_recursive(one, within) for one in _inner(schema))


def _values(schema: Any, named: dict[str, Any], known: dict[str, int]) -> int:
    """How many values one of this type is made of, those of each array and map counted once.

    A record of two records of two records … has a thousand in a schema of ten, and values that are
    null take no bytes: 60 such types are a file of 5 kB whose one row would never be read.
    ``known``: those of the types that have a name.
    """
    if isinstance(schema, list):
        return max((_values(one, named, known) for one in schema), default=1)
    if isinstance(schema, str):
        if schema in named and schema not in known:
            known[schema] = _values(named[schema], named, known)
        return known.get(schema, 1)
    return 1 + sum(_values(one, named, known) for one in _inner(schema))


def _holds_weightless(schema: Any, named: dict[str, Any]) -> bool:
    """Whether there is an array whose items take no bytes: a few bytes could be 2^63 of them."""
    known: dict[str, bool] = {}

    def holds(schema: Any) -> bool:
        if isinstance(schema, list):
            return any(holds(one) for one in schema)
        if not isinstance(schema, dict):
            return False
        if schema["type"] == "array" and _is_weightless(schema["items"], named, known):
            return True
        return any(holds(one) for one in _inner(schema))

    return holds(schema)


def _is_weightless(schema: Any, named: dict[str, Any], known: dict[str, bool]) -> bool:
    if isinstance(schema, str):
        if schema in named and schema not in known:
            known[schema] = _is_weightless(named[schema], named, known)
        return schema == "null" or known.get(schema, False)
    if isinstance(schema, dict):
        if schema["type"] in ("record", "error"):
            return all(_is_weightless(field["type"], named, known) for field in schema["fields"])
        return _is_weightless(schema["type"], named, known) or schema.get("size") == 0
    return False


def _block(lines: Lines, at: int, sync: bytes) -> _Block:
    """The block that begins here. Raises DataError if it is damaged, or too large."""
    head = BytesIO(lines.take(at, min(2 * _LONG, lines.end - at)))
    count, size = _long(head), _long(head)
    start = at + head.tell()
    if count < 0 or size < 0 or start + size + _SYNC > lines.end:
        raise DataError("a block is damaged: its length cannot be")
    if size > _LARGEST_BLOCK:
        raise DataError(f"a block has {size} bytes, more than {_LARGEST_BLOCK}")
    if lines.take(start + size, _SYNC) != sync:
        raise DataError("a block is damaged: no marker is behind it")
    return _Block(count, start, size)


def _long(data: BytesIO) -> int:
    value = shift = 0
    while shift < 7 * _LONG:
        byte = data.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            return (value >> 1) ^ -(value & 1)
    raise DataError("a block is damaged: it begins with no number")


def _behind_marker(lines: Lines, at: int, sync: bytes) -> int:
    """Where the next block may begin: behind the next marker, or the end."""
    while at + _SYNC <= lines.end:
        piece = lines.take(at, min(_LOOKED, lines.end - at))
        if (found := piece.find(sync)) >= 0:
            return at + found + _SYNC
        at += len(piece) - _SYNC + 1
    return lines.end


_Unpack = Callable[[bytes], bytes]


def _deflate(packed: bytes) -> bytes:
    return _bounded(zlib.decompressobj(-15).decompress(packed, _LARGEST_BLOCK + 1))


def _bzip2(packed: bytes) -> bytes:
    return _bounded(bz2.BZ2Decompressor().decompress(packed, _LARGEST_BLOCK + 1))


def _xz(packed: bytes) -> bytes:
    bounded = lzma.LZMADecompressor(memlimit=4 * _LARGEST_BLOCK)
    return _bounded(bounded.decompress(packed, _LARGEST_BLOCK + 1))


def _snappy(packed: bytes) -> bytes:
    """With CRC-32 of the plain bytes behind it, as Avro has it."""
    if cramjam.snappy.decompress_raw_len(packed[:-4]) > _LARGEST_BLOCK:
        raise DataError("a block is too large")
    plain = bytes(cramjam.snappy.decompress_raw(packed[:-4]))
    if zlib.crc32(plain).to_bytes(4, "big") != packed[-4:]:
        raise DataError("its checksum is wrong")
    return plain


def _zstandard(packed: bytes) -> bytes:
    room = cramjam.Buffer()
    room.set_len(_LARGEST_BLOCK)
    size = cramjam.zstd.decompress_into(packed, room)
    room.seek(0)
    return bytes(room.read(size))


def _bounded(plain: bytes) -> bytes:
    if len(plain) > _LARGEST_BLOCK:
        raise DataError(f"a block has more than {_LARGEST_BLOCK} bytes when it is unpacked")
    return plain


_CODECS: dict[str, _Unpack] = {
    "null": lambda packed: packed,
    "deflate": _deflate,
    "bzip2": _bzip2,
    "xz": _xz,
    "snappy": _snappy,
    "zstandard": _zstandard,
}
