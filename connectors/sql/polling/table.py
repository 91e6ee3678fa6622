"""The table that is polled: what it is, and its rows, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    event,
    exc,
    func,
    inspect,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy import table as sql_table

from trunkline.connectors.sql.engine import polling_engine
from trunkline.connectors.sql.messages import withhold
from trunkline.connectors.sql.polling.cutting import cut
from trunkline.connectors.sql.polling.values import PolledColumn, polled_column
from trunkline.errors import SourceError
from trunkline.masking import concealed

PAGE_BYTES = 4_000_000
"""Bytes of values from which on a page ends, however few rows it has."""
BUFFER = 32
"""Rows that a driver holds beside the page, of whatever size."""

_NOW = {
    "postgresql": "clock_timestamp()",
    "mysql": "UTC_TIMESTAMP(6)",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


@dataclass(slots=True)
class Page:
    """Rows as ``PolledTable.columns`` says; ``full``: whether more may wait behind the last.
    ``size``: bytes of their values, about."""

    rows: list[Sequence[Any]]
    full: bool
    size: int


class PolledTable:
    """A table or view, and a connection to it. For one thread at a time.

    ``columns``: those that records have, or None for all. ``where``: a condition in SQL, "" for
    none. Its methods block, and raise SourceError where the database cannot be asked: of a table
    or column that is not there, too, since migrations take a while.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        columns: Sequence[str] | None,
        where: str,
        timeout: float,
    ) -> None:
        self.engine = polling_engine(url, timeout=timeout)
        if self.dialect == "mysql":
            event.listen(self.engine, "connect", partial(_limit_statements, timeout))
        self.name = name
        self.columns: list[PolledColumn] = []
        self._all: list[PolledColumn] = []
        self.primary_key: list[str] = []
        self._schema, _, self._table = name.rpartition(".")
        self._wanted = columns
        self._where = where
        self._connection: Any = None
        self._shape: Any = None
        self._limit = BUFFER
        self._password = self.engine.url.password

    @property
    def dialect(self) -> str:
        """The database's name, as SQLAlchemy has it."""
        return "mysql" if self.engine.dialect.name == "mariadb" else self.engine.dialect.name

    def look(self) -> None:
        """See what columns the table has now, if they are others than before."""
        with self.connected() as connection:
            nothing: Any = (
                select(literal_column("*")).select_from(self._from()).where(literal(1) == 0)
            )
            found = connection.execute(nothing).cursor
            shape = [tuple(column[:2]) for column in found.description] if found else None
            if shape is None or shape != self._shape:
                self._reflect(connection)
                self._shape = shape

    def column(self, name: str) -> PolledColumn:
        """The column of this name. Raises SourceError if there is none."""
        for column in self._all:
            if column.name == name:
                return column
        raise SourceError(f"table {self.name} has no column {name}")

    def page(
        self,
        order: Sequence[str],
        after: Sequence[Any] | None,
        upper: Any,
        limit: int,
    ) -> Page:
        """The rows behind ``after``, the values of the columns of ``order``, in that order.

        Each row has the values of ``order`` in front of those of ``columns``. ``upper``: what the
        first of ``order`` has at the most; None: whatever it has, NULL never.
        """
        limit = min(limit, self._limit)
        query, names = self._rows(order)
        query = query.order_by(*names).limit(limit)
        query = query.where(*(name.is_not(None) for name in names))
        if after is not None:
            query = query.where(_behind(names, after))
        if upper is not None:
            query = query.where(self._until(names[0], upper))
        page = self._fetch(query, order)
        # Grows again by and by: of rows of megabytes a large limit has the server send, and the
        # driver throw away, what no page can hold.
        cut = page.size >= PAGE_BYTES
        self._limit = max(BUFFER, len(page.rows)) if cut else max(self._limit, 4 * limit)
        page.full = cut or len(page.rows) == limit
        return page

    def lacking(self, names: Sequence[str], limit: int) -> Page:
        """Rows that have no value in one of these columns, as those of ``page``."""
        query, columns = self._rows(names)
        absent = or_(*(column.is_(None) for column in columns))
        return self._fetch(query.where(absent).limit(limit), names)

    def only_empty(self, column: str) -> None:
        """From now on only rows that have no value in this column are there."""
        self._where = f"{self._quote(column)} IS NULL"

    def newest(self, column: str) -> Any:
        """The largest value of a column; None of an empty table."""
        name: ColumnElement[Any] = literal_column(self._quote(column))
        chosen: Any = literal_column(self.column(column).expression)
        query = select(chosen).select_from(self._from()).where(name.is_not(None))
        if self._where:
            query = query.where(literal_column(f"({self._where})"))
        with self.connected() as connection:
            return connection.execute(query.order_by(name.desc()).limit(1)).scalar()

    def now(self) -> datetime:
        """The database's time, UTC; of a database that we do not know, this machine's."""
        if self.dialect not in _NOW:
            return datetime.now(UTC)
        with self.connected() as connection:
            found: Any = connection.execute(select(literal_column(_NOW[self.dialect]))).scalar()
        found = datetime.fromisoformat(found) if isinstance(found, str) else found
        now: datetime = found
        return now.astimezone(UTC) if now.tzinfo else now.replace(tzinfo=UTC)

    def indexed(self) -> list[list[str]]:
        """The columns of each index, of the primary key's too; [] of a view."""
        with self.connected() as connection:
            inspector = inspect(connection)
            where: Any = {"table_name": self._table, "schema": self._schema or None}
            indexes: list[Any] = list(inspector.get_indexes(**where))
            found = [*indexes, *inspector.get_unique_constraints(**where)]
        names = [[c for c in index["column_names"] if c is not None] for index in found]
        return [self.primary_key, *names] if self.primary_key else names

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection, in a transaction. Raises SourceError for whatever the database says."""
        try:
            with self.engine.connect() as connection:
                self._connection = connection.connection.dbapi_connection
                yield connection
        except (exc.SQLAlchemyError, OSError) as error:
            told = withhold(error, (), ()) if isinstance(error, exc.SQLAlchemyError) else None
            said = told.message if told is not None else str(error)
            said = concealed(said, [str(self._password or "")])
            raise SourceError(f"{self.name} cannot be read: {said}") from None
        finally:
            self._connection = None

    def cut(self) -> None:
        """End what is waited for, from another thread."""
        cut(self._connection)

    def close(self) -> None:
        """Release the connection."""
        self.engine.dispose()

    def _reflect(self, connection: Connection) -> None:
        inspector = inspect(connection)
        where: Any = {"table_name": self._table, "schema": self._schema or None}
        found = inspector.get_columns(**where)
        self._all = [
            polled_column(c["name"], self._quote(c["name"]), c["type"], self.dialect) for c in found
        ]
        key = inspector.get_pk_constraint(**where) if inspector.has_table(**where) else None
        self.primary_key = list(key["constrained_columns"]) if key else []
        wanted = [c.name for c in self._all] if self._wanted is None else self._wanted
        self.columns = [self.column(name) for name in wanted]

    def _rows(self, first: Sequence[str]) -> tuple[Any, list[ColumnElement[Any]]]:
        """The query of all rows, with the columns ``first`` in front, and those columns."""
        columns = [*(self.column(name) for name in first), *self.columns]
        chosen: list[Any] = [literal_column(column.expression) for column in columns]
        query: Any = select(*chosen).select_from(self._from())
        if self._where:
            query = query.where(literal_column(f"({self._where})"))
        return query, [literal_column(self._quote(name)) for name in first]

    def _fetch(self, query: Any, first: Sequence[str]) -> Page:
        columns = [*(self.column(name) for name in first), *self.columns]
        long = [at for at, column in enumerate(columns) if column.long]
        rows: list[Sequence[Any]] = []
        size = 0
        options = {"stream_results": True, "max_row_buffer": BUFFER}
        with self.connected() as connection:
            result: Any = connection.execution_options(**options).execute(query)
            for row in result:
                rows.append(row)
                size += 16 * len(row) + sum(_size(row[at]) for at in long)
                if size >= PAGE_BYTES:
                    break
            result.close()
        return Page(rows, False, size)

    def _from(self) -> Any:
        return sql_table(self._table, schema=self._schema or None)

    def _quote(self, name: str) -> str:
        return str(self.engine.dialect.identifier_preparer.quote(name))

    def _until(self, name: ColumnElement[Any], upper: Any) -> ColumnElement[bool]:
        if self.dialect == "sqlite" and isinstance(upper, datetime):
            # Its times are texts, of one form or another.
            return func.julianday(name) <= func.julianday(upper.isoformat(" "))
        return name <= literal(upper)


def _behind(names: Sequence[ColumnElement[Any]], after: Sequence[Any]) -> ColumnElement[bool]:
    """Behind a row in the order of these columns. ``a >= x`` in front is for the index: databases
    make no range of an OR."""
    values = [literal(value) for value in after]
    ways = [
        and_(*(names[i] == values[i] for i in range(at)), names[at] > values[at])
        for at in range(len(names))
    ]
    return and_(names[0] >= values[0], or_(*ways)) if len(names) > 1 else ways[0]


def _limit_statements(timeout: float, connection: Any, record: Any) -> None:
    """The server itself ends what takes too long, also when nobody waits for it any more."""
    del record
    maria = "MariaDB" in connection.get_server_info()
    name, value = ("statement", timeout) if maria else ("execution", round(timeout * 1000))
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION max_{name}_time = {value}")


def _size(value: Any) -> int:
    if isinstance(value, str | bytes | memoryview | bytearray):
        return len(value)
    return 0 if value is None else len(str(value))
