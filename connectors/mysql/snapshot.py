"""A consistent snapshot of tables, and the place in the log where it was taken.

MariaDB tells of a transaction's snapshot which place of the log it belongs to, without any lock:
MariaDB documentation, "Enhancements for START TRANSACTION WITH CONSISTENT SNAPSHOT". MySQL does
not, so writers are held up for the moment in which the snapshot is taken and the place is read.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from trunkline.connectors.mysql.catalog import Table
from trunkline.connectors.mysql.names import quoted_table
from trunkline.connectors.mysql.packets import Packets, length_at
from trunkline.connectors.mysql.preflight import Server, master_status
from trunkline.connectors.mysql.session import Denied, Session, raw_results
from trunkline.connectors.mysql.tablemap import key_of
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record

PORTION_BYTES = 8_000_000
"""A portion of rows ends with the packets that reach it."""
_SILENCE = 300.0
"""Seconds without a row after which the server is taken for lost."""
_NULL, _ERROR, _END = 0xFB, 0xFF, 0xFE


class Point(NamedTuple):
    """Where in the log a snapshot stands, and when it was taken."""

    file: str
    at: int
    gtids: dict[str, str]
    time: datetime


def take(session: Session, server: Server) -> Point:
    """Begins the transaction that sees the snapshot. Raises ConfigurationError if the user has not
    the right to hold up writers, which MySQL needs; SourceError if they cannot be held up now."""
    session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    gtids: dict[str, str] = {}
    if server.maria:
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        status = dict(session.rows("SHOW STATUS LIKE 'binlog_snapshot_%'"))
        file, at = str(status["Binlog_snapshot_file"]), int(status["Binlog_snapshot_position"])
        ((gtid,),) = session.rows("SELECT BINLOG_GTID_POS(%s, %s)", file, at)
        gtids = gtids_of(str(gtid or ""))
    else:
        file, at = _held_up(session)
    ((now,),) = session.rows("SELECT UTC_TIMESTAMP(6)")
    raw_results(session)
    return Point(file, at, gtids, now.replace(tzinfo=UTC))


def _held_up(session: Session) -> tuple[str, int]:
    session.run("SET SESSION lock_wait_timeout = 5")
    try:
        session.run("FLUSH TABLES WITH READ LOCK")
    except Denied as error:
        raise ConfigurationError(
            f"{error}: writers are held up for a moment while the snapshot begins. Run "
            f"GRANT RELOAD ON *.* TO {session.user()};"
        ) from error
    try:
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        status = master_status(session)
    finally:
        session.run("UNLOCK TABLES")
    return str(status["File"]), int(str(status["Position"]))


def gtids_of(text: str) -> dict[str, str]:
    """MariaDB's list of GTIDs, one a domain."""
    return {gtid.split("-", 1)[0]: gtid for gtid in text.replace("\n", "").split(",") if gtid}


def tables_records(
    session: Session, tables: Sequence[Table], point: Point, limit: int
) -> Generator[list[Record], None, None]:
    """All rows of all tables, table by table; [] while the server lets us wait."""
    for table in tables:
        prefix = f"{point.file}:{point.at}-{table.stream}-"
        for rows in _rows_of(session, table, limit):
            yield [_record(table, row, prefix, point.time) for row in rows]


def _record(table: Table, row: dict[str, Any], prefix: str, taken: datetime) -> Record:
    key = key_of(row, table.key)
    return Record(
        key=key, data=row, change="snapshot", stream=table.stream, id=prefix + key, time=taken
    )


def _rows_of(session: Session, table: Table, limit: int) -> Iterator[list[dict[str, Any]]]:
    """The rows as they come, up to ``limit`` or ``PORTION_BYTES`` at a time."""
    names = ", ".join(column.expression for column in table.columns)
    packets = session.query(f"SELECT {names} FROM {quoted_table(table.stream)}")
    result, size = _Result(packets, table), 0
    rows: list[dict[str, Any]] = []
    for payload in result.payloads():
        if payload is not None:
            rows.append(result.row(payload))
            size += len(payload)
        if payload is None or len(rows) >= limit or size >= PORTION_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


class _Result:
    """The answer to a query, as packets: MySQL Source Code Documentation, "Text Resultset"."""

    def __init__(self, packets: Packets, table: Table) -> None:
        self._packets = packets
        self._columns = [(column.name, column.convert) for column in table.columns]
        self._table = table

    def payloads(self) -> Iterator[bytes | None]:
        """The packets of the rows; None when nothing has come for a moment."""
        heads, heard = 1 + len(self._columns) + 1, time.monotonic()
        while True:
            arrived = self._packets.receive()
            if not arrived and time.monotonic() - heard > _SILENCE:
                raise SourceError(f"the server sends no rows of {self._table.stream} any more")
            if not arrived:
                yield None
                continue
            heard = time.monotonic()
            for payload in arrived:
                if payload[0] == _ERROR:
                    raise _failed(payload, self._table)
                if heads:
                    heads -= 1
                elif payload[0] == _END and len(payload) < 9:
                    return
                else:
                    yield payload

    def row(self, payload: bytes) -> dict[str, Any]:
        """A row, column → value."""
        row: dict[str, Any] = {}
        at = 0
        for name, convert in self._columns:
            length = payload[at]
            if length < _NULL:
                at += 1
            elif length == _NULL:
                row[name] = None
                at += 1
                continue
            else:
                length, at = length_at(payload, at)
            end = at + length
            row[name] = convert(payload[at:end])
            at = end
        return row


_DENIED = (1142, 1143)


def _failed(payload: bytes, table: Table) -> Exception:
    code = int.from_bytes(payload[1:3], "little")
    text = f"MySQL, reading {table.stream}: {payload[9:].decode('utf-8', 'replace')} (error {code})"
    if code in _DENIED:
        return ConfigurationError(
            f"{text}: run GRANT SELECT ON {quoted_table(table.stream)} TO {table.user};"
        )
    return SourceError(text)
