"""SqlSink: the newest state of every entity as a row, in PostgreSQL, MariaDB, MySQL or SQLite."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from trunkline.connectors.base import Sink
from trunkline.connectors.sql.engine import sql_engine
from trunkline.connectors.sql.errors import ERRORS, delivery_error
from trunkline.connectors.sql.fit import Check, check_rows
from trunkline.connectors.sql.schema import Wanted, prepare
from trunkline.connectors.sql.statements import KEYS, claim, delete_keys, upsert
from trunkline.connectors.sql.table import fields_of, tables_for
from trunkline.errors import DataError, DeliveryError, NoData, PartialFailure, Rejected
from trunkline.event import Event, join_key, split_key
from trunkline.naming import destination_of
from trunkline.params import Secret, revealed
from trunkline.schemas.types import schema_of

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Change:
    """What one event makes of one row: its new state, or None where it is deleted."""

    key: str
    values: tuple[Any, ...]
    row: dict[str, Any] | None
    inbox: str
    position: int


class SqlSink(Sink[T]):
    """Keeps the newest state of each entity in a table: upsert and delete by key, in batches.

    ``url``: ``postgresql://…``, ``mariadb://…``, ``mysql://…`` or ``sqlite:///file``. ``table``:
    its name, with the schema if not the default one. ``key``: the column or columns of its primary
    key. ``columns``: field → column, for other names or fewer fields; by default each field has
    the column of its name. ``create_table``: create missing tables, from the Avro schema.
    ``evolve_table``: add missing columns, nullable or with the schema's default.
    ``positions``: the name of the table of positions, None to do without.
    ``timeout``: seconds for connecting and for each statement.

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

    def __init__(
        self,
        url: Secret | str,
        type: type[T],
        *,
        table: str,
        key: str | Sequence[str] = "id",
        columns: Mapping[str, str] | None = None,
        create_table: bool = False,
        evolve_table: bool = False,
        positions: str | None = "{table}_tl_pos",
        max_batch: int = 500,
        concurrency: int = 1,
        timeout: float = 30.0,
    ) -> None:
        self.type = type
        self.max_batch = max_batch
        self.concurrency = concurrency
        key = [key] if isinstance(key, str) else list(key)
        self._fields = fields_of(schema_of(type).parsed, columns)
        self._key = [field for name in key for field in self._fields if field.column == name]
        self._table, self._positions = tables_for(table, self._fields, key, positions)
        self._names = {self._table.name, *self._table.columns.keys()}
        self._wanted = Wanted(
            self._table, self._positions, self._fields, create_table, evolve_table
        )
        self._checks: list[Check] = []
        self._key_checks: list[Check] = []
        self._key_names = ", ".join(key)
        self._forms = any(field.has_forms for field in self._key)
        self._engine = sql_engine(revealed(url), timeout=timeout, connections=concurrency)
        self._upsert = upsert(self._table, self._engine.dialect.name)
        self._delete = delete_keys(self._table)
        self._threads: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Connect, create what is missing if that is wanted, and check the tables.

        Raises ConfigurationError naming what is missing, with the DDL; Unavailable."""
        if self._threads is None:  # it may be called again after Unavailable
            self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="sql-sink")
        try:
            checks: list[Check] = await self._in_thread(prepare, self._engine, self._wanted)
        except SQLAlchemyError as error:
            raise delivery_error(error) from error
        key = {field.column for field in self._key}
        self._key_checks = [check for check in checks if check.column in key]
        self._checks = [check for check in checks if check.column not in key]

    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """Apply the events in one transaction.

        Raises PartialFailure naming the rows that are refused (Rejected for a single event),
        Retryable for deadlocks, Unavailable when the connection is lost or cannot be made."""
        await self._in_thread(self._write, list(events))

    async def close(self) -> None:
        """Wait for the transactions under way, also cancelled ones, and close all connections."""
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
            self._threads = None
        self._engine.dispose()

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        assert self._threads is not None, "the sink is not open"
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

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

    def _newest(self, events: list[Event[T]]) -> list[_Change]:
        """The last change of each key.

        Sorted, so that all writers lock in one order, wait for each other and do not deadlock; but
        those that a collation may take for one key stay in the order of their events, so that even
        then the newest is the last."""
        newest: dict[str, _Change] = {}
        for event in events:
            change = self._change(event)
            newest.pop(change.key, None)
            newest[change.key] = change
        return sorted(newest.values(), key=lambda change: change.key.casefold().rstrip())

    def _check(self, changes: list[_Change]) -> None:
        """Raises DataError where a column would not hold a value as it is."""
        if self._key_checks:  # of deletes, too: "a " would delete "a" where blanks do not count
            columns = [field.column for field in self._key]
            keys = [dict(zip(columns, change.values, strict=True)) for change in changes]
            check_rows(self._key_checks, keys)
        if self._checks:
            check_rows(self._checks, [change.row for change in changes if change.row is not None])

    def _still_newest(self, connection: Connection, changes: list[_Change]) -> list[_Change]:
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

    def _apply(self, connection: Connection, changes: list[_Change]) -> None:
        rows = [change.row for change in changes if change.row is not None]
        if rows:
            connection.execute(self._upsert, rows)
        gone = [change.values for change in changes if change.row is None]
        if gone:
            single = len(self._key) == 1
            connection.execute(self._delete, {KEYS: [v[0] for v in gone] if single else gone})

    def _change(self, event: Event[T]) -> _Change:
        row = self._row(event)
        if row is None:
            values = self._key_values(event.key)
        else:
            values = tuple(row[field.column] for field in self._key)
            if self._forms:
                pairs = zip(self._key, values, strict=True)
                values = tuple(field.canonical(value) for field, value in pairs)
        if None in values:
            raise NoData(f"a value of the key ({self._key_names}) is null")
        key, deleted = join_key([str(value) for value in values]), event.change == "delete"
        # Most keys are equal as they stand; a moment or a boolean may be written in another way.
        if event.key != key and not deleted and not self._stands_for(event.key, values):
            raise DataError(
                f"the event's key is not that of its row ({self._key_names}), so that a delete "
                "would not find the row: let the route return Message(data, key=the row's key)"
            )
        return _Change(
            key=key,
            values=values,
            row=None if deleted else row,
            inbox=_inbox(event),
            position=event.sequence,
        )

    def _stands_for(self, key: str, values: tuple[Any, ...]) -> bool:
        """Whether the text of an event key is that of these values."""
        try:
            return self._key_values(key) == values
        except DataError:
            return False

    def _row(self, event: Event[T]) -> dict[str, Any] | None:
        if event.change == "truncate":
            raise NoData("a truncate is not delivered to a table: empty it by hand if it is meant")
        if event.value is None and event.change == "delete":
            return None
        data: Any = event.data
        return {field.column: data.get(field.name) for field in self._fields}

    def _key_values(self, key: str) -> tuple[Any, ...]:
        texts = split_key(key)
        if len(texts) != len(self._key):
            raise NoData(f"the event's key does not hold a value each for {self._key_names}")
        return tuple(field.parsed(text) for field, text in zip(self._key, texts, strict=True))


def _values_of(events: Sequence[Event[Any]]) -> Iterator[Any]:
    """What the events hold, keys included; of one that cannot be read its key alone."""
    for event in events:
        yield from split_key(event.key)
        try:
            if event.value is not None:
                yield event.data
        except DataError:
            continue


def _inbox(event: Event[Any]) -> str:
    """The inbox partition that the position counts in; an event of a retry tier keeps its own."""
    return f"{destination_of(event.inbox) or event.inbox}/{event.partition}"
