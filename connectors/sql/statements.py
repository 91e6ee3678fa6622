"""The statements of SqlSink in each dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Delete,
    Insert,
    Select,
    Table,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement

KEYS = "keys"
"""The parameter of the statements about keys that takes the list of keys."""
MAX_KEYS = 1000
"""Keys of rows that one statement deletes: SQLite takes no more than 32,766 parameters."""

Claim = dict[str, Any]
"""A row for the table of positions."""


def upsert(table: Table, dialect: str) -> Insert:
    """Insert a row, or replace the row of the same primary key: the result is the same however
    often it runs."""
    rest = [column.name for column in table.columns if not column.primary_key]
    if dialect == "mysql":
        insert = mysql.insert(table)
        kept = rest or [column.name for column in table.primary_key]
        return insert.on_duplicate_key_update({name: _inserted(insert, name) for name in kept})
    statement = _insert(table, dialect)
    if not rest:
        return statement.on_conflict_do_nothing(index_elements=table.primary_key.columns)
    return statement.on_conflict_do_update(
        index_elements=table.primary_key.columns,
        set_={name: statement.excluded[name] for name in rest},
    )


def _inserted(insert: mysql.Insert, name: str) -> ColumnElement[Any]:
    """The value that was to be inserted, in ON DUPLICATE KEY UPDATE."""
    if "%" not in name:
        return insert.inserted[name]
    # SQLAlchemy 2.1 doubles the % of such a name twice: Unknown column 'se%%q'.
    quoted = name.replace("`", "``")
    return literal_column(f"VALUES(`{quoted}`)")


def claim(connection: Connection, positions: Table, claims: list[Claim]) -> set[tuple[str, str]]:
    """Moves positions on, never back; returns the claims that stand now, by key and inbox.

    A claim stands if its position is at least the one that was there: an event that comes twice is
    applied twice. Holds the lock of each key until the transaction ends.
    """
    if connection.dialect.name == "mysql":
        return _claim_mysql(connection, positions, claims)
    insert = _insert(positions, connection.dialect.name)
    newest = insert.excluded.tl_pos
    statement = insert.on_conflict_do_update(
        index_elements=positions.primary_key.columns,
        set_={"tl_pos": newest},
        where=newest >= positions.c.tl_pos,
    )
    returned = connection.execute(statement.returning(*positions.primary_key.columns), claims)
    return {(row.tl_key, row.tl_inbox) for row in returned}


def _claim_mysql(
    connection: Connection, positions: Table, claims: list[Claim]
) -> set[tuple[str, str]]:
    """As ``claim``, where an upsert cannot return what it has written: writes the greater position
    of the two, then reads under the same locks which one that is."""
    insert, column = mysql.insert(positions), positions.c.tl_pos
    greatest = func.greatest(column, insert.inserted.tl_pos)
    connection.execute(insert.on_duplicate_key_update(tl_pos=greatest), claims)
    keys = [claim["tl_key"] for claim in claims]
    stands = connection.execute(select(positions).where(positions.c.tl_key.in_(keys)))
    position = {(row.tl_key, row.tl_inbox): row.tl_pos for row in stands}
    names = [(claim["tl_key"], claim["tl_inbox"]) for claim in claims]
    return {n for n, claim in zip(names, claims, strict=True) if position[n] == claim["tl_pos"]}


def delete_keys(table: Table, key: Sequence[str]) -> Delete:
    """Delete the rows of the keys: values for a single key column, tuples for several, in the
    order of ``key``."""
    return delete(table).where(_one_of(table, key))


def select_keys(table: Table, key: Sequence[str], owner: Sequence[str]) -> Select[Any]:
    """Read the keys of all rows of the owners, which are given as to ``delete_keys``."""
    return select(*(table.c[name] for name in key)).where(_one_of(table, owner))


def listed(keys: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """The parameter for keys, in the form that the statements take."""
    return {KEYS: [key[0] if len(key) == 1 else key for key in keys]}


def _one_of(table: Table, names: Sequence[str]) -> ColumnElement[bool]:
    columns: list[Column[Any]] = [table.c[name] for name in names]
    key: ColumnElement[Any] = columns[0] if len(columns) == 1 else tuple_(*columns)
    return key.in_(bindparam(KEYS, expanding=True))


def _insert(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
