"""Makes sure that SqlSink's tables are there and are what the statements need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Inspector, Table, exc, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.schema import CreateTable

from trunkline.connectors.sql.table import ddl
from trunkline.errors import ConfigurationError


def prepare(engine: Engine, tables: Sequence[Table], create: bool) -> None:
    """Create missing tables if ``create``, then check all.

    Raises ConfigurationError naming every missing table, column and key, with the DDL."""
    if create:
        for table in tables:
            _create(engine, table)
    inspector = inspect(engine)
    if problems := [text for table in tables for text in _problems(inspector, table)]:
        statements = ";\n\n".join(ddl(table, engine.dialect) for table in tables)
        raise ConfigurationError(
            "SqlSink: " + "; ".join(problems) + ". Mend it, or pass create_table=True for missing "
            f"tables. What is needed:\n\n{statements};"
        )


def _create(engine: Engine, table: Table) -> None:
    try:
        with engine.begin() as connection:
            connection.execute(CreateTable(table, if_not_exists=True))
    except (exc.IntegrityError, exc.ProgrammingError) as error:
        # PostgreSQL: another worker creates it right now, and IF NOT EXISTS does not see that;
        # or the table is there, but the right to create is not.
        if not inspect(engine).has_table(table.name, schema=table.schema):
            raise ConfigurationError(
                f"SqlSink: table {table.fullname} cannot be created: {error.orig}"
            ) from error


def _problems(inspector: Inspector, table: Table) -> list[str]:
    where: Any = {"table_name": table.name, "schema": table.schema}
    if not inspector.has_table(**where):
        return [f"table {table.fullname} is missing"]
    there = inspector.get_columns(**where)
    names, written = {column["name"] for column in there}, set(table.columns.keys())
    if missing := sorted(written - names):
        return [f"table {table.fullname} lacks column {', '.join(missing)}"]
    if unfilled := [c["name"] for c in there if c["name"] not in written and _must_be_given(c)]:
        return [f"table {table.fullname}: nothing fills its NOT NULL column {', '.join(unfilled)}"]
    return _key_problems(inspector, table)


def _must_be_given(column: ReflectedColumn) -> bool:
    filled = column.get("autoincrement") is True or column.get("identity")
    return not (column["nullable"] or column.get("default") or column.get("computed") or filled)


def _key_problems(inspector: Inspector, table: Table) -> list[str]:
    key = {column.name for column in table.primary_key}
    unique = _unique(inspector, table)
    if key not in unique:
        names = ", ".join(sorted(key))
        return [f"table {table.fullname} needs a primary key or unique index on {names}"]
    others = [names for names in unique if names != key and names <= {*table.columns.keys()}]
    if others and inspector.dialect.name == "mysql":
        columns = ", ".join(sorted(str(name) for name in others[0]))
        return [
            f"table {table.fullname} has another unique index, on {columns}: MariaDB and MySQL "
            "would overwrite the row of another key instead of refusing the event"
        ]
    return []


def _unique(inspector: Inspector, table: Table) -> list[set[str | None]]:
    where: Any = {"table_name": table.name, "schema": table.schema}
    columns: list[Any] = [inspector.get_pk_constraint(**where)["constrained_columns"]]
    columns += [
        constraint["column_names"] for constraint in inspector.get_unique_constraints(**where)
    ]
    columns += [
        index["column_names"] for index in inspector.get_indexes(**where) if index["unique"]
    ]
    return [set(names) for names in columns if names]
