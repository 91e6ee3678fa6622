"""Events of a binary log, written by hand: for what no server at hand writes."""

from __future__ import annotations

import zlib
from struct import pack

import cramjam

from trunkline.connectors.mysql.decoder import Decoder
from trunkline.connectors.mysql.places import Place
from trunkline.connectors.mysql.tables import Tables

MADE = 1_700_000_000
MARIA, MYSQL = "11.4.5-MariaDB-log", "8.4.3"
COLLATIONS = {45: "utf8mb4", 63: "binary"}


def event(kind: int, body: bytes, *, end: int = 0, time: int = MADE, flags: int = 0) -> bytes:
    """An event with its checksum. ``end`` 0: the server does not say where it ends."""
    size = 19 + len(body) + 4
    head = pack("<IBIIIH", time, kind, 1, size, end, flags)
    return head + body + pack("<I", zlib.crc32(head + body))


def format_event(server: str = MYSQL, made: int = MADE) -> bytes:
    lengths = bytearray(41)
    lengths[19 - 1] = 8
    lengths[23 - 1 : 25] = b"\x08\x08\x08"
    lengths[30 - 1 : 32] = b"\x0a\x0a\x0a"
    body = pack("<H", 4) + server.encode().ljust(50, b"\0") + pack("<I", 0) + b"\x13"
    return event(15, body + bytes(lengths) + b"\x01", time=made)


def anonymous() -> bytes:
    """MySQL's begin of a transaction without a GTID."""
    return event(34, bytes(42))


def maria_gtid(number: int, flags: int = 0, more: bytes = b"") -> bytes:
    return event(162, (pack("<QIB", number, 0, flags) + more).ljust(19, b"\0"))


def query(text: str, database: str = "shop") -> bytes:
    name = database.encode()
    return event(2, pack("<IIBHH", 1, 0, len(name), 0, 0) + name + b"\0" + text.encode())


def commit() -> bytes:
    return event(16, bytes(8))


def field(kind: int, body: bytes) -> bytes:
    return bytes((kind, len(body))) + body


def table_map(table: str = "t", columns: tuple[str, ...] = ("id", "note"), **more: bytes) -> bytes:
    """Of a table with an INT and VARCHAR(10) columns; the first is the key."""
    types = b"\x03" + b"\x0f" * (len(columns) - 1)
    metadata = pack("<H", 40) * (len(columns) - 1)
    names = b"".join(bytes((len(name),)) + name.encode() for name in columns)
    name = table.encode()
    body = pack("<IHH", 7, 0, 1) + b"\x04shop\0" + bytes((len(name),)) + name + b"\0"
    body += bytes((len(columns),)) + types + bytes((len(metadata),)) + metadata
    body += bytes((len(columns) + 7 >> 3,))
    optional = more.get(
        "optional",
        field(1, b"\0") + field(2, b"\x2d") + field(4, names) + field(8, b"\0"),
    )
    return event(19, body + optional)


def rows(kind: int, *values: tuple[int, str], images: int = 1) -> bytes:
    """A row event of version 2."""
    body = pack("<IHH", 7, 0, 0) + pack("<H", 2) + b"\x02" + b"\xff" * images
    for number, note in values:
        text = note.encode()
        body += b"\x00" + pack("<i", number) + bytes((len(text),)) + text
    return event(kind, body)


def payload(*within: bytes, algorithm: int = 0, claims: int = 0, end: int = 0) -> bytes:
    """MySQL's compressed transaction of these events, which have no checksums in it. ``claims``:
    how long it says that they are."""
    plain = b"".join(
        pack("<IBIIIH", MADE, each[4], 1, len(each) - 4, 0, 0) + each[19:-4] for each in within
    )
    packed = bytes(cramjam.zstd.compress(plain)) if algorithm == 0 else plain
    body = b"\x02\x01\x00" if algorithm == 0 else b"\x02\x03\xfc" + pack("<H", algorithm)
    body += b"\x03\x09\xfe" + pack("<Q", claims or len(plain))
    body += b"\x01\x09\xfe" + pack("<Q", len(packed)) + b"\x00"
    return event(40, body + packed, end=end)


def decoder(
    *streams: str, known: tuple[str, ...] = (), events: int = 0, swaps: bool = False
) -> Decoder:
    wanted = streams or ("shop.t",)
    tables = Tables(wanted, known or wanted, swaps=swaps)
    return Decoder(tables, COLLATIONS, Place("binlog.000001", 4, MADE, events))


def fed(into: Decoder, *events: bytes) -> Decoder:
    for each in events:
        into.feed(each)
    return into
