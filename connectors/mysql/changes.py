"""The changes from a position on, batch by batch, and the position behind each."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from typing import NamedTuple

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.mysql import catalog, charsets, failover, preflight, snapshot
from trunkline.connectors.mysql.capture import Capture
from trunkline.connectors.mysql.decoder import Decoder
from trunkline.connectors.mysql.places import Place, made_anew
from trunkline.connectors.mysql.preflight import Server
from trunkline.connectors.mysql.session import Session
from trunkline.connectors.mysql.stream import AHEAD, Stream, begun_at
from trunkline.connectors.mysql.tables import Tables
from trunkline.errors import ConfigurationError, SourceError, TrunklineError

log = logging.getLogger(__name__)

_SOON, _LATER = 1.0, 10.0
"""Seconds until an empty batch stores how far the log is read, when no records come: after records,
after another one. Else a server that changes other tables would purge what we have read already,
and a position would point there."""
_ASK, _ASK_IDLE = 60.0, 10.0
"""Seconds between two questions whether the log is still the one that is read: while changes come,
and when they have ceased. After RESET MASTER a file may have the name that it had before: then
MariaDB lets its reader wait, and sends nothing of it."""


class Changes:
    """Reads the log from ``position`` on. For the source's thread.

    ``end``: where in the log of ``of`` it ends; None: it goes on for ever. ``more``: what else
    stands in the positions, of one that does something besides.
    """

    def __init__(
        self,
        capture: Capture,
        position: Position,
        *,
        end: Place | None = None,
        of: Server | None = None,
        more: Position | None = None,
    ) -> None:
        self._capture = capture
        self._stop = capture.stop
        self._more = more or {}
        self._server, self._decoder = _decoder(capture, position, end, of)
        self._stream = Stream(
            capture.arguments, self._server, capture.server_id, self._decoder, capture.stop
        )

    def batches(self) -> Generator[Batch, None, None]:
        """The changes, until the end is reached or ``stop`` is set. What was decoded before an
        error is given out first."""
        decoder, stream = self._decoder, self._stream
        stored, due, current = decoder.place, time.monotonic() + _SOON, False
        error: TrunklineError | None = None
        more, asked = False, time.monotonic()
        while error is None and not self._stop.is_set() and not decoder.reached:
            try:
                more = stream.receive(self._capture.batch)
                if time.monotonic() - asked > (_ASK_IDLE if current else _ASK):
                    self._require_same_log(decoder.place)
                    asked = time.monotonic()
            except TrunklineError as raised:
                error = raised
            ends = error is None and not more and not decoder.within
            moved = decoder.place != stored
            arrived = ends and stream.idle and not current
            due_now = bool(error) or decoder.reached or time.monotonic() >= due
            if decoder.records or arrived or (moved and due_now):
                records, stored, current = decoder.take(), decoder.place, ends
                yield Batch(records, self.position | self._more, current and not self._more)
                due = time.monotonic() + (_SOON if records else _LATER)
        if error is not None:
            raise error

    @property
    def position(self) -> Position:
        """Where it stands, of one that does nothing besides."""
        decoder, server = self._decoder, self._server
        tables = decoder.tables.known
        read = Read(decoder.gtids, decoder.written)
        return position_of(server, decoder.place, read, tables, decoder.prepared)

    @property
    def reached(self) -> bool:
        """Whether it stands at its end."""
        return self._decoder.reached

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def _require_same_log(self, place: Place) -> None:
        """Raises ConfigurationError if the file that is read is not the one of this name any more.
        A server that does not let us ask is asked later."""
        if not place.made:  # the file has just begun
            return
        capture = self._capture
        try:
            made = begun_at(
                capture.arguments, self._server, capture.asks_as, place.file, self._stop
            )
        except SourceError as error:
            log.warning("the source could not ask for the begin of its log: %s", error)
            return
        if made != place.made:
            raise ConfigurationError(made_anew(place.file))


def _decoder(
    capture: Capture, position: Position, end: Place | None, of: Server | None
) -> tuple[Server, Decoder]:
    """The decoder at a position, of which everything is checked that can be asked."""
    session = capture.connected()
    try:
        server = capture.prepared(session)
        if of is not None and of.identity != server.identity:
            raise SourceError(f"the snapshot is of server {of.identity}, this {server.identity}")
        if not _is_of(session, server, position):
            position = failover.followed(capture, session, server, position)
        for warning in preflight.warnings(server):
            log.warning("%s", warning)
        capture.wait_for_predecessor(session)
        known = position["tables"]
        new = [stream for stream in capture.tables if stream not in known]
        gone = [stream for stream in known if stream not in capture.tables]
        warn_of_cascades(catalog.describe(session, new))
        tables = Tables(
            capture.tables,
            known,
            there=catalog.present(session, gone),
            fold=server.folds,
            swaps=capture.swaps,
        )
        collations = charsets.collations(session)
        place = Place(position["file"], position["at"], position["made"], position["events"])
        if end is not None and place.order > end.order:
            raise _passed(session, place)
    finally:
        session.close()
    xa = position.get("xa")
    gtids, written = position["gtids"], position.get("written", {})
    return server, Decoder(tables, collations, place, gtids, written, xa, end)


def _passed(session: Session, place: Place) -> TrunklineError:
    """Why a position is behind the snapshot that was taken after it."""
    status = preflight.master_status(session)
    if place.order > Place(str(status["File"]), int(str(status["Position"]))).order:
        return ConfigurationError(f"{place.file}:{place.at} is not in the log. {AHEAD}")
    # The log is written before a transaction is seen, where a replica is waited for (semisync).
    return SourceError("a snapshot is older than what was read of the log: it is taken again")


def _is_of(session: Session, server: Server, position: Position) -> bool:
    """Whether a position is of this server's log.

    MariaDB makes its unique id of a network card's address, which a container has anew at each
    start. Then its log tells: at the position it must have the very GTIDs that we have read.
    """
    if position["server"] == server.identity:
        return True
    number = position["server"].split("/", 1)[0]
    if not server.maria or number != server.variables.get("server_id") or not position["gtids"]:
        return False
    where = position["file"], position["at"]
    return bool(snapshot.gtids_at(session, *where) == position["gtids"])


_OF_CHANGES = ("xa", "server", "file", "at", "made", "events", "gtids", "written", "tables")


def stream_of(position: Position) -> Position:
    """What a position has of the changes, whatever is done besides."""
    return {"phase": "stream"} | {name: position[name] for name in _OF_CHANGES if name in position}


class Read(NamedTuple):
    """Which of MariaDB's transactions were read, as ``Decoder`` has it."""

    gtids: Mapping[str, str]
    written: Mapping[str, int]


def position_of(
    server: Server,
    place: Place,
    read: Read,
    tables: Sequence[str],
    prepared: Collection[str] | None,
) -> Position:
    """``prepared`` None: of an earlier version, which has not written it down."""
    return ({} if prepared is None else {"xa": sorted(prepared)}) | {
        "phase": "stream",
        "server": server.identity,
        "file": place.file,
        "at": place.at,
        "made": place.made,
        "events": place.events,
        "gtids": dict(read.gtids),
        "written": dict(read.written),
        "tables": list(tables),
    }


def warn_of_cascades(tables: Sequence[catalog.Table]) -> None:
    """What the server changes without telling it in the log."""
    for table in tables:
        if table.cascades:
            log.warning(
                "table %s: what its foreign keys %s change by CASCADE or SET NULL is not in the "
                "log, and no record tells it",
                table.stream,
                ", ".join(table.cascades),
            )
