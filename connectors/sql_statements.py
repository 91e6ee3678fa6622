"""The statements of SqlSink in each dialect."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    Delete,
    Insert,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement

KEYS = "keys"
"""The parameter of ``delete_keys`` and ``positions_of`` that takes the list of keys."""


def upsert(table: Table, dialect: str) -> Insert:
    """Insert a row, or replace the row of the same primary key: the result is the same however
    often it runs."""
    rest = [column.name for column in table.columns if not column.primary_key]
    if dialect == "mysql":
        insert = mysql.insert(table)
        kept = rest or [column.name for column in table.primary_key]
        return insert.on_duplicate_key_update({name: insert.inserted[name] for name in kept})
    statement = _insert(table, dialect)
    if not rest:
        return statement.on_conflict_do_nothing(index_elements=table.primary_key.columns)
    return statement.on_conflict_do_update(
        index_elements=table.primary_key.columns,
        set_={name: statement.excluded[name] for name in rest},
    )


def advance(positions: Table, dialect: str) -> Insert:
    """Move each key's position on, never back. Holds the key's lock until the transaction ends."""
    column = positions.c.tl_pos
    if dialect == "mysql":
        insert = mysql.insert(positions)
        return insert.on_duplicate_key_update(tl_pos=func.greatest(column, insert.inserted.tl_pos))
    statement = _insert(positions, dialect)
    return statement.on_conflict_do_update(
        index_elements=positions.primary_key.columns,
        set_={"tl_pos": statement.excluded.tl_pos},
        where=statement.excluded.tl_pos > column,
    )


def positions_of(positions: Table) -> Select[Any]:
    """Where the keys of a batch stand."""
    return select(positions).where(positions.c.tl_key.in_(bindparam(KEYS, expanding=True)))


def delete_keys(table: Table) -> Delete:
    """Delete the rows of the keys: values for a single key column, tuples for several."""
    columns: list[Column[Any]] = list(table.primary_key)
    key: ColumnElement[Any] = columns[0] if len(columns) == 1 else tuple_(*columns)
    return delete(table).where(key.in_(bindparam(KEYS, expanding=True)))


def _insert(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
