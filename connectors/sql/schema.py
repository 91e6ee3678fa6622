"""Makes sure that SqlSink's tables are there and hold what is written to them, as it is.

What is wrong is told with the statements that mend it: of a missing table its CREATE, of a missing
column or one that holds less than the type its ALTER, and no more.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Table, exc, inspect
from sqlalchemy.schema import CreateTable

from trunkline.connectors.sql.ddl import (
    add_column,
    change_column,
    create_table,
    for_driver,
    type_name,
)
from trunkline.connectors.sql.fit import Check, check_of, misfit
from trunkline.connectors.sql.reflection import Reflected
from trunkline.connectors.sql.table import Field
from trunkline.errors import ConfigurationError


class Problem(NamedTuple):
    """What is wrong with a table, the statement that mends it, and the argument that has the sink
    do so, if there is one."""

    text: str
    mend: str = ""
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The tables of a sink: ``rows`` has ``fields``, ``positions`` is None where there is none.

    ``create``: missing tables are made; ``evolve``: missing columns are added.
    """

    rows: Table
    positions: Table | None
    fields: Sequence[Field]
    create: bool
    evolve: bool

    @property
    def tables(self) -> list[Table]:
        """Both, as far as there are two."""
        return [table for table in (self.rows, self.positions) if table is not None]


def prepare(engine: Engine, wanted: Wanted) -> list[Check]:
    """Create and change what may be, then check all; returns what to look at in each value.

    Raises ConfigurationError naming all that is wrong, with the statements that mend it."""
    if wanted.create:
        for table in wanted.tables:
            create_missing(engine, table)
    if wanted.evolve:
        _evolve(engine, wanted)
    with engine.connect() as connection:
        if problems := list(_problems(connection, wanted)):
            raise ConfigurationError(_told(problems))
        return list(_checks(connection, wanted))


def _told(problems: Sequence[Problem]) -> str:
    said = "; ".join(problem.text for problem in problems)
    ways = ["Mend it", *dict.fromkeys(problem.argument for problem in problems if problem.argument)]
    mends = ";\n\n".join(dict.fromkeys(problem.mend for problem in problems if problem.mend))
    needed = f" What is needed:\n\n{mends};" if mends else ""
    return f"SqlSink: {said}. {', or '.join(ways)}.{needed}"


def create_missing(engine: Engine, table: Table) -> None:
    """Create a table that is not there. Raises ConfigurationError where that is not allowed."""
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


def _evolve(engine: Engine, wanted: Wanted) -> None:
    """Add the columns that are missing, each in a statement of its own: a worker that is late
    finds some of them there."""
    with engine.connect() as connection:
        missing = _missing(Reflected(connection, wanted.rows), wanted.fields)
    for field in missing:
        statement = add_column(wanted.rows, field, engine.dialect)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(for_driver(statement, engine.dialect))
        except exc.DBAPIError as error:
            with engine.connect() as connection:  # another worker may have been faster
                if field in _missing(Reflected(connection, wanted.rows), wanted.fields):
                    raise ConfigurationError(
                        f"SqlSink: table {wanted.rows.fullname} cannot get its column "
                        f"{field.column}: {error.orig}. What is needed:\n\n{statement};"
                    ) from error


def _missing(there: Reflected, fields: Sequence[Field]) -> list[Field]:
    return [f for f in fields if f.column not in there.columns] if there.exists else []


def _problems(connection: Connection, wanted: Wanted) -> Iterator[Problem]:
    for table in wanted.tables:
        fields = wanted.fields if table is wanted.rows else ()
        there = Reflected(connection, table)
        if not there.exists:
            mend = create_table(table, connection.dialect)
            yield Problem(f"table {table.fullname} is missing", mend, "pass create_table=True")
        elif missing := sorted(table.columns.keys() - there.columns.keys()):
            mends = [add_column(table, f, connection.dialect) for f in _missing(there, fields)]
            text = f"table {table.fullname} lacks column {', '.join(missing)}"
            yield Problem(text, ";\n\n".join(mends), "pass evolve_table=True" if fields else "")
        else:
            yield from _column_problems(connection, table, there, fields)
            yield from _key_problems(connection, table, there, fields)


def _column_problems(
    connection: Connection, table: Table, there: Reflected, fields: Sequence[Field]
) -> Iterator[Problem]:
    if unfilled := there.unfilled(table.columns.keys()):
        columns = ", ".join(unfilled)
        yield Problem(f"table {table.fullname}: nothing fills its NOT NULL column {columns}")
    for field in fields:
        found = there.columns[field.column]
        if why := misfit(field, found["type"], connection.dialect.name):
            what = f"table {table.fullname}: column {field.column} {found['type']}"
            mend = change_column(table, field.column, connection.dialect, found)
            yield Problem(f"{what} does not suit field {field.name} ({field.kind}): {why}", mend)


def _key_problems(
    connection: Connection, table: Table, there: Reflected, fields: Sequence[Field]
) -> Iterator[Problem]:
    key, indexes = frozenset(column.name for column in table.primary_key), there.unique_indexes()
    names, dialect = ", ".join(sorted(key)), connection.dialect
    inexact = [name for name in sorted(key) if not there.compares_exactly(name)]
    for name in inexact:
        yield Problem(
            f"table {table.fullname}: key {name} takes different texts for one (its collation "
            "ignores case, accents or blanks): a row of one key would overwrite another's",
            _exact_text(table, name, there, dialect),
        )
    if not inexact and not any(index.columns == key and index.exact for index in indexes):
        yield Problem(
            f"table {table.fullname} needs a primary key or unique index on {names}, of all of "
            "each value, with a collation that tells all texts apart"
        )
    for field in fields:
        if field.column in key and field.nullable and there.columns[field.column]["nullable"]:
            mend = change_column(table, field.column, dialect, there.columns[field.column], False)
            yield Problem(
                f"table {table.fullname}: key {field.column} may be NULL, and each event with "
                "such a key would be a row of its own",
                mend,
            )
    others = [i for i in indexes if not (i.columns == key and i.exact)]
    others = [i for i in others if i.columns <= {*table.columns.keys()} and not inexact]
    if others and dialect.name == "mysql":
        columns = ", ".join(sorted(others[0].columns))
        yield Problem(
            f"table {table.fullname} has another unique index, on {columns}: MariaDB and MySQL "
            "would overwrite the row of another key instead of refusing the event"
        )


def _exact_text(table: Table, name: str, there: Reflected, dialect: Any) -> str:
    """The statement after which the column tells all texts apart."""
    found = there.columns[name]
    type_: Any = copy.copy(found["type"])
    if dialect.name == "mysql":
        type_.collation, type_.charset = "utf8mb4_bin", "utf8mb4"
        return change_column(table, name, dialect, found, False, type_name(type_, dialect))
    if "CITEXT" in str(type_):
        return change_column(table, name, dialect, found, None, 'TEXT COLLATE "C"')
    type_.collation = None
    exact = f'{type_name(type_, dialect)} COLLATE "C"'
    return change_column(table, name, dialect, found, None, exact)


def _checks(connection: Connection, wanted: Wanted) -> Iterator[Check]:
    there = Reflected(connection, wanted.rows)
    key = {column.name for column in wanted.rows.primary_key}
    for field in wanted.fields:
        found = there.columns[field.column]
        if check := check_of(field, found["type"], connection.dialect.name):
            yield check
        if field.column in key and there.ignores_blanks(field.column):
            reason = f"field {field.name}: column {field.column} ignores the blank at a key's end"
            yield Check(field.column, lambda value: not value.endswith(" "), reason)
