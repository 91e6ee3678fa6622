"""What a table map says of its table: columns, their types, signs, labels, and the key.

MySQL Source Code Documentation, "Table_map_event": with ``binlog_row_metadata=FULL`` everything
that a row needs to be read stands in the log itself, as it was at that moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from trunkline.connectors.mysql import columns
from trunkline.connectors.mysql.charsets import BINARY, Decode, decoder
from trunkline.connectors.mysql.columns import Read
from trunkline.connectors.mysql.names import BEGIN_ANEW, quoted_table
from trunkline.connectors.mysql.packets import length_at, text_at
from trunkline.errors import ConfigurationError
from trunkline.event import join_key

_SIGNEDNESS, _DEFAULT_CHARSET, _COLUMN_CHARSET, _NAMES, _SETS, _ENUMS = 1, 2, 3, 4, 5, 6
_KEY, _KEY_WITH_PREFIX, _LABEL_DEFAULT_CHARSET, _LABEL_CHARSET = 8, 9, 10, 11


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the map has it. ``type``: the real one, as the log writes ENUM and SET as
    STRING. ``meta``: the bytes of the type's metadata."""

    type: int
    meta: bytes


@dataclass(slots=True)
class TableMap:
    """A table map, taken apart."""

    database: str
    table: str
    columns: list[Column]
    unsigned: set[int] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    key: list[int] = field(default_factory=list)
    collations: dict[int, int] = field(default_factory=dict)
    labels: dict[int, list[bytes]] = field(default_factory=dict)

    @property
    def stream(self) -> str:
        """``database.table``."""
        return f"{self.database}.{self.table}"


_HIDDEN = re.compile(r"DB_ROW_HASH_\d+")
"""What MariaDB adds to a table with UNIQUE over a BLOB or TEXT: it is in the log alone."""


class Shape:
    """A table at one moment: makes keys and data of its rows."""

    __slots__ = ("_hidden", "columns", "count", "key_columns", "stream")

    def __init__(self, stream: str, readers: Sequence[tuple[str, Read]], key: Sequence[int]):
        self.stream = stream
        self.columns = list(readers)
        self.count = len(readers)
        self.key_columns = [self.columns[at][0] for at in key]
        self._hidden = [name for name, _ in self.columns if _HIDDEN.fullmatch(name)]

    def key(self, row: Mapping[str, Any]) -> str:
        """The key's text: see ``join_key``."""
        return key_of(row, self.key_columns)

    def row_at(self, event: bytes, at: int) -> tuple[dict[str, Any], int]:
        """The row at ``at``, column → value, and where it ends. All columns are in it, but those
        that nobody sees."""
        begin = at + (self.count + 7 >> 3)
        nulls = int.from_bytes(event[at:begin], "little")
        row: dict[str, Any] = {}
        at = begin
        if not nulls:
            for name, read in self.columns:
                row[name], at = read(event, at)
        else:
            for name, read in self.columns:
                if nulls & 1:
                    row[name] = None
                else:
                    row[name], at = read(event, at)
                nulls >>= 1
        for name in self._hidden:
            del row[name]
        return row, at


def key_of(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """A row's key, of the values of these columns: the same for the snapshot and the log."""
    return join_key([_key_text(row[name]) for name in names])


def _key_text(value: Any) -> str:
    if value.__class__ is int:
        return str(value)
    if value.__class__ is str:
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    return str(value)


def parse(event: bytes, maria: bool) -> TableMap:
    """A TABLE_MAP event's body. ``maria``: whether MariaDB wrote it."""
    database, table, at = name_at(event)
    count, at = length_at(event, at)
    types = event[at : at + count]
    metadata, at = text_at(event, at + count)
    at += count + 7 >> 3  # which columns may be NULL
    stream = f"{database}.{table}"
    found = TableMap(database, table, list(_columns(stream, types, metadata)))
    _take_optional(found, event, at, maria)
    return found


def name_at(event: bytes) -> tuple[str, str, int]:
    """Database and table, and where what follows them begins."""
    at = 8  # table id, flags
    end = at + 1 + event[at]
    database = event[at + 1 : end].decode()
    at = end + 1
    end = at + 1 + event[at]
    return database, event[at + 1 : end].decode(), end + 1


def _columns(stream: str, types: bytes, metadata: bytes) -> Iterator[Column]:
    at = 0
    for number, type_ in enumerate(types):
        size = columns.METADATA.get(type_)
        if size is None:
            raise ConfigurationError(
                f"table {stream}: column {number + 1} has type {type_} of the log, which cannot be "
                "read. Take the table out of tables=, or give the column another type. "
                f"{BEGIN_ANEW}"
            )
        meta = metadata[at : at + size]
        at += size
        if type_ == columns.STRING and meta[0] in (columns.ENUM, columns.SET):
            yield Column(meta[0], meta)
        else:
            yield Column(type_, meta)


def _take_optional(found: TableMap, event: bytes, at: int, maria: bool) -> None:
    """The fields behind the columns, each with its type and length."""
    types = columns.TEXTUAL | {columns.GEOMETRY} if maria else columns.TEXTUAL
    textual = [n for n, each in enumerate(found.columns) if each.type in types]
    labelled = [
        n for n, each in enumerate(found.columns) if each.type in (columns.ENUM, columns.SET)
    ]
    while at < len(event):
        kind = event[at]
        body, at = text_at(event, at + 1)
        if kind == _SIGNEDNESS:
            found.unsigned = _unsigned(found.columns, body)
        elif kind in (_DEFAULT_CHARSET, _LABEL_DEFAULT_CHARSET):
            which = textual if kind == _DEFAULT_CHARSET else labelled
            default, *pairs = _numbers(body)
            found.collations |= dict.fromkeys(which, default)
            others = zip(pairs[::2], pairs[1::2], strict=True)
            found.collations |= {which[n]: collation for n, collation in others}
        elif kind in (_COLUMN_CHARSET, _LABEL_CHARSET):
            which = textual if kind == _COLUMN_CHARSET else labelled
            found.collations |= dict(zip(which, _numbers(body), strict=True))
        elif kind == _NAMES:
            found.names = [name.decode() for name in _texts(body)]
        elif kind in (_SETS, _ENUMS):
            wanted = columns.SET if kind == _SETS else columns.ENUM
            which = [n for n in labelled if found.columns[n].type == wanted]
            found.labels |= dict(zip(which, _lists(body), strict=True))
        elif kind == _KEY:
            found.key = _numbers(body)
        elif kind == _KEY_WITH_PREFIX:
            found.key = _numbers(body)[::2]


def _unsigned(found: Sequence[Column], body: bytes) -> set[int]:
    """The columns whose bit is set, the first in the highest bit of the first byte."""
    numeric = [n for n, column in enumerate(found) if column.type in columns.NUMERIC]
    return {n for at, n in enumerate(numeric) if body[at >> 3] & 0x80 >> (at & 7)}


def _numbers(body: bytes) -> list[int]:
    found, at = [], 0
    while at < len(body):
        number, at = length_at(body, at)
        found.append(number)
    return found


def _texts(body: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(body):
        text, at = text_at(body, at)
        found.append(text)
    return found


def _lists(body: bytes) -> list[list[bytes]]:
    found, at = [], 0
    while at < len(body):
        count, at = length_at(body, at)
        labels = []
        for _ in range(count):
            text, at = text_at(body, at)
            labels.append(text)
        found.append(labels)
    return found


def shape_of(found: TableMap, collations: Mapping[int, str], stream: str) -> Shape:
    """How the table's rows are read. ``collations``: the character set of each. ``stream``: what
    the table is called in records.

    Raises ConfigurationError for what the log does not tell, or nobody here can read.
    """
    if len(found.names) != len(found.columns):
        raise ConfigurationError(
            f"table {stream}: the log does not name its columns, as binlog_row_metadata was not "
            "FULL when this was written. Run SET GLOBAL binlog_row_metadata = 'FULL'; and write "
            f"it into the server's configuration. {BEGIN_ANEW}"
        )
    if not found.key:
        raise ConfigurationError(
            f"table {stream} has no primary key, or had none when this was written: run "
            f"ALTER TABLE {quoted_table(stream)} ADD PRIMARY KEY (…); {BEGIN_ANEW}"
        )
    readers = [
        (name, _reader(found, number, collations)) for number, name in enumerate(found.names)
    ]
    return Shape(stream, readers, found.key)


def _reader(found: TableMap, number: int, collations: Mapping[int, str]) -> Read:
    column = found.columns[number]
    type_, meta = column.type, column.meta
    unsigned = number in found.unsigned
    match type_:
        case columns.TINY | columns.SHORT | columns.LONG | columns.LONGLONG:
            return columns.fixed(type_, unsigned)
        case columns.FLOAT | columns.DOUBLE:
            return columns.fixed(type_, False)
        case columns.INT24:
            return columns.medium(unsigned)
        case columns.YEAR:
            return columns.year
        case columns.NEWDECIMAL:
            return columns.decimal(meta[0], meta[1])
        case columns.BIT:
            return columns.bits(meta[0], meta[1])
        case columns.DATE:
            return columns.day
        case columns.DATETIME2:
            return columns.moment(meta[0])
        case columns.TIMESTAMP2:
            return columns.instant(meta[0])
        case columns.TIME2:
            return columns.clock(meta[0])
        case columns.GEOMETRY:
            return columns.text(meta[0], bytes)
        case columns.ENUM | columns.SET:
            return _labelled(found, number, _decoder(found, number, collations))
        case columns.BLOB:
            return columns.text(meta[0], _decoder(found, number, collations))
        case columns.VARCHAR | columns.VAR_STRING:
            prefix = 1 if int.from_bytes(meta, "little") < 256 else 2
            return columns.text(prefix, _decoder(found, number, collations))
        case columns.STRING:
            return _string(meta, _decoder(found, number, collations))
    raise ConfigurationError(
        f"table {found.stream}: column {found.names[number]} has type {type_} of the log, which "
        f"cannot be read. Take the table out of tables=. {BEGIN_ANEW}"
    )


def _string(meta: bytes, decode: Decode) -> Read:
    """CHAR and BINARY. Two bits of the length, if it is above 255, stand in the type's byte."""
    length = meta[1] | ((meta[0] & 0x30) ^ 0x30) << 4
    return columns.text(1 if length < 256 else 2, decode, length if decode is bytes else 0)


def _labelled(found: TableMap, number: int, decode: Decode) -> Read:
    column = found.columns[number]
    labels = [decode(label) for label in found.labels[number]]
    make = columns.enum if column.type == columns.ENUM else columns.set_of
    return make(column.meta[1], labels)


def _decoder(found: TableMap, number: int, collations: Mapping[int, str]) -> Decode:
    collation = found.collations.get(number)
    charset = BINARY if collation is None else collations.get(collation, "")
    decode = decoder(charset)
    if decode is None:
        raise ConfigurationError(
            f"table {found.stream}: column {found.names[number]} has text of collation "
            f"{collation} {charset}, which cannot be read: convert it to utf8mb4. {BEGIN_ANEW}"
        )
    return decode
