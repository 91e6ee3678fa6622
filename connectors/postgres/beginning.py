"""Where a source begins: publication, slot and snapshot, and what is taken away if that fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.postgres import blocks, catalog, publication, slots, snapshot
from trunkline.connectors.postgres.capture import Capture
from trunkline.connectors.postgres.connection import Connection, Stopped, connect
from trunkline.connectors.postgres.initial import Initial
from trunkline.connectors.postgres.validity import Validity
from trunkline.errors import ConfigurationError, SourceError, TrunklineError

log = logging.getLogger(__name__)

_WATCH_SLOT = 5.0
"""Seconds of a snapshot between two looks whether its slot is still there."""


class Beginning:
    """Everything before the changes. ``with_snapshot``: whether the rows are read first;
    ``readers``: by how many connections."""

    def __init__(
        self,
        capture: Capture,
        stop: threading.Event,
        *,
        with_snapshot: bool,
        batch: int,
        readers: int,
    ) -> None:
        self._capture = capture
        self._stop = stop
        self._with_snapshot = with_snapshot
        self._batch = batch
        self._readers = readers
        self._useless_slot = False  # whether we made it, and no position tells from where it is
        self._useless_publication = False  # whether we made it, and have no slot yet

    def batches(self, position: Position | None) -> Generator[Batch, None, Position]:
        """Reads the snapshot if there is to be one.

        Gives out its batches and returns the position where the changes start. ``position``: None
        for a source that never ran, else that of a snapshot of which no row was read.
        """
        capture = self._capture
        with capture.connected() as connection:
            there = self._prepare(connection, owned=position is not None)
            tables, validity = capture.now(connection)
            # Before any row is read: a partition that is attached from now on is new to the
            # changes, and is read then. Its rows may be in no snapshot.
            capture.know_partitions(connection, tables)
            if there:
                point = slots.point(connection, capture.slot)
            elif self._with_snapshot:
                point = yield from self._snapshot(connection, tables, validity)
            else:
                with self._new_slot() as (point, _):
                    pass
        self._useless_slot = self._useless_publication = False
        start = capture.position(point, validity)
        yield Batch([], start, current=False)
        return start

    def undo(self) -> None:
        """Drops what is of no use after a start that failed: a slot that no position knows, and a
        publication that was made just now."""
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

    def _snapshot(
        self, connection: Connection, tables: list[catalog.Table], validity: Validity
    ) -> Generator[Batch, None, str]:
        capture = self._capture
        # Stored before the slot is made: a worker that is killed right after making it leaves a
        # position that claims the slot, and the next one drops it. The other way round the slot
        # would be nobody's, and would keep WAL until the disk is full.
        yield Batch([], {"phase": "snapshot", "slot": capture.slot}, current=False)
        types = capture.types(connection)
        extents = [blocks.extent(connection, table) for table in tables]
        with ExitStack() as opened:
            with self._new_slot() as (point, name):
                self._useless_slot, self._useless_publication = True, False
                readers = [opened.enter_context(capture.connected()) for _ in range(self._readers)]
                (taken, *_) = [snapshot.take_up(reader, name) for reader in readers]
            for reader in readers:  # each: the others may lose their connections
                snapshot.lock(reader, tables)
            # Not before: rows that the snapshot sees were written meanwhile.
            measured = [blocks.extent(connection, table) for table in tables]
            rewritten = any(a.mark != b.mark for a, b in zip(extents, measured, strict=True))
            if rewritten or capture.now(readers[0]) != (tables, validity):
                raise SourceError("a table was altered while its snapshot began")
            found = list(zip(tables, measured, strict=True))
            initial = Initial(readers, found, types, point, taken, batch=self._batch)
            start = capture.position(point, validity) | {"phase": "snapshot"}
            self._useless_slot = False  # from now on the position goes on with it
            yield Batch([], start | {"snapshots": initial.states}, current=False)
            yield from self._watched(initial, start)
        return point

    def _new_slot(self) -> AbstractContextManager[tuple[str, str]]:
        capture = self._capture
        return snapshot.new_slot(capture.dsn, capture.slot, self._stop, failover=capture.failover)

    def _watched(self, initial: Initial, start: Position) -> Iterator[Batch]:
        """The batches, while the slot is there: without it all of them are in vain."""
        looked = time.monotonic()
        with closing(initial.batches()) as batches:
            for records, position in batches:
                yield Batch(records, start | position, current=False)
                if self._stop.is_set():
                    raise Stopped
                if time.monotonic() - looked > _WATCH_SLOT:
                    with self._capture.connected() as other:
                        slots.require_kept(other, self._capture.slot)
                    looked = time.monotonic()
