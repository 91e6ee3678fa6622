"""Makes sure that SqlSink's tables are there and are what the statements need."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, Inspector, Table, exc, inspect
from sqlalchemy.schema import CreateTable

from trunkline.connectors.sql_table import ddl
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
    except (exc.IntegrityError, exc.ProgrammingError):
        # PostgreSQL: another worker creates it right now, and IF NOT EXISTS does not see that.
        if not inspect(engine).has_table(table.name, schema=table.schema):
            raise


def _problems(inspector: Inspector, table: Table) -> list[str]:
    if not inspector.has_table(table.name, schema=table.schema):
        return [f"table {table.fullname} is missing"]
    there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
    missing = [column.name for column in table.columns if column.name not in there]
    if missing:
        return [f"table {table.fullname} lacks column {', '.join(missing)}"]
    key = {column.name for column in table.primary_key}
    if key not in _unique(inspector, table):
        return [
            f"table {table.fullname} needs a primary key or unique index on "
            f"{', '.join(sorted(key))}"
        ]
    return []


def _unique(inspector: Inspector, table: Table) -> list[set[str | None]]:
    where = {"table_name": table.name, "schema": table.schema}
    primary = inspector.get_pk_constraint(**where)["constrained_columns"]
    constraints = inspector.get_unique_constraints(**where)
    indexes = [index for index in inspector.get_indexes(**where) if index["unique"]]
    return [
        set(primary),
        *(set(constraint["column_names"]) for constraint in constraints),
        *(set(index["column_names"]) for index in indexes),
    ]
