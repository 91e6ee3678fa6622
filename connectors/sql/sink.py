"""SqlSink: the newest state of every entity as a row, in PostgreSQL, MariaDB, MySQL or SQLite."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.exc import SQLAlchemyError

from trunkline.connectors.base import Finding, HttpReply, SqlRequest
from trunkline.connectors.sql.blocking import BlockingSink
from trunkline.connectors.sql.calls import StatementRunner
from trunkline.connectors.sql.changes import Change, RowReader, WholeReader, canonical
from trunkline.connectors.sql.engine import require_durable, sql_engine
from trunkline.connectors.sql.errors import ERRORS, delivery_error
from trunkline.connectors.sql.fit import Check, check_rows
from trunkline.connectors.sql.schema import Wanted, prepare
from trunkline.connectors.sql.statements import (
    MAX_KEYS,
    claim,
    delete_keys,
    listed,
    select_keys,
    upsert,
)
from trunkline.connectors.sql.table import Field, fields_of, tables_for
from trunkline.connectors.sql.wholes import whole_of
from trunkline.errors import (
    ConfigurationError,
    DataError,
    DeliveryError,
    PartialFailure,
    Rejected,
    Unavailable,
)
from trunkline.event import Event, split_key
from trunkline.params import Secret, revealed
from trunkline.schemas.types import schema_of

T = TypeVar("T")
log = logging.getLogger(__name__)


class SqlSink(BlockingSink[T]):
    """Keeps the newest state of each entity in a table: upsert and delete by key, in batches.

    ``url``: ``postgresql://…``, ``mariadb://…``, ``mysql://…`` or ``sqlite:///file``. ``table``:
    its name, with the schema if not the default one. ``key``: the column or columns of its primary
    key. ``columns``: field → column, for other names or fewer fields; by default each field has
    the column of its name. ``create_table``: create missing tables, from the Avro schema.
    ``evolve_table``: add missing columns, nullable or with the schema's default.
    ``positions``: the name of the table of positions, None to do without.
    ``timeout``: seconds for connecting and for each statement. ``calls``, ``max_rows``: for
    operations, as SqlDatabase's; with ``max_batch=1``.

    ``owner``: for events that hold a whole, as an order with its lines. The column or columns of
    ``key`` that all rows of an event share: the event's key. An event then has the rows that its
    field ``rows`` lists (None: the only one that lists records); the owner's other rows are
    removed in the same transaction, and its delete removes all.

    Effectively-once: a row never goes back to an older state and a deleted row never comes back,
    whatever is delivered again. The table of positions holds, for each key, the inbox offset of
    the newest event applied; a batch moves the positions on first, which locks its keys, and then
    writes only what is still the newest, in the same transaction. Without it (``positions=None``)
    delivery is at-least-once: repeats are harmless, but a late one is seen until the next event
    of its key.

    The drivers block, so each transaction runs in a thread of the sink's own. A row that the
    database refuses is found by trying the batch's events one by one. Raises ConfigurationError
    for arguments that cannot work, MissingExtra if the driver is not installed.
    """

    accepts_deletes = True
    takes_calls = SqlRequest

    def __init__(
        self,
        url: Secret | str,
        type: type[T],
        *,
        table: str,
        key: str | Sequence[str] = "id",
        owner: str | Sequence[str] | None = None,
        rows: str | None = None,
        columns: Mapping[str, str] | None = None,
        create_table: bool = False,
        evolve_table: bool = False,
        positions: str | None = "{table}_tl_pos",
        calls: str | None = "tl_calls",
        max_rows: int = 1_000,
        max_batch: int = 500,
        concurrency: int = 1,
        timeout: float = 30.0,
    ) -> None:
        self.type = type
        self.max_batch = max_batch
        self.concurrency = concurrency
        key, parsed = _listed(key), schema_of(type).parsed
        if owner is None:
            if rows is not None:
                raise ConfigurationError(f"rows={rows!r} needs owner=: what its rows share")
            fields = fields_of(parsed, columns)
            self._key = _of_columns(fields, key)
            self._reader: RowReader | WholeReader = RowReader(fields, self._key)
        else:
            owner = _listed(owner)
            whole = whole_of(parsed, rows, columns, owner, key, positions)
            fields = whole.fields([*owner, *key])
            self._key = _of_columns(fields, key)
            self._reader = WholeReader(whole, _of_columns(fields, owner), self._key)
        self._table, self._positions = tables_for(table, fields, key, positions)
        self._names = {self._table.name, *self._table.columns.keys()}
        self._wanted = Wanted(self._table, self._positions, fields, create_table, evolve_table)
        self._checks: list[Check] = []
        self._key_checks: list[Check] = []
        address = revealed(url)
        self._engine = sql_engine(address, timeout=timeout, connections=concurrency)
        # Calls have connections of their own: where JSON is read as text, SQLAlchemy cannot read
        # the collation of a column, which PostgreSQL tells as JSON.
        self._calls_engine = sql_engine(
            address, timeout=timeout, connections=concurrency, json_as_text=True
        )
        self._runner = StatementRunner(
            self._calls_engine, calls, create=create_table, max_rows=max_rows
        )
        self._calls_ready = False
        self._upsert = upsert(self._table, self._engine.dialect.name)
        self._delete = delete_keys(self._table, key)
        self._select = None if owner is None else select_keys(self._table, key, owner)

    async def open(self) -> None:
        """Connect, create what is missing if that is wanted, and check the tables.

        Raises ConfigurationError naming what is missing, with the DDL; Unavailable."""
        require_durable(self._engine)
        if self._threads is None:  # it may be called again after Unavailable
            self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="sql-sink")
        try:
            checks: list[Check] = await self._in_thread(prepare, self._engine, self._wanted)
        except SQLAlchemyError as error:
            raise delivery_error(error) from error
        key = {field.column for field in self._reader.identity}
        self._key_checks = [check for check in checks if check.column in key]
        self._checks = [check for check in checks if check.column not in key]

    def check(self) -> list[Finding]:
        """See ``Sink.check``: whether the database lets us in; and if nothing is to be made there,
        whether its tables are as they must be."""
        makes = self._wanted.create or self._wanted.evolve
        return self._findings(None if makes else partial(prepare, self._engine, self._wanted))

    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """Apply the events in one transaction.

        Raises PartialFailure naming the rows that are refused (Rejected for a single event),
        Retryable for deadlocks, Unavailable when the connection is lost or cannot be made."""
        await self._in_thread(self._write, list(events))

    async def call(self, request: SqlRequest, id: str, traceparent: str = "") -> HttpReply:
        """Run one statement of an operation; see ``StatementRunner.run`` for answers and errors."""
        reply: HttpReply = await self._in_thread(self._run, request, id)
        return reply

    def _engines(self) -> list[Engine]:
        return [self._engine, self._calls_engine]

    def _run(self, request: SqlRequest, id: str) -> HttpReply:
        # Not in ``open``: most destinations have no operations, and need no table of calls.
        if not self._calls_ready and not request.reads:
            try:
                self._runner.prepare()
            except ConfigurationError as error:
                refused = Unavailable(str(error), status=503)
                raise refused from error
            except SQLAlchemyError as error:
                failure = delivery_error(error)
                failure.unsent = True
                raise failure from error
            self._calls_ready = True
        return self._runner.run(request, id)

    def _write(self, events: list[Event[T]]) -> None:
        try:
            self._transact(events)
            return
        except ERRORS as error:
            failure = delivery_error(error, values=_values_of(events), names=self._names)
            if len(events) == 1 or not isinstance(failure, Rejected):
                raise failure from error
        # Not in the except clause: an event's error would show this one, which is about another.
        self._write_one_by_one(events)

    def _write_one_by_one(self, events: list[Event[T]]) -> None:
        """Find the refused ones: each event in a transaction of its own."""
        failures: dict[int, DeliveryError] = {}
        for index, event in enumerate(events):
            try:
                self._write([event])
            except Rejected as error:
                failures[index] = error
        if failures:
            raise PartialFailure(failures)

    def _transact(self, events: list[Event[T]]) -> None:
        """One transaction: of each key the last change, if no later one was applied before."""
        changes = self._newest(events)
        self._check(changes)
        with self._engine.begin() as connection:
            if self._positions is not None:
                changes = self._still_newest(connection, changes)
            self._apply(connection, changes)

    def _newest(self, events: list[Event[T]]) -> list[Change]:
        """The last change of each key.

        Sorted, so that all writers lock in one order, wait for each other and do not deadlock; but
        those that a collation may take for one key stay in the order of their events, so that even
        then the newest is the last."""
        newest: dict[str, Change] = {}
        for event in events:
            change = self._reader.change(event)
            newest.pop(change.key, None)
            newest[change.key] = change
        return sorted(newest.values(), key=lambda change: change.key.casefold().rstrip())

    def _check(self, changes: list[Change]) -> None:
        """Raises DataError where a column would not hold a value as it is."""
        if self._key_checks:  # of deletes, too: "a " would delete "a" where blanks do not count
            columns = [field.column for field in self._reader.identity]
            keys = [dict(zip(columns, change.values, strict=True)) for change in changes]
            check_rows(self._key_checks, keys)
        if self._checks:
            check_rows(self._checks, [row for change in changes for row in change.rows])

    def _still_newest(self, connection: Connection, changes: list[Change]) -> list[Change]:
        """Moves the positions of these keys on; returns the changes that are not older than them.

        Older ones are repeats: a worker was killed after its transaction and before its commit in
        Kafka, or it has lost the partition, does not know yet, and is late.
        """
        table = self._positions
        assert table is not None
        claims = [{"tl_key": c.key, "tl_inbox": c.inbox, "tl_pos": c.position} for c in changes]
        won = claim(connection, table, claims)
        newest = [change for change in changes if (change.key, change.inbox) in won]
        if old := len(changes) - len(newest):
            log.warning(
                "%s: %d repeated events are older than their rows and were passed over. After a "
                "restart that is as it should be; if the inbox was made anew, empty table %s.",
                self._table.fullname,
                old,
                table.fullname,
            )
        return newest

    def _apply(self, connection: Connection, changes: list[Change]) -> None:
        rows = [row for change in changes for row in change.rows]
        if self._select is not None:
            self._delete_rows(connection, self._others(connection, self._select, changes))
        if rows:
            connection.execute(self._upsert, rows)
        if self._select is None:
            gone = [change.values for change in changes if not change.rows]
            self._delete_rows(connection, gone)

    def _delete_rows(self, connection: Connection, keys: list[tuple[Any, ...]]) -> None:
        for start in range(0, len(keys), MAX_KEYS):
            connection.execute(self._delete, listed(keys[start : start + MAX_KEYS]))

    def _others(
        self, connection: Connection, select: Select[Any], changes: list[Change]
    ) -> list[tuple[Any, ...]]:
        """The keys of the owners' rows that are there and not in these changes.

        The positions' locks are held, so that no other writer adds one meanwhile. Deleted by key,
        not by owner: MariaDB would lock the gaps between owners too, and writers would deadlock.
        A key that the column gives back in another form than the event has it is taken for
        another's, and written again after its delete."""
        if not changes:
            return []
        columns = [field.column for field in self._key]
        kept = {
            canonical(self._key, [row[column] for column in columns])
            for change in changes
            for row in change.rows
        }
        there = connection.execute(select, listed([change.values for change in changes])).all()
        return [key for key in map(tuple, there) if canonical(self._key, key) not in kept]


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _of_columns(fields: Sequence[Field], columns: Sequence[str]) -> list[Field]:
    """The fields of these columns, in their order."""
    return [field for name in columns for field in fields if field.column == name]


def _values_of(events: Sequence[Event[Any]]) -> Iterator[Any]:
    """What the events hold, keys included; of one that cannot be read its key alone."""
    for event in events:
        yield from split_key(event.key)
        try:
            if event.value is not None:
                yield event.data
        except DataError:
            continue
