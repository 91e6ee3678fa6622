"""PostgresCDC: the rows of PostgreSQL tables, first as they are, then every change of them."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from trunkline.connectors.base import Batch, Position, Source
from trunkline.connectors.postgres.decoder import Decoder, lsn_number, lsn_text
from trunkline.connectors.postgres.values import UNCHANGED
from trunkline.errors import ConfigurationError, MissingExtra, SourceError, TrunklineError
from trunkline.event import Record
from trunkline.params import Secret, revealed

_HAS_DRIVER = find_spec("psycopg2") is not None
if TYPE_CHECKING or _HAS_DRIVER:  # without it the constructor says which extra to install
    from trunkline.connectors.postgres import catalog, publication, slots, snapshot
    from trunkline.connectors.postgres.capture import Capture
    from trunkline.connectors.postgres.connection import Connection, Stopped, connect
    from trunkline.connectors.postgres.stream import Stream
    from trunkline.connectors.postgres.validity import Validity

log = logging.getLogger(__name__)

_WAIT = 0.2
"""Seconds of waiting for the server before looking at ``stop``."""
_SOON, _LATER = 1.0, 10.0
"""Seconds until an empty batch is given out when nothing comes: after records, after another one.

The engine acknowledges a large batch when it gets the next one. Without a next one the server would
not hear that the last records are published, and keep their WAL while the tables are quiet.
"""
_ASK, _ASK_IDLE = 60.0, 10.0
"""Seconds between two questions whether publication and tables are still the same: while changes
come, and when they have ceased (since when nothing may have been recorded)."""
_SNAPSHOTS_AT_ONCE = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 1800.0
"""After so many snapshots that were interrupted, seconds before the next one, doubled each time."""
_WATCH_SLOT = 5.0
"""Seconds of a snapshot between two looks whether its slot is still there."""
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
    with REPLICA IDENTITY FULL. By default a marker that no Avro type accepts. ``json``: "parsed"
    makes values of json and jsonb, "text" leaves them as the server writes them.

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
        json: Literal["parsed", "text"] = "parsed",
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
        self._json_as_text = json == "text"
        self._stream: Stream | None = None
        self._acknowledged = 0
        self._useless_slot = False  # whether a slot of ours has a snapshot that is not finished
        self._useless_publication = False  # whether we made it, and have no slot yet
        _check(self.tables, self.slot, batch)

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"phase": "snapshot", "slot": …}``, then
        ``{"phase": "stream", "slot": …, "lsn": …, "of": …}``, inside a transaction also its
        ``commit`` LSN and the ``index`` of the last change given out. ``of`` is what the position
        is valid for: system, publication and tables."""
        if position is not None and position.get("slot") != self.slot:
            raise ConfigurationError(slots.misplaced(position.get("slot"), self.slot))
        capture = Capture(
            revealed(self._dsn),
            self.slot,
            self.publication,
            self.tables,
            stop,
            json_as_text=self._json_as_text,
        )
        try:
            if position is None or position["phase"] == "snapshot":
                position = yield from self._begin(position, capture, stop)
            yield from self._changes(position, capture, stop)
        except Stopped as stopped:
            if not stop.is_set():
                raise SourceError(f"somebody cancelled {stopped}") from None

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the tables."""
        return tuple(self.tables)

    def acknowledge(self, position: Position) -> None:
        """See ``Source.acknowledge``: the slot moves on to the last whole transaction."""
        if self._stream is not None and position["phase"] == "stream":
            self._acknowledged = lsn_number(position["lsn"])
            self._stream.acknowledge(self._acknowledged)

    def close(self) -> None:
        """Closes the connections. The slot stays, and with it the WAL that it needs.

        The slot of an unfinished snapshot is dropped: a snapshot lives as long as its connection,
        so the next start takes a new one, with a new slot, and nobody would read this one. So is
        a publication that was made just now, for a start that then failed.
        """
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._useless_slot or self._useless_publication:
            self._drop_useless()

    def traces(self) -> Sequence[str]:
        """See ``Source.traces``."""
        return [f"replication slot {self.slot}", f"publication {self.publication}"]

    def drop(self) -> None:
        """Drops slot and publication, for good: the server forgets this source. Raises
        SourceError while the slot is in use."""
        with closing(self._connect()) as connection:
            slots.drop(connection, self.slot)
            publication.drop(connection, self.publication)

    def _connect(self) -> Connection:
        return connect(revealed(self._dsn))

    def _begin(
        self, position: Position | None, capture: Capture, stop: threading.Event
    ) -> Generator[Batch, None, Position]:
        """Everything before the changes: reads the snapshot if there is to be one.

        Gives out its batches and returns the position where the changes start. ``position``: None
        for a source that never ran, else that of a snapshot which was interrupted.
        """
        with capture.connected() as connection:
            there = self._prepare(connection, stop, owned=position is not None)
            attempt = 1 + (position or {}).get("attempt", 0)
            self._slow_down(attempt, stop)
            tables, validity = capture.now(connection)
            if there:
                point = slots.point(connection, self.slot)
            elif self._with_snapshot:
                now = tables, validity
                point = yield from self._snapshot(connection, capture, now, attempt, stop)
            else:
                with snapshot.new_slot(revealed(self._dsn), self.slot, stop) as (point, _):
                    pass
        self._useless_slot = self._useless_publication = False
        start = self._position(point, validity)
        yield Batch([], start, current=False)
        return start

    def _prepare(self, connection: Connection, stop: threading.Event, *, owned: bool) -> bool:
        """Checks the server and the tables, and makes the publication, last: from then on the
        server checks what the application does to the tables.

        Returns whether a slot is there already, from which changes are read (that somebody has made
        it is meant with ``snapshot="never"`` only). ``owned``: the stored position says that it is
        of our own unfinished snapshot; then it is dropped. Raises ConfigurationError for a slot
        that may be another source's.
        """
        catalog.require_logical(connection)
        there = self._has_slot(connection, stop, owned=owned)
        if there and owned:
            slots.drop(connection, self.slot)
            there = False
        if there and self._with_snapshot:
            raise ConfigurationError(slots.foreign(self.slot))
        made = publication.publish(connection, self.publication, self.tables)
        self._useless_publication = made and not there
        return there

    def _slow_down(self, attempt: int, stop: threading.Event) -> None:
        """Waits before a snapshot that was interrupted again and again: each one publishes the
        same rows, and a topic full of them helps nobody."""
        if attempt <= _SNAPSHOTS_AT_ONCE:
            return
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - _SNAPSHOTS_AT_ONCE - 1))
        log.error(
            "the snapshot for slot %s was interrupted %d times, and publishes its rows again each "
            "time: see the errors above, and mend their cause. The next one begins in %.0f s",
            self.slot,
            attempt - 1,
            pause,
        )
        if stop.wait(pause):
            raise Stopped

    def _snapshot(
        self,
        connection: Connection,
        capture: Capture,
        now: tuple[list[catalog.Table], Validity],
        attempt: int,
        stop: threading.Event,
    ) -> Generator[Batch, None, str]:
        position: Position = {"phase": "snapshot", "slot": self.slot, "attempt": attempt}
        # Stored before the slot is made: a worker that is killed right after making it leaves a
        # position that claims the slot, and the next one drops it. The other way round the slot
        # would be nobody's, and would keep WAL until the disk is full.
        yield Batch([], position, current=False)
        types = capture.types(connection)
        with snapshot.new_slot(revealed(self._dsn), self.slot, stop) as (point, name):
            self._useless_slot, self._useless_publication = True, False
            taken = snapshot.take_up(connection, name)
            snapshot.lock(connection, now[0])
        if capture.now(connection) != now:
            raise SourceError("a table was altered while its snapshot began")
        position = position | {"lsn": point}
        rows = snapshot.tables_records(connection, now[0], types, point, taken, self._batch)
        with closing(rows):
            yield from self._watched(rows, position, capture, stop)
        return point

    def _watched(
        self,
        rows: Iterator[list[Record]],
        position: Position,
        capture: Capture,
        stop: threading.Event,
    ) -> Iterator[Batch]:
        """The snapshot's batches, while its slot is there: without it all of them are in vain."""
        looked = time.monotonic()
        for records in rows:
            yield Batch(records, position, current=False)
            if stop.is_set():
                raise Stopped
            if time.monotonic() - looked > _WATCH_SLOT:
                with capture.connected() as other:
                    slots.require_kept(other, self.slot)
                looked = time.monotonic()

    def _changes(
        self, position: Position, capture: Capture, stop: threading.Event
    ) -> Iterator[Batch]:
        """The changes, batch by batch. What was decoded before an error is given out before it is
        raised: it would come again, but under what the tables are called by then."""
        decoder = self._decoder(position, capture, stop)
        self._acknowledged = decoder.end
        stream = Stream(revealed(self._dsn), self.slot, self.publication, decoder, stop)
        self._stream, asked = stream, time.monotonic()
        due, ask_after, more, error = asked + _SOON, _ASK, False, None
        current = False  # whether it is known that we stand at the server's end
        while error is None and not stop.is_set():
            try:
                more = stream.receive(self._batch)
                if time.monotonic() - asked > ask_after:
                    self._ask(capture)
                    asked, ask_after = time.monotonic(), _ASK
            except TrunklineError as raised:
                error, self._stream = raised, None  # nothing can be acknowledged any more
                stream.close()
            if decoder.records:
                current = error is None and not more and not decoder.commit
                yield Batch(decoder.take(), self._stands(decoder, capture), current)
                due = time.monotonic() + _SOON
            elif (decoder.end > self._acknowledged or not current) and (
                error or time.monotonic() >= due
            ):
                current = error is None and not more and not decoder.commit
                yield Batch([], self._stands(decoder, capture), current)
                due, ask_after = time.monotonic() + _LATER, _ASK_IDLE
            elif error is None and not more:
                if decoder.end == self._acknowledged:
                    stream.keep_alive()
                stream.wait(_WAIT)
        if error is not None:
            raise error

    def _ask(self, capture: Capture) -> None:
        """Whether all is still the same. A server that does not let us ask is asked later."""
        try:
            capture.ask()
        except SourceError as error:
            log.warning("source of slot %s could not ask for its tables: %s", self.slot, error)

    def _decoder(self, position: Position, capture: Capture, stop: threading.Event) -> Decoder:
        lsn = lsn_number(position["lsn"])
        with capture.connected() as connection:
            catalog.require_logical(connection)
            if not self._has_slot(connection, stop):
                raise ConfigurationError(slots.gone(self.slot))
            capture.resume(connection, position.get("of"))
            catalog.require_reached(connection, lsn)
            if "of" in position:
                slots.require_from(connection, self.slot, lsn)
            else:
                log.warning(_UNCHECKED, self.slot)
        return Decoder(
            capture.wanted,
            capture.types_of,
            ask=capture.ask,
            unchanged=self._unchanged,
            end=lsn,
            commit=lsn_number(position.get("commit", "0/0")),
            index=position.get("index", 0),
        )

    def _has_slot(
        self, connection: Connection, stop: threading.Event, *, owned: bool = False
    ) -> bool:
        """Whether the slot is there. Waits up to ``_HANDOVER`` for a reader that is still in it.
        ``owned``: it is to be dropped, so it may be lost."""
        deadline = time.monotonic() + _HANDOVER
        while True:
            try:
                return slots.is_there(connection, self.slot, lost_too=owned)
            except slots.SlotInUse:
                if time.monotonic() > deadline:
                    raise
            if stop.wait(_WAIT):
                raise Stopped

    def _position(self, lsn: str, validity: Validity | None) -> Position:
        position: Position = {"phase": "stream", "slot": self.slot, "lsn": lsn}
        if validity is not None:
            position["of"] = validity.as_json()
        return position

    def _stands(self, decoder: Decoder, capture: Capture) -> Position:
        position = self._position(lsn_text(decoder.end), capture.validity)
        if decoder.commit:
            position |= {"commit": lsn_text(decoder.commit), "index": decoder.index}
        return position

    def _drop_useless(self) -> None:
        try:
            with closing(self._connect()) as connection:
                if self._useless_slot:
                    slots.drop(connection, self.slot)
                if self._useless_publication:
                    publication.drop(connection, self.publication)
        except TrunklineError as error:
            log.warning("slot or publication of a start that failed is left: %s", error)


_UNCHECKED = (
    "the stored position of slot %s is of an earlier version, and does not tell which publication "
    "and tables it is of: from now on it does. If slot, publication or a table was dropped and "
    "made again since it was stored, take a new snapshot"
)


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
