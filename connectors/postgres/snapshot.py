"""A consistent snapshot of tables, taken at the point where a new replication slot begins.

PostgreSQL documentation, "Logical Decoding", "Exported Snapshots": CREATE_REPLICATION_SLOT
exports the snapshot that shows exactly the transactions committed before the slot's consistent
point; every later one comes from the slot. So nothing is missing between the two, or in both.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from trunkline.connectors.postgres.catalog import Table
from trunkline.connectors.postgres.connection import (
    Connection,
    connect_or_stop,
    stoppable,
    translated,
)
from trunkline.connectors.postgres.copying import Row, copied
from trunkline.connectors.postgres.statements import quoted, quoted_table
from trunkline.connectors.postgres.values import Shape
from trunkline.event import Record

# Of a partitioned table its leaves: the table itself has a number only after ANALYZE.
_ESTIMATE = """
SELECT sum(greatest(c.reltuples, 0))::int8 FROM pg_class c WHERE c.reltuples >= 0 AND (
  c.oid = %s AND c.relkind <> 'p'
  OR c.oid IN (SELECT relid FROM pg_partition_tree(%s) WHERE isleaf))
"""


@contextmanager
def new_slot(
    dsn: str, slot: str, stop: threading.Event, *, failover: bool
) -> Iterator[tuple[str, str]]:
    """Makes the slot; gives the LSN of its consistent point, and the name of the snapshot there.

    Another connection can take the snapshot up until the context ends. The server waits for all
    transactions that are under way before it answers.
    """
    with closing(connect_or_stop(dsn, stop, replication=True)) as connection:
        with (
            translated(f"creating slot {slot}"),
            stoppable(connection, stop),
            connection.cursor() as cursor,
        ):
            copied_too = " (FAILOVER true)" if failover else ""
            cursor.execute(f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL pgoutput{copied_too}')
            _, lsn, snapshot, _ = cursor.fetchone() or ("", "", "", "")
        yield lsn, snapshot


def take_up(connection: Connection, snapshot: str) -> datetime:
    """Begins the transaction that sees the snapshot; gives the server's time."""
    connection.set_session(
        isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True, autocommit=False
    )
    with translated("taking up the snapshot"), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        cursor.execute("SELECT now()")
        (now,) = cursor.fetchone() or (None,)
    assert isinstance(now, datetime)
    return now


def lock(connection: Connection, tables: Sequence[Table]) -> None:
    """Keeps the tables' definitions as they are until the transaction ends."""
    for table in tables:
        # Not LOCK TABLE: that needs a right to the whole table, also where columns are published.
        statement = sql.SQL("SELECT FROM {} LIMIT 0").format(table.identifier)
        doing = f"locking table {table.stream}"
        with translated(doing, _rights(table)), connection.cursor() as cursor:
            cursor.execute(statement)


def rows_of(
    connection: Connection,
    table: Table,
    limit: int,
    condition: sql.Composable | None = None,
    order: sql.Composable | None = None,
    more: Sequence[sql.Composable] = (),
) -> Generator[list[Row], None, None]:
    """The table's rows as raw values, up to ``limit`` at a time; fewer if they are wide.
    ``condition``: of which rows, besides the publication's; ``order``: what follows it;
    ``more``: columns besides the table's."""
    names = [sql.Identifier(column.name) for column in table.columns]
    columns = sql.SQL(", ").join([*names, *more])
    # ONLY: a table that inherits from this one is another stream. Changes of a partition, though,
    # come under the name of the partitioned table, and so must its rows.
    query = sql.SQL("SELECT {} FROM {} {}").format(
        columns, sql.SQL("" if table.partitioned else "ONLY"), table.identifier
    )
    conditions: list[sql.Composable] = [sql.SQL(table.where)] if table.where else []
    conditions += [condition] if condition is not None else []
    if conditions:
        query = sql.SQL("{} WHERE {}").format(query, sql.SQL(" AND ").join(conditions))
    if order is not None:
        query = sql.SQL("{} {}").format(query, order)
    return copied(connection, query, limit, f"reading table {table.stream}", _rights(table))


def _rights(table: Table) -> str:
    role, name = quoted(table.role), quoted_table(table.stream)
    return (
        f"the role cannot read all rows: run GRANT SELECT ON {name} TO {role}; and, for a table "
        f"with row-level security, ALTER ROLE {role} BYPASSRLS;"
    )


def snapshot_records(
    shape: Shape, rows: Sequence[Sequence[Any]], point: str, time: datetime
) -> list[Record]:
    """Rows as records. ``point`` goes into their ids: another snapshot's rows have other ids."""
    stream, key_of, data_of = shape.stream, shape.key, shape.data
    prefix = f"{point}-{stream}-"
    return [
        Record(
            key=(key := key_of(row)),
            data=data_of(row),
            change="snapshot",
            stream=stream,
            id=prefix + key,
            time=time,
        )
        for row in rows
    ]


def estimate(connection: Connection, table: Table) -> int | None:
    """About how many rows the table has, as the server's statistics say; None if they do not."""
    with translated(f"estimating table {table.stream}"), connection.cursor() as cursor:
        cursor.execute(_ESTIMATE, (table.oid, table.oid))
        (rows,) = cursor.fetchone() or (None,)
    return None if rows is None or rows < 0 else int(rows)
