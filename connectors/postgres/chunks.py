"""One chunk of a table: its next rows, in the order of their key or in a span of its blocks, and
the mark behind them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from trunkline.connectors.postgres import blocks, snapshot
from trunkline.connectors.postgres.blocks import Extent, Span
from trunkline.connectors.postgres.capture import Capture
from trunkline.connectors.postgres.catalog import Table
from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.connectors.postgres.copying import Row
from trunkline.connectors.postgres.decoder import MARKS
from trunkline.connectors.postgres.statements import quoted
from trunkline.connectors.postgres.values import Shape
from trunkline.errors import ConfigurationError, TrunklineError
from trunkline.event import Record

_FLUSHES = 170_000
"""The version from which on a mark may be flushed, and the function has an argument for it."""
_LOW = 0xFFFFFFFF
"""The stream has transaction ids without their epoch."""
# The key's columns as their index has them: only in this order it gives the rows without a sort.
_KEY = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
JOIN unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (number, at) ON true
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
WHERE c.oid = %s AND i.indisvalid AND i.indimmediate
  AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
ORDER BY k.at
"""


class NotYet(TrunklineError):
    """The snapshot may miss a transaction that the stream has told. ``opened``: as in ``Seen``."""

    def __init__(self, why: str, opened: int) -> None:
        super().__init__(why)
        self.opened = opened


@dataclass(slots=True)
class Seen:
    """Which transactions the stream may have told. ``opened``: the first id that was not given yet
    when they began to be written down, 0 before that was asked; ``streamed``: those since."""

    opened: int = 0
    streamed: set[int] = field(default_factory=set)

    def settle(self, chunk: Chunk) -> None:
        """Forget what the chunk's snapshot saw: every later one sees it, too."""
        self.opened = chunk.opened
        unseen = {id & _LOW for id in chunk.running}
        self.streamed = {
            id for id in self.streamed if id in unseen or _follows(id, chunk.next_transaction)
        }


@dataclass(slots=True)
class Chunk:
    """Rows as records. ``after``: the key of the last one, None where there was none; or, of a
    span, what is ``left`` of it, None if nothing is. ``extent``: of the table then. ``running``,
    ``next_transaction``: what the snapshot did not see."""

    records: list[Record]
    after: list[str] | None
    left: Span | None
    extent: Extent
    about: int | None
    opened: int
    running: tuple[int, ...]
    next_transaction: int


def read_chunk(
    capture: Capture,
    id: str,
    state: Mapping[str, Any],
    span: Span | None,
    mark: str,
    seen: Seen,
    limit: int,
) -> Chunk:
    """Reads the rows behind ``state["after"]``, or of the span, then writes the mark. Blocks. No
    rows of a span in a file that was written anew.

    Raises NotYet, ConfigurationError where the table is not captured or the condition is none, and
    SourceError.
    """
    with capture.connected() as connection:
        opened = seen.opened or _next_id(connection)
        table = _table(capture, connection, state["table"])
        extent = blocks.extent(connection, table)
        connection.set_session(
            isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True, autocommit=False
        )
        running, following, now = _snapshot(connection)
        require_shown(running, following, Seen(opened, seen.streamed))
        snapshot.lock(connection, [table])
        measured = blocks.extent(connection, table)
        if _table(capture, connection, state["table"]) != table or measured.mark != extent.mark:
            raise NotYet("the table was altered", opened)
        about = snapshot.estimate(connection, table) if state["about"] is None else None
        shape = table.shape(capture.types(connection))
        rows, after, left = list[Row](), None, None
        if span is None:
            rows, after = _by_key(connection, table, shape, state, limit)
        elif [measured.files, measured.mark] == state["files"]:
            rows, left = _of_span(connection, table, span, limit)
    with capture.connected() as connection:
        _emit(connection, mark)
    records = snapshot.snapshot_records(shape, rows, state.get("point", id), now)
    return Chunk(records, after, left, measured, about, opened, running, following)


def _by_key(
    connection: Connection, table: Table, shape: Shape, state: Mapping[str, Any], limit: int
) -> tuple[list[Row], list[str] | None]:
    key = key_columns(connection, table)
    order = sql.SQL("ORDER BY {} LIMIT {}").format(_names(key), sql.Literal(limit))
    condition = _condition(key, state)
    with closing(snapshot.rows_of(connection, table, limit, condition, order)) as portions:
        rows = next(portions, [])
    places = [shape.names.index(name) for name, _ in key]
    return rows, [bytes.decode(rows[-1][at] or b"") for at in places] if rows else None


def _of_span(
    connection: Connection, table: Table, span: Span, limit: int
) -> tuple[list[Row], Span | None]:
    with closing(blocks.rows_of(connection, table, span, limit)) as portions:
        rows, left = next(portions, ([], None))
        return rows, left if next(portions, None) is not None else None


def _table(capture: Capture, connection: Connection, stream: str) -> Table:
    tables, _ = capture.now(connection)
    for table in tables:
        if table.stream == stream:
            return table
    named = ", ".join(table.stream for table in tables)
    raise ConfigurationError(f"table {stream} is not one of the source's: {named}")


def _snapshot(connection: Connection) -> tuple[tuple[int, ...], int, datetime]:
    """Which transactions run, which id follows, and the server's time."""
    with translated("taking a snapshot"), connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text, now()")
        text, now = cursor.fetchall()[0]
    _, following, running = text.split(":")
    return tuple(int(id) for id in running.split(",") if id), int(following), now


def _next_id(connection: Connection) -> int:
    """An id that is larger than those of all transactions that are open now, and is over.

    What a snapshot tells as the next one is behind the last that has *ended*. Case: 100 has ended,
    101 is committed and told by the stream, and is shown in a moment. The snapshot says that 101
    comes next, so nobody would wait for it, and the chunk would take its changes back.
    """
    with translated("taking a transaction id"), connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        return int(cursor.fetchall()[0][0])


def require_shown(running: tuple[int, ...], following: int, seen: Seen) -> None:
    """Raises NotYet if a snapshot may miss a transaction that the stream has told. ``running``:
    ids that it does not see; nor does it those from ``following`` on."""
    before = [id for id in running if id < seen.opened]
    if before:
        raise NotYet(
            "transactions that were open before must end (see backend_xid in pg_stat_activity, and "
            f"pg_prepared_xacts): {', '.join(str(id & _LOW) for id in before[:10])}",
            seen.opened,
        )
    hidden = {id & _LOW for id in running}
    unseen = [id for id in seen.streamed if id in hidden or _follows(id, following)]
    if unseen:
        told = ", ".join(str(id & _LOW) for id in unseen[:10])
        raise NotYet(f"transactions are committed, and not shown yet: {told}", seen.opened)


def _follows(id: int, limit: int) -> bool:
    """Whether a transaction id of 32 bits is not before ``limit``; they go round."""
    return (id - limit) & _LOW < 1 << 31


def key_columns(connection: Connection, table: Table) -> list[tuple[str, str]]:
    """The key's columns with their types, in the order of their index."""
    with translated(f"reading the key of {table.stream}"), connection.cursor() as cursor:
        cursor.execute(_KEY, (table.oid,))
        return [(name, type_) for name, type_ in cursor.fetchall()]


def _names(key: list[tuple[str, str]]) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(name) for name, _ in key)


def _condition(key: list[tuple[str, str]], state: Mapping[str, Any]) -> sql.Composable | None:
    conditions: list[sql.Composable] = []
    if state["where"]:
        # In lines of its own: a comment at its end must not swallow the bracket.
        conditions.append(sql.SQL("(\n" + state["where"] + "\n)"))
    if state["after"] is not None:
        values = [
            sql.SQL("CAST({} AS " + type_ + ")").format(sql.Literal(value))
            for value, (_, type_) in zip(state["after"], key, strict=True)
        ]
        conditions.append(sql.SQL("({}) > ({})").format(_names(key), sql.SQL(", ").join(values)))
    return sql.SQL(" AND ").join(conditions) if conditions else None


def _emit(connection: Connection, mark: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        (role,) = cursor.fetchone() or ("",)
        flush = ", boolean" if connection.server_version >= _FLUSHES else ""
        mend = (
            f"run GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text{flush}) TO "
            f"{quoted(role)};"
        )
        with translated("writing a mark into the log", mend):
            cursor.execute("SELECT pg_logical_emit_message(true, %s, %s)", (MARKS, mark))
