"""Large values that an update left alone, so that PostgreSQL did not send them, asked of the table.

What is found is what the row has now, which may be newer than the change: then the change that made
it so follows. A row that is gone has a delete behind it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from psycopg2 import sql

from trunkline.connectors.postgres import snapshot
from trunkline.connectors.postgres.capture import Capture
from trunkline.connectors.postgres.catalog import Table
from trunkline.connectors.postgres.chunks import key_columns
from trunkline.connectors.postgres.connection import Connection
from trunkline.connectors.postgres.values import UNCHANGED, Types
from trunkline.event import Record, split_key

_AT_ONCE = 200
"""Rows of one question."""


def reselected(capture: Capture, records: Sequence[Record]) -> list[Record]:
    """The records, with what was not sent looked up by key. Those whose row is gone are left out:
    its delete follows, and tells more than half a row would. Blocks. Raises SourceError, and
    ConfigurationError where the role may not read."""
    lacking: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if UNCHANGED in record.data.values():
            lacking[record.stream].add(record.key)
    if not lacking:
        return list(records)
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    with capture.connected() as connection:
        types = capture.types(connection)
        for table in capture.now(connection)[0]:
            keys = sorted(lacking.get(table.stream, ()))
            for at in range(0, len(keys), _AT_ONCE):
                found |= _rows(connection, table, types, keys[at : at + _AT_ONCE])
    return [record for record in records if _fill(record, found)]


def _fill(record: Record, found: Mapping[tuple[str, str], Mapping[str, Any]]) -> bool:
    """Fills in what was found; whether there is the row."""
    missing = [name for name, value in record.data.items() if value is UNCHANGED]
    if not missing:
        return True
    row = found.get((record.stream, record.key))
    if row is None:
        return False
    record.data |= {name: row[name] for name in missing if name in row}
    return True


def _rows(
    connection: Connection, table: Table, types: Types, keys: Sequence[str]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    kinds = dict(key_columns(connection, table))
    wanted = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("CAST({} AS " + kinds[name] + ")").format(sql.Literal(text))
                for name, text in zip(table.key, split_key(key), strict=True)
            )
        )
        for key in keys
    ]
    names = sql.SQL(", ").join(map(sql.Identifier, table.key))
    condition = sql.SQL("({}) IN ({})").format(names, sql.SQL(", ").join(wanted))
    shape = table.shape(types)
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    with closing(snapshot.rows_of(connection, table, _AT_ONCE, condition)) as portions:
        for rows in portions:
            found |= {(table.stream, shape.key(row)): shape.data(row) for row in rows}
    return found
