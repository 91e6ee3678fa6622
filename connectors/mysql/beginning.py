"""Everything before the changes alone: the first snapshot, and the rest of one that was
interrupted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from math import inf

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.mysql import catalog, snapshot
from trunkline.connectors.mysql.capture import Capture
from trunkline.connectors.mysql.changes import (
    Changes,
    Read,
    position_of,
    stream_of,
    warn_of_cascades,
)
from trunkline.connectors.mysql.places import Place
from trunkline.connectors.mysql.preflight import Server
from trunkline.connectors.mysql.rest import Rest
from trunkline.connectors.mysql.session import Session, Stopped
from trunkline.connectors.mysql.snapshot import Point
from trunkline.connectors.mysql.stream import begun_at, require_right
from trunkline.errors import SourceError

log = logging.getLogger(__name__)

_SNAPSHOTS_AT_ONCE = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 1800.0
"""After so many snapshots that were interrupted, seconds before the next one, doubled each time."""
_PORTION = 30.0
"""Seconds for which rows are read of one snapshot, when an interrupted one goes on: then come the
changes since. Of MySQL all rows that are left are read of one, as each holds up its writers."""


class Beginning:
    """Begins a source. For the source's thread; ``close`` ends what is under way."""

    def __init__(self, capture: Capture, *, with_snapshot: bool) -> None:
        self._capture = capture
        self._stop = capture.stop
        self._with_snapshot = with_snapshot
        self._changes: Changes | None = None

    def close(self) -> None:
        """End the connection that reads changes, if there is one."""
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    def first(self, attempt: int) -> Generator[Batch, None, Position]:
        """The first snapshot; returns the position where the changes start."""
        _slow_down(attempt, self._stop)
        capture = self._capture
        require_right(capture.arguments, capture.server_id, self._stop)
        with closing(capture.connected()) as session:
            server = capture.prepared(session)
            if self._with_snapshot:
                yield Batch([], {"phase": "snapshot", "attempt": attempt}, current=False)
            _warn_of_prepared(session)
            point = snapshot.take(session, server)
            # Now: while the rows are read, somebody may make the log anew, with the same names.
            made = begun_at(capture.arguments, server, capture.asks_as, point.file, self._stop)
            place = Place(point.file, point.at, made)
            read = Read(point.gtids, snapshot.written(session) if server.maria else {})
            start = position_of(server, place, read, sorted(capture.tables), ())
            tables = catalog.describe(session, capture.tables)
            warn_of_cascades(tables)
            if self._with_snapshot:
                rest = Rest.whole(point, capture.tables)
                yield from self._rows(session, tables, rest, start, attempt)
        yield Batch([], start, current=False)
        return start

    def rest(self, position: Position) -> Generator[Batch, None, Position]:
        """What is left of a snapshot that was interrupted, and the changes since; returns the
        position from which on only changes are left.

        1. Take a snapshot of now.
        2. Give out the changes up to the place in the log that it belongs to.
        3. Give out rows that are left, as it sees them; after a while begin again with 1.
        """
        capture, rest = self._capture, Rest.stored(position)
        attempt = position["attempt"] + rest.in_vain
        _slow_down(attempt, self._stop)
        rest.follow(capture.tables)
        position = stream_of(position)
        while rest:
            with closing(capture.connected()) as session:
                server = capture.prepared(session)
                point = snapshot.take(session, server)
                position = yield from self._up_to(point, server, position, rest, attempt)
                tables = catalog.describe(session, rest.streams)
                enough = _PORTION if server.maria else inf
                yield from self._rows(session, tables, rest, position, attempt, enough)
        yield Batch([], position, current=False)
        return position

    def _up_to(
        self, point: Point, server: Server, position: Position, rest: Rest, attempt: int
    ) -> Generator[Batch, None, Position]:
        """The changes up to a snapshot's place; returns the position there."""
        changes = Changes(
            self._capture,
            position,
            end=Place(point.file, point.at),
            of=server,
            more=_shown(rest, attempt),
        )
        self._changes = changes
        yield from changes.batches()
        self.close()
        if not changes.reached:
            raise Stopped
        return changes.position

    def _rows(
        self,
        session: Session,
        tables: Sequence[catalog.Table],
        rest: Rest,
        position: Position,
        attempt: int,
        enough: float = inf,
    ) -> Iterator[Batch]:
        """The rows that are left, for about ``enough`` seconds; but all of a table that would begin
        again, and never end so."""
        end = time.monotonic() + enough
        with closing(rest.portions(session, tables, self._capture.batch)) as portions:
            for records in portions:
                if self._stop.is_set():
                    raise Stopped
                if records:
                    yield Batch(records, position | _shown(rest, attempt), current=False)
                if time.monotonic() > end and not rest.in_vain:
                    return


def _shown(rest: Rest, attempt: int) -> Position:
    """What a position has while rows are left."""
    return {"phase": "snapshot", "attempt": attempt, **rest.as_json()}


def _slow_down(attempt: int, stop: threading.Event) -> None:
    """Waits before a snapshot that was interrupted again and again: each one publishes the same
    rows, and a topic full of them helps nobody."""
    if attempt <= _SNAPSHOTS_AT_ONCE:
        return
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - _SNAPSHOTS_AT_ONCE - 1))
    log.error(
        "the snapshot was interrupted %d times, and publishes its rows again each time: see the "
        "errors above, and mend their cause. The next one begins in %.0f s",
        attempt - 1,
        pause,
    )
    if stop.wait(pause):
        raise Stopped


def _warn_of_prepared(session: Session) -> None:
    """The rows of an XA transaction that is prepared are in the log already, before where changes
    begin, and in no snapshot before it is committed."""
    try:
        prepared = session.rows("XA RECOVER")
    except SourceError:  # MySQL wants XA_RECOVER_ADMIN for it
        return
    if prepared:
        log.warning(
            "%d XA transactions are prepared and not committed: the source stops when one of them "
            "is, as it may have changed these tables. Commit them or roll them back (XA RECOVER; "
            "names them) before",
            len(prepared),
        )
