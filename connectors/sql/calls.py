"""Statements of operations: a transaction a call, with its answer kept beside what it has done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Table,
    TextClause,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, ProgrammingError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex

from trunkline.connectors.base import SQL_QUOTED, HttpReply, SqlRequest
from trunkline.connectors.json_values import to_json
from trunkline.connectors.sql.ddl import create_table
from trunkline.connectors.sql.errors import ERRORS, codes_of, delivery_error
from trunkline.connectors.sql.rows import rows_of
from trunkline.connectors.sql.schema import create_missing
from trunkline.connectors.sql.table import calls_table
from trunkline.errors import ConfigurationError, DeliveryError, Rejected, Retryable

log = logging.getLogger(__name__)

KEPT = timedelta(days=7)
"""How long the table knows a call: longer than anybody sends one again."""
FORGETS_EVERY, FORGETS_SOON = 3600.0, 1.0
"""Seconds between two looks for calls to be forgotten: as a rule, and while there are many."""
FORGOTTEN = 500
"""Calls that are forgotten at once: a call waits for that, and locks are held meanwhile."""
_TAKEN = frozenset(
    {"23505", 1062, 1586, "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"}
)
"""A unique key that another row has."""


class StatementRunner:
    """Runs the statements of calls on one database; blocks, and may be called from any thread.

    ``calls``: the name of the table that knows which calls were done, and how they were answered:
    its row is written in the transaction of the statement, so a call that is repeated is answered
    once more and changes nothing, whenever its first transaction was committed. None: there is no
    such table, and a repeat runs again. ``create``: make the table. ``max_rows``: of one answer.
    """

    def __init__(self, engine: Engine, calls: str | None, *, create: bool, max_rows: int) -> None:
        if max_rows < 1:
            raise ConfigurationError(f"max_rows={max_rows}: an answer has 1 row or more")
        self._engine = engine
        self._dialect = engine.dialect.name
        self._calls = None if calls is None else calls_table(calls)
        self._create = create
        self._max_rows = max_rows
        self._forget_at = 0.0

    def prepare(self) -> None:
        """Make the table of calls, or see that it is there. Raises ConfigurationError with the
        statement that is needed, and what the driver raises."""
        table = self._calls
        if table is None:
            return
        if self._create:
            create_missing(self._engine, table)
            self._create_index(table)
        elif not inspect(self._engine).has_table(table.name, schema=table.schema):
            needed = create_table(table, self._engine.dialect)
            indexes = [str(CreateIndex(one).compile(self._engine)) for one in table.indexes]
            needed = ";\n".join([needed, *indexes])
            raise ConfigurationError(
                f"table {table.fullname} is missing, by which a call that is repeated is known: "
                f"make it, or say create_table=True, or calls=None to do without. What is needed:"
                f"\n\n{needed};"
            )

    def _create_index(self, table: Table) -> None:
        """Also of a table that an older version has made. Without it calls are forgotten, too."""
        for index in table.indexes:
            try:
                with self._engine.begin() as connection:
                    index.create(connection, checkfirst=True)
            except SQLAlchemyError as error:  # another worker makes it just now, or nobody may
                log.info("the index %s is not made: %s", index.name, delivery_error(error))

    def run(self, request: SqlRequest, id: str) -> HttpReply:
        """The answer of one call. Raises DeliveryError.

        Of a statement that reads: ``{"rows": […], "more": false}``, of one row that row. Of any
        other ``{"changed": 2}``, and ``rows`` where it returns some. One that finds no row, or
        changes none, is Rejected with 404, and then nothing is changed. What the database refuses
        has 409 for a unique key that is taken, and 422 else; whatever failed before the commit is
        undone and says so by its status, and only a commit without an answer leaves doubt.
        """
        statement, values = self._bound(request)
        if request.reads:
            return self._read(request, statement, values)
        reply = self._write(statement, values, id)
        if self._calls is not None and time.monotonic() > self._forget_at:
            self._forget()
        return reply

    def _bound(self, request: SqlRequest) -> tuple[TextClause, dict[str, Any]]:
        statement = text(_escaped(request.sql))
        names = statement.compile(dialect=self._engine.dialect).params
        if missing := sorted(names.keys() - request.values.keys()):
            raise _defect(f"the statement's parameters {', '.join(missing)} have no value")
        values = {name: _value(request.values[name], self._dialect) for name in names}
        # Bound, so that each value has the type of its Python value in each dialect.
        return statement.bindparams(**values), values

    def _read(
        self, request: SqlRequest, statement: TextClause, values: Mapping[str, Any]
    ) -> HttpReply:
        most = 2 if request.one else self._max_rows
        with (
            _told(values) as attempt,
            self._engine.connect() as connection,
            _read_only(connection, most),
        ):
            attempt.begun = True
            result = connection.execute(statement, execution_options=_STREAMED)
            rows, more = rows_of(result, self._dialect, most)
        if not request.one:
            return HttpReply(200, to_json({"rows": rows, "more": more}))
        if not rows:
            raise Rejected("there is no such row", status=404, cause="no such row")
        if len(rows) > 1:
            raise _defect("the statement finds more than one row, and should find one")
        return HttpReply(200, to_json(rows[0]))

    def _write(self, statement: TextClause, values: Mapping[str, Any], id: str) -> HttpReply:
        with (
            _told(values) as attempt,
            self._engine.connect() as connection,
            connection.begin(),
        ):
            attempt.begun = True
            if self._dialect == "sqlite":
                # Its driver begins none before a statement that begins with WITH: that would be
                # committed by itself, whatever is found wrong behind it.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            if self._calls is not None and (known := self._claim(connection, id)) is not None:
                return HttpReply(200, known.encode())
            result = connection.execute(statement)
            rows, more = rows_of(result, self._dialect, self._max_rows)
            changed = max(_changed(connection, result), len(rows))
            if more:
                raise _defect(f"the statement returns more than {self._max_rows} rows")
            if not changed:
                raise Rejected("no row is as it must be for it", status=404, cause="no row")
            said = {"changed": changed, **({"rows": rows} if result.returns_rows else {})}
            body = to_json(said)
            if self._calls is not None:
                self._keep(connection, id, body.decode())
            attempt.committing = True
        return HttpReply(200, body)

    def _claim(self, connection: Connection, id: str) -> str | None:
        """Write that the call is done, which waits for another transaction of the same call; the
        answer that it had, if it was done before."""
        table = self._calls
        assert table is not None
        row = {"tl_call": id, "tl_at": datetime.now(UTC)}
        if connection.execute(_insert_new(self._dialect, table), row).rowcount:
            return None
        known = select(table.c.tl_reply).where(table.c.tl_call == id)
        return str(connection.execute(known).scalar_one() or "{}")

    def _keep(self, connection: Connection, id: str, reply: str) -> None:
        table = self._calls
        assert table is not None
        connection.execute(update(table).where(table.c.tl_call == id).values(tl_reply=reply))

    def _forget(self) -> None:
        """Delete some calls that nobody sends again, and soon more of them where there may be. What
        becomes of that is no matter of the call that has just been done."""
        self._forget_at = time.monotonic() + FORGETS_EVERY
        table = self._calls
        assert table is not None
        id_, over = table.c.tl_call, table.c.tl_at < datetime.now(UTC) - KEPT
        try:
            with self._engine.begin() as connection:
                # One statement with a limit is another one in each database.
                oldest = select(id_).where(over).order_by(table.c.tl_at).limit(FORGOTTEN)
                found = connection.execute(oldest).scalars().all()
                if found:
                    connection.execute(delete(table).where(id_.in_(found), over))
            if len(found) == FORGOTTEN:
                self._forget_at = time.monotonic() + FORGETS_SOON
        except SQLAlchemyError as error:
            log.warning("%s keeps old calls: %s", table.fullname, delivery_error(error))


_STREAMED = {"stream_results": True, "max_row_buffer": 100}
"""Rows come as they are asked for: of a million the driver would else hold all."""


class _Attempt:
    """How far a transaction has come. ``begun``: the database was there; ``committing``: whether it
    is committed nobody knows until the database says so."""

    begun = False
    committing = False


@contextmanager
def _told(values: Mapping[str, Any]) -> Iterator[_Attempt]:
    """A transaction whose failure is told as DeliveryError, with a status where it is undone."""
    attempt = _Attempt()
    try:
        yield attempt
    except ERRORS as error:
        codes = codes_of(error) | {getattr(getattr(error, "orig", None), "sqlite_errorname", "")}
        failure = delivery_error(error, values=values.values())
        if isinstance(failure, Retryable) and isinstance(error, ProgrammingError):
            failure = _defect(str(failure))  # the statement is wrong, and would be for ever
        elif isinstance(failure, Rejected):
            failure.status = 409 if codes & _TAKEN else 422
            failure.code = max(map(str, codes), key=len, default="")
        elif not attempt.begun:
            failure.unsent = True
        elif not attempt.committing or isinstance(failure, Retryable):
            failure.status = 503  # rolled back: nothing was done
        raise failure from error


def _defect(what: str) -> DeliveryError:
    failure = Rejected(what)
    failure.unsent = True
    return failure


@contextmanager
def _read_only(connection: Connection, most: int) -> Iterator[None]:
    """A transaction that can change nothing, and is rolled back."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execution_options(postgresql_readonly=True)
        yield
    elif dialect == "mysql":
        # Rows that nobody fetches are read to their end when the cursor is closed: so the server
        # is told how many are wanted at the most. A LIMIT of the statement's own is stronger.
        connection.exec_driver_sql(f"SET SESSION sql_select_limit = {most + 1}")
        try:
            connection.exec_driver_sql("START TRANSACTION READ ONLY")
            yield
            connection.rollback()
        finally:
            _reset(connection, "SET SESSION sql_select_limit = DEFAULT")
    else:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        try:
            yield
            connection.rollback()
        finally:
            _reset(connection, "PRAGMA query_only = OFF")


def _reset(connection: Connection, statement: str) -> None:
    """Make a connection what it was, or let nobody have it any more."""
    try:
        if not connection.invalidated:
            connection.exec_driver_sql(statement)
    except DBAPIError:
        connection.invalidate()


def _changed(connection: Connection, result: CursorResult[Any]) -> int:
    """How many rows a statement has changed; SQLite's driver counts neither those that are returned
    nor those of a statement that begins with WITH."""
    if connection.dialect.name == "sqlite" and not result.returns_rows and result.rowcount < 0:
        return int(connection.exec_driver_sql("SELECT changes()").scalar_one())
    return result.rowcount


def _insert_new(dialect: str, table: Any) -> Any:
    """Inserts a row, unless its key is there."""
    if dialect == "mysql":
        return mysql.insert(table).prefix_with("IGNORE")
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return insert(table)


def _escaped(sql: str) -> str:
    """The statement as SQLAlchemy reads it, which takes ``'12:30'`` for a parameter else."""
    return SQL_QUOTED.sub(lambda quoted: quoted[0].replace(":", "\\:"), sql)


def _value(value: Any, dialect: str) -> Any:
    """A canonical value as the drivers take it, exactly."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal) and dialect == "sqlite":
        return str(value)  # its numbers are floats
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, Mapping):
        return to_json(value).decode()
    if isinstance(value, list) and (dialect != "postgresql" or _is_nested(value)):
        return to_json(value).decode()
    return value


def _is_nested(value: list[Any]) -> bool:
    return any(isinstance(one, Mapping | list) for one in value)
