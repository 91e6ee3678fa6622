"""Statements that create and change SqlSink's tables, in each dialect."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.schema import CreateTable

from trunkline.connectors.sql.table import Field


def create_table(table: Table, dialect: Dialect) -> str:
    """The statement that creates ``table``."""
    return _plain(str(CreateTable(table).compile(dialect=dialect)).strip(), dialect)


def add_column(table: Table, field: Field, dialect: Dialect) -> str:
    """The statement that adds a field's column to a table that has rows.

    They, and what workers of the former version still write, need a value: that of the schema's
    default, or else NULL. With one that a statement can hold the column is NOT NULL.
    """
    column = table.columns[field.column]
    default = _literal(field, dialect)
    if default is None:
        rest = " NULL" if dialect.name == "mysql" else ""
    else:
        rest = f" DEFAULT {default}" + ("" if field.nullable else " NOT NULL")
    return f"{_alter(table, dialect)} ADD COLUMN {_name(column.name, dialect)} " + (
        f"{type_name(column.type, dialect)}{rest}"
    )


def change_column(
    table: Table,
    name: str,
    dialect: Dialect,
    found: ReflectedColumn,
    nullable: bool | None = None,
    type_: str = "",
) -> str:
    """The statement that gives a column another type: ``type_``, or that of its field.

    With ``nullable`` False it forbids NULL; without ``type_`` that is all it does. SQLite has no
    such statement: there it is the CREATE of the table that should be in its place.
    """
    quoted = _name(name, dialect)
    if dialect.name == "sqlite":
        return create_table(table, dialect)
    if dialect.name == "mysql":
        kept = type_name(found["type"], dialect) if nullable is False else ""
        wanted = type_ or kept or type_name(_column(table, name).type, dialect)
        null = " NOT NULL" if nullable is False or not found["nullable"] else " NULL"
        return f"{_alter(table, dialect)} MODIFY COLUMN {quoted} {wanted}{null}"
    if nullable is False:
        return f"{_alter(table, dialect)} ALTER COLUMN {quoted} SET NOT NULL"
    wanted = type_ or type_name(_column(table, name).type, dialect)
    using = "" if type_ else f" USING {quoted}::{wanted}"
    return f"{_alter(table, dialect)} ALTER COLUMN {quoted} TYPE {wanted}{using}"


def type_name(type_: Any, dialect: Dialect) -> str:
    """A type as the dialect writes it."""
    return str(type_.compile(dialect=dialect))


def _column(table: Table, name: str) -> Column[Any]:
    return table.columns[name]


def _alter(table: Table, dialect: Dialect) -> str:
    name = dialect.identifier_preparer.format_table(table)
    return f"ALTER TABLE {_plain(name, dialect)}"


def _name(name: str, dialect: Dialect) -> str:
    return _plain(dialect.identifier_preparer.quote(name), dialect)


def for_driver(statement: str, dialect: Dialect) -> str:
    """The statement as the driver takes it, which else looks for parameters in it."""
    return statement.replace("%", "%%") if _doubles(dialect) else statement


def _plain(statement: str, dialect: Dialect) -> str:
    """The statement as people type it."""
    return statement.replace("%%", "%") if _doubles(dialect) else statement


def _doubles(dialect: Dialect) -> bool:
    """Whether ``%`` in a name is written twice, since ``%s`` is a parameter."""
    return dialect.paramstyle in ("format", "pyformat")


def _literal(field: Field, dialect: Dialect) -> str | None:
    """The schema's default as SQL writes it; None where there is none that it could write."""
    value = field.default
    if field.kind in ("string", "enum") and isinstance(value, str):
        text = value.replace("'", "''")
        if dialect.name == "mysql":
            text = text.replace("\\", "\\\\")
            return f"('{text}')"  # LONGTEXT takes an expression only, in MySQL
        return f"'{text}'"
    if field.kind == "boolean" and isinstance(value, bool):
        return str(value).upper() if dialect.name != "sqlite" else str(int(value))
    if field.kind in ("int", "long", "float", "double") and isinstance(value, (int, float)):
        return str(value)
    return None
