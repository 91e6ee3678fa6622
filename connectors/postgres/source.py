"""PostgresCDC: the rows of PostgreSQL tables, first as they are, then every change of them."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from trunkline.connectors.base import Batch, Position, Source
from trunkline.connectors.postgres.decoder import Decoder, lsn_number, lsn_text
from trunkline.connectors.postgres.values import UNCHANGED, Types
from trunkline.errors import ConfigurationError, MissingExtra, SourceError, TrunklineError
from trunkline.params import Secret, revealed

_HAS_DRIVER = find_spec("psycopg2") is not None
if TYPE_CHECKING or _HAS_DRIVER:  # without it the constructor says which extra to install
    from trunkline.connectors.postgres import catalog, snapshot
    from trunkline.connectors.postgres.connection import (
        Connection,
        Stopped,
        connect,
        connect_or_stop,
        stoppable,
    )
    from trunkline.connectors.postgres.stream import Stream

log = logging.getLogger(__name__)

_WAIT = 0.2
"""Seconds of waiting for the server before looking at ``stop``."""
_SOON, _LATER = 1.0, 10.0
"""Seconds until an empty batch is given out when nothing comes: after records, after another one.

The engine acknowledges a large batch when it gets the next one. Without a next one the server would
not hear that the last records are published, and keep their WAL while the tables are quiet.
"""
_HANDOVER = 5.0
"""Seconds that a slot may still be in use when we start: the worker before us has just ended,
and the server needs a moment to notice."""
_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")


class PostgresCDC(Source):
    """Change data capture from PostgreSQL 14 or newer, by logical replication (pgoutput).

    ``dsn``: a connection string; its role needs REPLICATION, SELECT on the tables and, unless
    the publication is there, CREATE on the database and the tables' ownership.
    ``tables``: ``schema.table`` as the catalog writes the names; ``public.`` may be left out.
    ``slot``: the replication slot, made at the first start; derived from the tables' names, so
    two sources of the same tables need a name each. ``publication``: as the slot unless given.
    ``snapshot``: "initial" reads all rows before the changes; "never" begins with the changes,
    at the slot's own position if somebody made it before. ``batch``: records of a batch.
    ``unchanged``: stands for large values that an update left alone, which PostgreSQL sends only
    with REPLICA IDENTITY FULL. By default a marker that no Avro type accepts.

    Records: ``key`` is the replica identity's (primary key's) text, ``data`` column → value,
    ``stream`` the ``schema.table``; an update of the key is a delete and a create.

    Guarantees: no gap and no duplicate between snapshot and changes; changes in the order of
    their commits; a change read again has the same id. A snapshot that was interrupted starts
    again, with a new slot and new ids.

    Raises MissingExtra without psycopg2 and ConfigurationError for names that cannot be;
    ``read`` raises ConfigurationError with the SQL to run for what a person must mend,
    and SourceError for what may pass.
    """

    def __init__(
        self,
        dsn: Secret | str,
        tables: Sequence[str],
        *,
        slot: str = "",
        publication: str = "",
        snapshot: Literal["initial", "never"] = "initial",
        batch: int = 2000,
        unchanged: object = UNCHANGED,
    ) -> None:
        if not _HAS_DRIVER:
            raise MissingExtra("PostgresCDC", "postgres")
        self._dsn = dsn
        self.tables = [name if "." in name else f"public.{name}" for name in tables]
        self.slot = slot or _derived(self.tables)
        self.publication = publication or self.slot
        self._with_snapshot = snapshot == "initial"
        self._batch = batch
        self._unchanged = unchanged
        self._stream: Stream | None = None
        self._acknowledged = 0
        self._useless_slot = False  # whether a slot of ours has a snapshot that is not finished
        self._types = Types()
        _check(self.tables, self.slot, batch)

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"phase": "snapshot", "slot": …}``, then
        ``{"phase": "stream", "slot": …, "lsn": …}``, inside a transaction also its ``commit``
        LSN and the ``index`` of the last change given out."""
        if position is not None and position.get("slot") != self.slot:
            raise ConfigurationError(_misplaced(position.get("slot"), self.slot))
        try:
            if position is None or position["phase"] == "snapshot":
                position = yield from self._begin(position, stop)
            yield from self._changes(position, stop)
        except Stopped as stopped:
            if not stop.is_set():
                raise SourceError(f"somebody cancelled {stopped}") from None

    def acknowledge(self, position: Position) -> None:
        """See ``Source.acknowledge``: the slot moves on to the last whole transaction."""
        if self._stream is not None and position["phase"] == "stream":
            self._acknowledged = lsn_number(position["lsn"])
            self._stream.acknowledge(self._acknowledged)

    def close(self) -> None:
        """Closes the connections. The slot stays, and with it the WAL that it needs.

        The slot of an unfinished snapshot is dropped: a snapshot lives as long as its connection,
        so the next start takes a new one, with a new slot, and nobody would read this one.
        """
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._useless_slot:
            self._drop_useless_slot()

    def drop(self) -> None:
        """Drops slot and publication, for good: the server forgets this source. Raises
        SourceError while the slot is in use."""
        with closing(self._connect()) as connection:
            catalog.drop_slot(connection, self.slot)
            catalog.drop_publication(connection, self.publication)

    def _connect(self) -> Connection:
        return connect(revealed(self._dsn))

    @contextmanager
    def _connected(self, stop: threading.Event) -> Iterator[Connection]:
        """A connection whose statements ``stop`` cancels, however long a lock keeps them."""
        with (
            closing(connect_or_stop(revealed(self._dsn), stop)) as connection,
            stoppable(connection, stop),
        ):
            yield connection

    def _begin(
        self, position: Position | None, stop: threading.Event
    ) -> Generator[Batch, None, Position]:
        """Everything before the changes: reads the snapshot if there is to be one.

        Gives out its batches and returns the position where the changes start. ``position``: None
        for a source that never ran, else that of a snapshot which was interrupted.
        """
        with self._connected(stop) as connection:
            there = self._prepare(connection, stop, owned=position is not None)
            if there:
                point = catalog.slot_point(connection, self.slot)
            elif self._with_snapshot:
                point = yield from self._snapshot(connection, stop)
            else:
                with snapshot.new_slot(revealed(self._dsn), self.slot, stop) as (point, _):
                    pass
        self._useless_slot = False
        start: Position = {"phase": "stream", "slot": self.slot, "lsn": point}
        yield Batch([], start)
        return start

    def _prepare(self, connection: Connection, stop: threading.Event, *, owned: bool) -> bool:
        """Checks the server and the tables, and makes the publication.

        Returns whether a slot is there already, from which changes are read (that somebody has made
        it is meant with ``snapshot="never"`` only). ``owned``: the stored position says that it is
        of our own unfinished snapshot; then it is dropped. Raises ConfigurationError for a slot
        that may be another source's.
        """
        catalog.require_logical(connection)
        tables = catalog.describe(connection, self.tables)
        catalog.publish(connection, self.publication, tables)
        if not self._has_slot(connection, stop):
            return False
        if owned:
            catalog.drop_slot(connection, self.slot)
            return False
        if self._with_snapshot:
            raise ConfigurationError(_foreign(self.slot))
        return True

    def _snapshot(
        self, connection: Connection, stop: threading.Event
    ) -> Generator[Batch, None, str]:
        position: Position = {"phase": "snapshot", "slot": self.slot}
        # Stored before the slot is made: a worker that is killed right after making it leaves a
        # position that claims the slot, and the next one drops it. The other way round the slot
        # would be nobody's, and would keep WAL until the disk is full.
        yield Batch([], position)
        types, tables = catalog.load_types(connection), self._published(connection)
        with snapshot.new_slot(revealed(self._dsn), self.slot, stop) as (point, name):
            self._useless_slot = True
            taken = snapshot.take_up(connection, name)
            snapshot.lock(connection, tables)
        if self._published(connection) != tables:
            raise SourceError("a table was altered while its snapshot began")
        position = position | {"lsn": point}
        rows = snapshot.tables_records(connection, tables, types, point, taken, self._batch)
        for records in rows:
            yield Batch(records, position)
            if stop.is_set():
                raise Stopped
        return point

    def _published(self, connection: Connection) -> list[catalog.Table]:
        tables = catalog.describe(connection, self.tables)
        return catalog.published(connection, self.publication, tables)

    def _changes(self, position: Position, stop: threading.Event) -> Iterator[Batch]:
        decoder = self._decoder(position, stop)
        self._acknowledged = decoder.end
        stream = Stream(revealed(self._dsn), self.slot, self.publication, decoder, stop)
        self._stream, due = stream, 0.0
        while not stop.is_set():
            more = stream.receive(self._batch)
            if decoder.records:
                yield Batch(decoder.take(), self._position(decoder))
                due = time.monotonic() + _SOON
            elif decoder.end > self._acknowledged and time.monotonic() >= due:
                yield Batch([], self._position(decoder))
                due = time.monotonic() + _LATER
            elif not more:
                stream.wait(_WAIT)

    def _decoder(self, position: Position, stop: threading.Event) -> Decoder:
        with self._connected(stop) as connection:
            catalog.require_logical(connection)
            if not self._has_slot(connection, stop):
                raise ConfigurationError(_gone(self.slot))
            catalog.require_reached(connection, lsn_number(position["lsn"]))
            tables = self._published(connection)
            self._types = catalog.load_types(connection)
        return Decoder(
            {table.stream: table.key for table in tables},
            self._types_of,
            unchanged=self._unchanged,
            end=lsn_number(position["lsn"]),
            commit=lsn_number(position.get("commit", "0/0")),
            index=position.get("index", 0),
        )

    def _has_slot(self, connection: Connection, stop: threading.Event) -> bool:
        """Whether the slot is there. Waits up to ``_HANDOVER`` for a reader that is still in it."""
        deadline = time.monotonic() + _HANDOVER
        while True:
            try:
                return catalog.has_slot(connection, self.slot)
            except catalog.SlotInUse:
                if time.monotonic() > deadline:
                    raise
            if stop.wait(_WAIT):
                raise Stopped

    def _types_of(self, oids: Collection[int]) -> Types:
        """The database's types, read again where one of ``oids`` was made since the last time."""
        if not self._types.known.issuperset(oids):
            with closing(self._connect()) as connection:
                self._types = catalog.load_types(connection)
        return self._types

    def _position(self, decoder: Decoder) -> Position:
        position: Position = {
            "phase": "stream",
            "slot": self.slot,
            "lsn": lsn_text(decoder.end),
        }
        if decoder.commit:
            position |= {"commit": lsn_text(decoder.commit), "index": decoder.index}
        return position

    def _drop_useless_slot(self) -> None:
        try:
            with closing(self._connect()) as connection:
                catalog.drop_slot(connection, self.slot)
        except TrunklineError as error:
            log.warning("slot %s of an unfinished snapshot is left: %s", self.slot, error)


def _derived(tables: Sequence[str]) -> str:
    return "trunkline_" + hashlib.sha256("\n".join(sorted(tables)).encode()).hexdigest()[:12]


def _check(tables: Sequence[str], slot: str, batch: int) -> None:
    if not tables:
        raise ConfigurationError("tables= is empty: name at least one table")
    if len(set(tables)) < len(tables):
        raise ConfigurationError(f"tables= names a table twice: {', '.join(tables)}")
    if not _SLOT_NAME.fullmatch(slot):
        raise ConfigurationError(
            f"slot={slot!r} is no slot name: up to 63 lower-case letters, digits and underscores"
        )
    if batch < 1:
        raise ConfigurationError(f"batch={batch}: must be at least 1")


def _foreign(slot: str) -> str:
    return (
        f"slot {slot} is there already, but this source has no position: the slot belongs to "
        "another source (give this one another slot=), or the position was reset. In that case "
        f"run SELECT pg_drop_replication_slot('{slot}'); to begin with a new snapshot"
    )


def _misplaced(stored: object, slot: str) -> str:
    return (
        f"the stored position belongs to slot {stored}, the source has {slot}: "
        f"set slot={stored!r}, or reset the position to begin with a new snapshot"
    )


def _gone(slot: str) -> str:
    return (
        f"slot {slot} was dropped: the changes since then are lost to this source. Reset its "
        "position to begin with a new snapshot"
    )
