"""SqlPolling: a table that is asked, again and again, for what is new in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from trunkline.connectors.base import Batch, Finding, Position, Source
from trunkline.connectors.sql.polling.comparison import ComparingReader
from trunkline.connectors.sql.polling.modes import FullComparison, Increasing, Mode, Timestamp
from trunkline.connectors.sql.polling.ordered import OrderedReader
from trunkline.connectors.sql.polling.records import read_again
from trunkline.connectors.sql.polling.table import PolledTable
from trunkline.connectors.waiting import Calls, Stopped
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Record
from trunkline.params import Secret, revealed
from trunkline.times import parse_duration


class SqlPolling(Source):
    """Reads a table or view of any database that SQLAlchemy has a dialect for, by asking it.

    ``url``: of the database, as ``postgresql://user:password@host/database``. ``table``: its name,
    with the schema's before it if need be. ``by``: how new rows are told: ``Increasing``,
    ``Timestamp`` or ``FullComparison``; each says what it misses. ``key``: the columns of the
    entity's key; by default the primary key. ``columns``: those that records have; by default all.
    ``where``: a condition in SQL on the rows; it must not change from look to look. ``interval``:
    from the end of one look to the next. ``timeout``: for connecting and for a statement.
    ``batch``: records of a batch at the most; it also ends at 4 MB. ``stream``: the records'; by
    default the table's name.

    Records: ``data`` the row; ``change`` "create" by a column that increases, "update" by a time,
    by comparison "snapshot" in the first look and then what happened; ``time`` the row's own by
    ``Timestamp``, else that of the look.

    Guarantees: rows in the order of the column, or of the key; a row that is read again after a
    crash has the same id; no transaction stays open while Kafka is written to. Memory holds a
    batch, 32 rows of the driver's, and by comparison about 200 bytes and the key of each row.

    Raises ConfigurationError for what cannot be, AddressError for a URL, MissingExtra for a
    driver; ``read`` raises SourceError while the database or the table is not there.
    """

    def __init__(
        self,
        url: Secret | str,
        table: str,
        *,
        by: Mode,
        key: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        where: str = "",
        interval: str = "5s",
        timeout: str = "30s",
        batch: int = 2000,
        stream: str = "",
    ) -> None:
        if not table or not isinstance(by, Increasing | Timestamp | FullComparison):
            raise ConfigurationError(
                "SqlPolling: name a table, and by= Increasing(…), Timestamp(…) or FullComparison()"
            )
        keys = [key] if isinstance(key, str) else key
        if batch < 1 or isinstance(columns, str) or (keys is not None and not all(keys or [""])):
            raise ConfigurationError(
                "SqlPolling: batch= is 1 or more; key= names a column, or several, and columns= "
                'several: columns=("id", "total")'
            )
        self._interval = parse_duration(interval)
        if not self._interval:
            raise ConfigurationError("SqlPolling: interval= is longer than nothing: 1s, say")
        self._stream = stream or table
        self._by = by
        self._keys = keys
        self._table = PolledTable(
            revealed(url),
            table,
            columns=columns,
            where=where,
            timeout=parse_duration(timeout),
        )
        self._calls = Calls("sql-polling", self._table.cut)
        self._batch = batch

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: see ``OrderedReader`` and ``ComparingReader``."""
        reader = self._reader()
        reader.begin(position)
        told = False
        try:
            while not stop.is_set():
                current = False
                for batch in reader.look(stop):
                    current = batch.current
                    yield batch
                    if stop.is_set():
                        return
                if not told and not current:  # nothing waits: whoever asks for its lag knows then
                    yield Batch([], reader.position)
                told = True
                soon = reader.next_look
                stop.wait(self._interval if soon is None else min(soon, self._interval))
        except Stopped:
            return

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the one of ``stream=``, or the table."""
        return (self._stream,)

    def read_again(self, record: Record) -> Record:
        """See ``Source.read_again``: the row as it was, by today's ``key=``."""
        if not self._keys:
            raise DataError("its primary key was empty: name another one, key=, or discard it")
        return read_again(record, self._keys)

    def close(self) -> None:
        """See ``Source.close``."""
        self._table.close()

    def check(self) -> list[Finding]:
        """See ``Source.check``: the table, its columns, and the index that each look needs."""
        table = self._table
        try:
            table.look()
            reader = self._reader()
            order = self._order()
            for name in [*order, *(self._keys or ())]:
                table.column(name)
        except SourceError as error:
            return [Finding(str(error), "mend the URL, the table's name or the user's rights")]
        finally:
            table.close()
        del reader
        if not any(index[: len(order)] == list(order) for index in table.indexed()):
            name, columns = f"{table.name.rpartition('.')[2]}_polling", ", ".join(order)
            return [
                Finding(
                    f"no index of {table.name} begins with {columns}: each look sorts all rows",
                    f"CREATE INDEX {name} ON {table.name} ({columns});",
                    warning=True,
                )
            ]
        return []

    def _order(self) -> list[str]:
        if isinstance(self._by, FullComparison):
            return list(self._keys or self._table.primary_key)
        then = self._table.primary_key if self._by.then is None else self._by.then
        return [self._by.column, *(name for name in then if name != self._by.column)]

    def _reader(self) -> OrderedReader | ComparingReader:
        common: Any = {"stream": self._stream, "batch": self._batch, "calls": self._calls}
        if isinstance(self._by, FullComparison):
            return ComparingReader(self._table, self._by, self._keys, **common)
        return OrderedReader(self._table, self._by, self._keys, **common)
