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
from trunkline.connectors.mysql.keys import behind, in_order
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
        gtids = gtids_at(session, file, at)
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


def gtids_at(session: Session, file: str, at: int) -> dict[str, str]:
    """The last GTID of each of MariaDB's domains, up to a place in its log; {} if it has none."""
    ((found,),) = session.rows("SELECT BINLOG_GTID_POS(%s, %s)", file, at)
    return gtids_of(_text(found))


def _text(found: str | bytes | None) -> str:
    """Bytes come once results are raw."""
    return found.decode() if isinstance(found, bytes) else found or ""


def written(session: Session) -> dict[str, int]:
    """The last number of each domain and server in MariaDB's log, as ``{"0-1": 7}``."""
    ((found,),) = session.rows("SELECT @@GLOBAL.gtid_binlog_state")
    writers = (gtid.rpartition("-") for gtid in _text(found).split(",") if gtid)
    return {writer: int(number) for writer, _, number in writers}


def gtids_of(text: str) -> dict[str, str]:
    """MariaDB's list of GTIDs, one a domain."""
    return {gtid.split("-", 1)[0]: gtid for gtid in text.replace("\n", "").split(",") if gtid}


def records_of(
    table: Table, rows: Sequence[dict[str, Any]], prefix: str, taken: datetime
) -> list[Record]:
    """Rows as records. ``prefix``: what their ids begin with."""
    records = []
    for row in rows:
        key = key_of(row, table.key)
        records.append(
            Record(
                key=key,
                data=row,
                change="snapshot",
                stream=table.stream,
                id=prefix + key,
                time=taken,
            )
        )
    return records


def rows_of(
    session: Session, table: Table, after: Sequence[bytes], limit: int
) -> Generator[tuple[list[dict[str, Any]], list[bytes]], None, None]:
    """The rows as they come, up to ``limit`` or ``PORTION_BYTES`` at a time, with the key of the
    last one as the server has sent it; [] where it cannot be gone on behind that. ``after``: only
    those behind this key."""
    names = ", ".join(column.expression for column in table.columns)
    statement = f"SELECT {names} FROM {quoted_table(table.stream)}"
    if table.literals:
        values = [write(value) for write, value in zip(table.literals, after, strict=False)]
        where = f" WHERE {behind(table.key, values)}" if values else ""
        statement += f" FORCE INDEX (PRIMARY){where}{in_order(table.key)}"
    result, size = _Result(session.query(statement), table), 0
    rows: list[dict[str, Any]] = []
    last = b""
    for payload in result.payloads():
        if payload is not None:
            rows.append(result.row(payload))
            size += len(payload)
            last = payload
        if payload is None or len(rows) >= limit or size >= PORTION_BYTES:
            yield rows, result.key(last) if rows else []
            rows, size = [], 0
    if rows:
        yield rows, result.key(last)


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

    def key(self, payload: bytes) -> list[bytes]:
        """The row's key as it was sent; [] of a table that cannot be gone on with."""
        if not self._table.literals:
            return []
        values: dict[str, bytes] = {}
        at = 0
        for name, _ in self._columns:
            if payload[at] == _NULL:
                at += 1
                continue
            length, at = length_at(payload, at)
            values[name] = payload[at : at + length]
            at += length
        return [values[name] for name in self._table.key]

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
