"""Where a source begins: publication, slot and snapshot, and what is taken away if that fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.postgres import catalog, publication, slots, snapshot
from trunkline.connectors.postgres.capture import Capture
from trunkline.connectors.postgres.connection import Connection, Stopped, connect
from trunkline.connectors.postgres.validity import Validity
from trunkline.errors import ConfigurationError, SourceError, TrunklineError
from trunkline.event import Record

log = logging.getLogger(__name__)

_SNAPSHOTS_AT_ONCE = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 1800.0
"""After so many snapshots that were interrupted, seconds before the next one, doubled each time."""
_WATCH_SLOT = 5.0
"""Seconds of a snapshot between two looks whether its slot is still there."""


class Beginning:
    """Everything before the changes. ``with_snapshot``: whether the rows are read first."""

    def __init__(
        self, capture: Capture, stop: threading.Event, *, with_snapshot: bool, batch: int
    ) -> None:
        self._capture = capture
        self._stop = stop
        self._with_snapshot = with_snapshot
        self._batch = batch
        self._useless_slot = False  # whether a slot of ours has a snapshot that is not finished
        self._useless_publication = False  # whether we made it, and have no slot yet

    def batches(self, position: Position | None) -> Generator[Batch, None, Position]:
        """Reads the snapshot if there is to be one.

        Gives out its batches and returns the position where the changes start. ``position``: None
        for a source that never ran, else that of a snapshot which was interrupted.
        """
        capture = self._capture
        with capture.connected() as connection:
            there = self._prepare(connection, owned=position is not None)
            attempt = 1 + (position or {}).get("attempt", 0)
            self._slow_down(attempt)
            tables, validity = capture.now(connection)
            # Before any row is read: a partition that is attached from now on is new to the
            # changes, and is read then. Its rows may be in no snapshot.
            capture.know_partitions(connection, tables)
            if there:
                point = slots.point(connection, capture.slot)
            elif self._with_snapshot:
                point = yield from self._snapshot(connection, (tables, validity), attempt)
            else:
                with self._new_slot() as (point, _):
                    pass
        self._useless_slot = self._useless_publication = False
        start = capture.position(point, validity)
        yield Batch([], start, current=False)
        return start

    def undo(self) -> None:
        """Drops what is of no use: the slot of an unfinished snapshot (a snapshot lives as long as
        its connection, so the next start takes a new one, with a new slot); and a publication that
        was made just now, for a start that then failed."""
        if not (self._useless_slot or self._useless_publication):
            return
        try:
            with closing(connect(self._capture.dsn)) as connection:
                if self._useless_slot:
                    slots.drop(connection, self._capture.slot)
                if self._useless_publication:
                    publication.drop(connection, self._capture.publication)
        except TrunklineError as error:
            log.warning("slot or publication of a start that failed is left: %s", error)

    def _prepare(self, connection: Connection, *, owned: bool) -> bool:
        """Checks the server and the tables, and makes the publication, last: from then on the
        server checks what the application does to the tables.

        Returns whether a slot is there already, from which changes are read (that somebody has made
        it is meant with ``snapshot="never"`` only). ``owned``: the stored position says that it is
        of our own unfinished snapshot; then it is dropped. Raises ConfigurationError for a slot
        that may be another source's.
        """
        capture = self._capture
        catalog.require_logical(connection)
        if capture.failover:
            slots.require_copies(connection)
        there = slots.is_free(connection, capture.slot, self._stop, lost_too=owned)
        if there and owned:
            slots.drop(connection, capture.slot)
            there = False
        if there and self._with_snapshot:
            raise ConfigurationError(slots.foreign(capture.slot))
        made = publication.publish(connection, capture.publication, capture.streams)
        self._useless_publication = made and not there
        return there

    def _slow_down(self, attempt: int) -> None:
        """Waits before a snapshot that was interrupted again and again: each one publishes the
        same rows, and a topic full of them helps nobody."""
        if attempt <= _SNAPSHOTS_AT_ONCE:
            return
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - _SNAPSHOTS_AT_ONCE - 1))
        log.error(
            "the snapshot for slot %s was interrupted %d times, and publishes its rows again each "
            "time: see the errors above, and mend their cause. The next one begins in %.0f s",
            self._capture.slot,
            attempt - 1,
            pause,
        )
        if self._stop.wait(pause):
            raise Stopped

    def _snapshot(
        self, connection: Connection, now: tuple[list[catalog.Table], Validity], attempt: int
    ) -> Generator[Batch, None, str]:
        capture = self._capture
        position: Position = {"phase": "snapshot", "slot": capture.slot, "attempt": attempt}
        # Stored before the slot is made: a worker that is killed right after making it leaves a
        # position that claims the slot, and the next one drops it. The other way round the slot
        # would be nobody's, and would keep WAL until the disk is full.
        yield Batch([], position, current=False)
        types = capture.types(connection)
        with self._new_slot() as (point, name):
            self._useless_slot, self._useless_publication = True, False
            taken = snapshot.take_up(connection, name)
            snapshot.lock(connection, now[0])
        if capture.now(connection) != now:
            raise SourceError("a table was altered while its snapshot began")
        position = position | {"lsn": point}
        for table in now[0]:
            about = snapshot.estimate(connection, table)
            portions = snapshot.table_records(connection, table, types, point, taken, self._batch)
            with closing(portions):
                yield from self._watched(portions, position, table.stream, about)
        return point

    def _new_slot(self) -> AbstractContextManager[tuple[str, str]]:
        capture = self._capture
        return snapshot.new_slot(capture.dsn, capture.slot, self._stop, failover=capture.failover)

    def _watched(
        self, portions: Iterator[list[Record]], position: Position, stream: str, about: int | None
    ) -> Iterator[Batch]:
        """A table's batches, while the slot is there: without it all of them are in vain."""
        looked, rows = time.monotonic(), 0
        for records in portions:
            rows += len(records)
            progress = {"of": stream, "rows": rows, "about": about}
            yield Batch(records, position | {"progress": progress}, current=False)
            if self._stop.is_set():
                raise Stopped
            if time.monotonic() - looked > _WATCH_SLOT:
                with self._capture.connected() as other:
                    slots.require_kept(other, self._capture.slot)
                looked = time.monotonic()
