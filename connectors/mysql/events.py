"""The events of a binary log: their header, checksum, types, and what those without rows say.

MySQL Source Code Documentation, "Binary Log Event"; MariaDB documentation, "Replication Protocol".
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import NamedTuple

from trunkline.connectors.mysql.packets import length_at
from trunkline.errors import SourceError

HEADER_SIZE = 19
_HEADER = Struct("<IBIIIH")
CHECKSUM_SIZE = 4

QUERY, STOP, ROTATE, INTVAR, RAND, USER_VAR, FORMAT, XID = 2, 3, 4, 5, 13, 14, 15, 16
BEGIN_LOAD, EXECUTE_LOAD, TABLE_MAP = 17, 18, 19
HEARTBEAT, IGNORABLE, ROWS_QUERY, GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS = 27, 28, 29, 33, 34, 35
TRANSACTION_CONTEXT, VIEW_CHANGE, XA_PREPARE, PAYLOAD, HEARTBEAT_2 = 36, 37, 38, 40, 41
ANNOTATE_ROWS, CHECKPOINT, MARIA_GTID, MARIA_GTID_LIST, START_ENCRYPTION = 160, 161, 162, 163, 164
QUERY_COMPRESSED = 165

WRITE, UPDATE, DELETE = "create", "update", "delete"
ROWS = {
    23: (WRITE, 1, False), 24: (UPDATE, 1, False), 25: (DELETE, 1, False),
    30: (WRITE, 2, False), 31: (UPDATE, 2, False), 32: (DELETE, 2, False),
    166: (WRITE, 1, True), 167: (UPDATE, 1, True), 168: (DELETE, 1, True),
    169: (WRITE, 2, True), 170: (UPDATE, 2, True), 171: (DELETE, 2, True),
}  # fmt: skip
"""Row events: what they do, the version of their form, whether MariaDB compressed them."""

TELL_NOTHING = frozenset((
    STOP, INTVAR, RAND, USER_VAR, IGNORABLE, ROWS_QUERY, PREVIOUS_GTIDS, TRANSACTION_CONTEXT,
    VIEW_CHANGE, ANNOTATE_ROWS, CHECKPOINT, MARIA_GTID_LIST, START_ENCRYPTION, BEGIN_LOAD,
))  # fmt: skip
"""Events that change no row. Variables belong to a statement, which is an event of its own; so
does the text of LOAD DATA, of which EXECUTE_LOAD tells."""

NAMES = {
    39: "PARTIAL_UPDATE_ROWS", 42: "GTID_TAGGED", 26: "INCIDENT",
    XA_PREPARE: "XA_PREPARE", EXECUTE_LOAD: "EXECUTE_LOAD_QUERY",
}  # fmt: skip
MENDS = {
    26: "the server says that changes are missing from its log",
    39: "run SET GLOBAL binlog_row_value_options = '';",
    EXECUTE_LOAD: "a LOAD DATA was written as a statement: run SET GLOBAL binlog_format = 'ROW';",
}
"""What to do about events that cannot be read."""

_ARTIFICIAL = 0x20


class Header(NamedTuple):
    """An event's header. ``end``: the position behind it; 0 if the server does not say."""

    time: int
    type: int
    server: int
    size: int
    end: int
    flags: int

    @property
    def artificial(self) -> bool:
        """Whether the server made it for this connection: it stands in no file."""
        return bool(self.flags & _ARTIFICIAL) or not self.time


def header_of(event: bytes) -> Header:
    """The header of an event; the event begins behind the packet's first byte."""
    return Header(*_HEADER.unpack_from(event))


def body_of(event: bytes, checked: bool) -> bytes:
    """What stands behind the header, without the checksum. Raises SourceError if that is wrong."""
    if not checked:
        return event[HEADER_SIZE:]
    if not has_checksum(event):
        raise SourceError(
            "an event of the log has a wrong checksum: it was damaged on its way, or on the disk"
        )
    return event[HEADER_SIZE:-CHECKSUM_SIZE]


def has_checksum(event: bytes) -> bool:
    """Whether its last four bytes are the CRC32 of the others."""
    return zlib.crc32(event[:-CHECKSUM_SIZE]).to_bytes(4, "little") == event[-CHECKSUM_SIZE:]


class Format(NamedTuple):
    """A FORMAT_DESCRIPTION event: how the events of a file are written."""

    server: str
    checked: bool
    """Whether each event ends with its CRC32."""


_TABLE_MAP_LENGTH, _ROWS_1_LENGTH, _ROWS_2_LENGTH = 8, 8, 10


def format_of(event: bytes) -> Format:
    """Raises SourceError for a form of events that nobody here knows."""
    body = event[HEADER_SIZE:]
    version = int.from_bytes(body[:2], "little")
    server = body[2:52].rstrip(b"\0").decode("ascii", "replace")
    lengths = body[57:-5]  # then the checksums' kind, and this event's own
    known = (
        version == 4
        and body[56] == HEADER_SIZE
        and lengths[TABLE_MAP - 1] == _TABLE_MAP_LENGTH
        and lengths[23 - 1] == _ROWS_1_LENGTH
        and (len(lengths) < 30 or lengths[30 - 1] in (0, _ROWS_2_LENGTH))
        and body[-5] in (0, 1)
    )
    if not known:
        raise SourceError(f"the log of server {server} has a form that cannot be read: {version}")
    return Format(server, body[-5] == 1)


def rotated(body: bytes) -> tuple[int, str]:
    """A ROTATE event: position and file that follow."""
    return int.from_bytes(body[:8], "little"), body[8:].decode()


_QUERY = Struct("<IIBHH")


class Query(NamedTuple):
    """A QUERY event: a statement, the database that it was run in, and the SQL mode."""

    database: str
    text: str
    ansi_quotes: bool


_ANSI_QUOTES = 4
_Q_FLAGS2, _Q_SQL_MODE = 0, 1


def query_of(body: bytes, compressed: bool = False) -> Query:
    """A QUERY event, or MariaDB's QUERY_COMPRESSED."""
    _, _, length, _, variables = _QUERY.unpack_from(body)
    at = _QUERY.size
    status = body[at : at + variables]
    at += variables
    database = body[at : at + length].decode("utf-8", "replace")
    text = body[at + length + 1 :]
    if compressed:
        text = inflated(text)
    return Query(database, text.decode("utf-8", "replace"), _has_ansi_quotes(status))


def _has_ansi_quotes(status: bytes) -> bool:
    """The flags, if they are there, come first, then the SQL mode."""
    at = 5 if status[:1] == b"\0" else 0
    if status[at : at + 1] != bytes((_Q_SQL_MODE,)):
        return False
    return bool(int.from_bytes(status[at + 1 : at + 9], "little") & _ANSI_QUOTES)


_LONGEST = 1 << 30
"""Bytes of a value, and of a statement, that the server itself allows."""


def inflated(data: bytes) -> bytes:
    """What MariaDB compressed (sql/log_event.cc, binlog_buf_uncompress): a byte with the algorithm
    and the length of the length, the length, zlib's bytes."""
    width, algorithm = data[0] & 7, data[0] >> 4 & 7
    length = int.from_bytes(data[1 : 1 + width], "big")
    if algorithm or not 1 <= width <= 4 or length > _LONGEST:
        raise SourceError(f"an event of the log is compressed in a way ({data[0]:#x}) of no name")
    unpacked = zlib.decompressobj()
    try:
        found = unpacked.decompress(data[1 + width :], length or 1)
    except zlib.error as error:
        raise SourceError(f"an event of the log cannot be decompressed: {error}") from error
    if len(found) != length or unpacked.unconsumed_tail:
        raise SourceError("an event of the log is longer or shorter than it says")
    return found


class Transaction(NamedTuple):
    """What a GTID event says of the transaction that it begins."""

    gtid: str
    """"" for one without."""
    alone: bool = False
    """Whether the next event is all of it, and no COMMIT follows. MySQL does not say."""
    xa: bool = False
    undone: bool = False
    """Whether its statement has changed nothing: with binlog_alter_two_phase MariaDB writes an
    ALTER when it begins, and again when it is done, or given up."""


_STANDALONE, _GROUP, _PREPARED_XA, _COMPLETED_XA = 1, 2, 64, 128
_START_ALTER, _ROLLBACK_ALTER = 2, 8


def maria_gtid(header: Header, body: bytes) -> Transaction:
    """MariaDB's GTID event: sequence number, domain, flags; perhaps a number of its group, an
    XA transaction's name, more flags (sql/log_event.cc). The server is the header's."""
    number = int.from_bytes(body[:8], "little")
    domain = int.from_bytes(body[8:12], "little")
    flags = body[12]
    gtid = f"{domain}-{header.server}-{number}"
    at = 21 if flags & _GROUP else 13
    more = 0 if flags & (_PREPARED_XA | _COMPLETED_XA) or at >= len(body) else body[at]
    undone = bool(more & (_START_ALTER | _ROLLBACK_ALTER))
    return Transaction(gtid, bool(flags & _STANDALONE), bool(flags & _PREPARED_XA), undone)


_XA_PREPARE = Struct("<BiII")


def xid_of(body: bytes) -> str:
    """Which XA transaction an XA_PREPARE event is about, as statements in the log name it: one
    phase or not, format, length of both parts, both parts."""
    _, form, first, _ = _XA_PREPARE.unpack_from(body)
    name = body[_XA_PREPARE.size :]
    return f"x'{name[:first].hex()}',x'{name[first:].hex()}',{form}"


def mysql_gtid(header: Header, body: bytes) -> Transaction:
    """MySQL's GTID event: flags, the server's UUID, the number."""
    if header.type == ANONYMOUS_GTID:
        return Transaction("")
    digits = body[1:17].hex()
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return Transaction(f"{uuid}:{int.from_bytes(body[17:25], 'little')}")


def rows_at(body: bytes, version: int) -> tuple[int, int, int]:
    """Of a row event: table id, flags, and where its column count stands."""
    table, flags = int.from_bytes(body[:6], "little"), int.from_bytes(body[6:8], "little")
    at = 8
    if version == 2:
        at += int.from_bytes(body[8:10], "little")  # with these two bytes
    return table, flags, at


def columns_at(body: bytes, at: int, images: int) -> tuple[int, bool, int]:
    """The number of columns, whether all of them are in each image, and where the rows begin."""
    count, at = length_at(body, at)
    size, every = count + 7 >> 3, (1 << count) - 1
    full = True
    for _ in range(images):
        # bits behind the last column may be set or not
        full = full and int.from_bytes(body[at : at + size], "little") & every == every
        at += size
    return count, full, at
