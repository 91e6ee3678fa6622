"""MySqlCDC: the rows of MySQL and MariaDB tables, first as they are, then every change of them."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from trunkline.connectors.base import Batch, Finding, Gauge, Position, Source
from trunkline.connectors.mysql.address import parse
from trunkline.connectors.mysql.names import BEGIN_ANEW, refuse
from trunkline.errors import ConfigurationError, MissingExtra, SourceError, TrunklineError
from trunkline.params import Secret, revealed

_HAS_DRIVER = find_spec("pymysql") is not None
if TYPE_CHECKING or _HAS_DRIVER:  # without it the constructor says which extra to install
    from trunkline.connectors.mysql import catalog, charsets, check, preflight, snapshot
    from trunkline.connectors.mysql.backlog import Backlog
    from trunkline.connectors.mysql.decoder import Decoder, Place, made_anew
    from trunkline.connectors.mysql.preflight import Server
    from trunkline.connectors.mysql.session import Session, Stopped, connect
    from trunkline.connectors.mysql.stream import Stream, begun_at, require_right
    from trunkline.connectors.mysql.tables import Tables

log = logging.getLogger(__name__)

_WAIT = 0.2
_SOON, _LATER = 1.0, 10.0
"""Seconds until an empty batch stores how far the log is read, when no records come: after records,
after another one. Else a server that changes other tables would purge what we have read already,
and a position would point there."""
_ASK, _ASK_IDLE = 60.0, 10.0
"""Seconds between two questions whether the log is still the one that is read: while changes come,
and when they have ceased. After RESET MASTER a file may have the name that it had before: then
MariaDB lets its reader wait, and sends nothing of it."""
_SNAPSHOTS_AT_ONCE = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 1800.0
"""After so many snapshots that were interrupted, seconds before the next one, doubled each time."""
_HANDOVER = 10.0
"""Seconds that another reader of our server_id may still be there: the worker before us."""
_FIRST_ID, _IDS, _LAST_ID = 1_000_000_000, 3_000_000_000, (1 << 32) - 1


class MySqlCDC(Source):
    """Change data capture from MySQL 8.0 or newer and MariaDB 10.6 or newer, by their binary log.

    ``dsn``: ``mysql://user:password@host:port/database``; its user needs SELECT on the tables,
    REPLICATION SLAVE and REPLICATION CLIENT; with MySQL also RELOAD, for the snapshot.
    ``tables``: ``database.table``; the dsn's database may be left out. ``server_id``: as which
    replica it reads, unique among all that read from the server; derived from the tables' names
    unless given. ``snapshot``: "initial" reads all rows before the changes; "never" begins with
    the changes from now on. ``batch``: records of a batch. ``swapped``: what a table that is
    renamed into the place of one of these is: "stop", or "follow": the same, as tools for schema
    changes make it (gh-ost, pt-online-schema-change).

    Records: ``key`` is the primary key's text, ``data`` column → value, ``stream`` the
    ``database.table``; an update of the key is a delete and a create.

    Guarantees: no gap and no duplicate between snapshot and changes; changes in the order of their
    commits; a change read again has the same id. A snapshot that was interrupted starts again,
    with new ids. What cannot be read, or may be missing, stops the source, and says where.

    Raises MissingExtra without pymysql and ConfigurationError for arguments that cannot be;
    ``read`` raises ConfigurationError with what to run for what a person must mend, and
    SourceError for what may pass.
    """

    def __init__(
        self,
        dsn: Secret | str,
        tables: Sequence[str],
        *,
        server_id: int = 0,
        snapshot: Literal["initial", "never"] = "initial",
        batch: int = 2000,
        swapped: Literal["stop", "follow"] = "stop",
    ) -> None:
        if not _HAS_DRIVER:
            raise MissingExtra("MySqlCDC", "mysql")
        self._arguments, database = parse(revealed(dsn))
        self.tables = _named(tables, database)
        self.server_id = server_id or _derived([*self.tables, str(self._arguments["host"])])
        self._with_snapshot = snapshot == "initial"
        self._batch = batch
        self._swaps = swapped == "follow"
        self._stream: Stream | None = None
        self._backlog: Backlog | None = None
        _check(self.tables, server_id, batch)

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"phase": "snapshot", "attempt": …}``, then
        ``{"phase": "stream", "server": …, "file": …, "at": …, "made": …, "gtids": …,
        "events": …, "xa": …, "tables": …}``: the end of a transaction, how many events with rows
        of the next one were given out, which XA transactions are prepared, and what it is valid
        for: a server, a file of its log, names of tables."""
        try:
            if position is None or position["phase"] == "snapshot":
                position = yield from self._begin(position, stop)
            yield from self._changes(position, stop)
        except Stopped:
            if not stop.is_set():
                raise SourceError("the connection was ended") from None

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the tables."""
        return tuple(self.tables)

    def gauges(self, position: Position, stop: threading.Event) -> Sequence[Gauge]:
        """See ``Source.gauges``: how much of the log waits, and when the server purges it."""
        if position.get("phase") != "stream":
            return ()
        if self._backlog is None:
            self._backlog = Backlog(self._arguments, self._asks_as)
        try:
            return self._backlog.gauges(position, stop)
        except Stopped:
            return ()

    def check(self) -> list[Finding]:
        """See ``Source.check``. Whether writers may be held up, as MySQL's snapshot needs it, is
        not asked: only doing so would tell."""
        stop = threading.Event()
        session = connect(self._arguments, stop)
        try:
            found = check.findings(session, self.tables)
        finally:
            session.close()
        try:  # under another number: a worker may read under ours, and must stay on the list
            require_right(self._arguments, self._asks_as, stop)
        except ConfigurationError as error:
            found.insert(0, check.finding(str(error)))
        return found

    @property
    def _asks_as(self) -> int:
        """The number of a second reader of the log, beside the one that has ``server_id``."""
        return self.server_id % _LAST_ID + 1

    def close(self) -> None:
        """Closes the connection. The server keeps nothing for this source."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _begin(
        self, position: Position | None, stop: threading.Event
    ) -> Generator[Batch, None, Position]:
        """Everything before the changes; returns the position where they start."""
        attempt = 1 + (position or {}).get("attempt", 0)
        _slow_down(attempt, stop)
        require_right(self._arguments, self.server_id, stop)
        session = connect(self._arguments, stop)
        try:
            server = self._prepared(session)
            if self._with_snapshot:
                yield Batch([], {"phase": "snapshot", "attempt": attempt}, current=False)
            _warn_of_prepared(session)
            point = snapshot.take(session, server)
            # Now: while the rows are read, somebody may make the log anew, with the same names.
            made = begun_at(self._arguments, server, self._asks_as, point.file, stop)
            tables = catalog.describe(session, self.tables)
            _warn_of_cascades(tables)
            if self._with_snapshot:
                at: Position = {"phase": "snapshot", "attempt": attempt}
                for records in snapshot.tables_records(session, tables, point, self._batch):
                    if stop.is_set():
                        raise Stopped
                    if records:
                        yield Batch(records, dict(at), current=False)
        finally:
            session.close()
        place = Place(point.file, point.at, made)
        start = _position(server, place, point.gtids, sorted(self.tables), ())
        yield Batch([], start, current=False)
        return start

    def _prepared(self, session: Session) -> Server:
        """What the server is; raises ConfigurationError for what is to be set otherwise."""
        server = preflight.ask(session)
        databases = {stream.split(".", 1)[0] for stream in self.tables}
        refuse(preflight.faults(session, server, sorted(databases)))
        return server

    def _changes(self, position: Position, stop: threading.Event) -> Iterator[Batch]:
        """The changes, batch by batch. What was decoded before an error is given out first."""
        server, decoder = self._decoder(position, stop)
        stream = Stream(self._arguments, server, self.server_id, decoder, stop)
        self._stream = stream
        stored, due, current = decoder.place, time.monotonic() + _SOON, False
        error: TrunklineError | None = None
        more, asked = False, time.monotonic()
        while error is None and not stop.is_set():
            try:
                more = stream.receive(self._batch)
                if time.monotonic() - asked > (_ASK_IDLE if current else _ASK):
                    self._require_same_log(server, decoder.place, stop)
                    asked = time.monotonic()
            except TrunklineError as raised:
                error = raised
            ends = error is None and not more and not decoder.within
            moved = decoder.place != stored
            arrived = ends and stream.idle and not current
            if decoder.records or arrived or (moved and (error or time.monotonic() >= due)):
                records, stored, current = decoder.take(), decoder.place, ends
                tables = decoder.tables.known
                position = _position(server, stored, decoder.gtids, tables, decoder.prepared)
                yield Batch(records, position, current)
                due = time.monotonic() + (_SOON if records else _LATER)
        if error is not None:
            raise error

    def _require_same_log(self, server: Server, place: Place, stop: threading.Event) -> None:
        """Raises ConfigurationError if the file that is read is not the one of this name any more.
        A server that does not let us ask is asked later."""
        if not place.made:  # the file has just begun
            return
        try:
            made = begun_at(self._arguments, server, self._asks_as, place.file, stop)
        except SourceError as error:
            log.warning("the source could not ask for the begin of its log: %s", error)
            return
        if made != place.made:
            raise ConfigurationError(made_anew(place.file))

    def _decoder(self, position: Position, stop: threading.Event) -> tuple[Server, Decoder]:
        """The decoder at a position, of which everything is checked that can be asked."""
        session = connect(self._arguments, stop)
        try:
            server = self._prepared(session)
            if not _is_of(session, server, position):
                raise ConfigurationError(
                    f"the stored position is of server {position['server']} (server_id and "
                    f"unique id), and this is {server.identity}, whose log is another. {BEGIN_ANEW}"
                )
            for warning in preflight.warnings(server):
                log.warning("%s", warning)
            self._wait_for_predecessor(session, stop)
            known = position["tables"]
            new = [stream for stream in self.tables if stream not in known]
            gone = [stream for stream in known if stream not in self.tables]
            _warn_of_cascades(catalog.describe(session, new))
            tables = Tables(
                self.tables,
                known,
                there=catalog.present(session, gone),
                fold=server.folds,
                swaps=self._swaps,
            )
            collations = charsets.collations(session)
        finally:
            session.close()
        place = Place(position["file"], position["at"], position["made"], position["events"])
        return server, Decoder(tables, collations, place, position["gtids"], position.get("xa"))

    def _wait_for_predecessor(self, session: Session, stop: threading.Event) -> None:
        """Two readers of one server_id would end each other's connection for ever."""
        deadline = time.monotonic() + _HANDOVER
        while preflight.others_of(session, self.server_id):
            if time.monotonic() > deadline:
                raise SourceError(
                    f"another replica or source reads with server_id {self.server_id}: if that is "
                    "none of this source's workers, give this one another number with server_id="
                )
            if stop.wait(_WAIT):
                raise Stopped


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
    ((gtids,),) = session.rows("SELECT BINLOG_GTID_POS(%s, %s)", *where)
    return bool(snapshot.gtids_of(str(gtids or "")) == position["gtids"])


def _position(
    server: Server,
    place: Place,
    gtids: Mapping[str, str],
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
        "gtids": dict(gtids),
        "tables": list(tables),
    }


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


def _warn_of_cascades(tables: Sequence[catalog.Table]) -> None:
    for table in tables:
        if table.cascades:
            log.warning(
                "table %s: what its foreign keys %s change by CASCADE or SET NULL is not in the "
                "log, and no record tells it",
                table.stream,
                ", ".join(table.cascades),
            )


def _named(tables: Sequence[str], database: str) -> list[str]:
    """The tables with their databases."""
    if not database and not all("." in name for name in tables):
        raise ConfigurationError(
            "tables=: name them database.table, or let dsn name the database: "
            "mysql://…@host:3306/<database>"
        )
    return [name if "." in name else f"{database}.{name}" for name in tables]


def _derived(names: Sequence[str]) -> int:
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).digest()
    return _FIRST_ID + int.from_bytes(digest[:8], "big") % _IDS


def _check(tables: Sequence[str], server_id: int, batch: int) -> None:
    if not tables:
        raise ConfigurationError("tables= is empty: name at least one table")
    if len(set(tables)) < len(tables):
        raise ConfigurationError(f"tables= names a table twice: {', '.join(tables)}")
    if not 0 <= server_id <= _LAST_ID:
        raise ConfigurationError(f"server_id={server_id}: a number from 1 to 4294967295")
    if batch < 1:
        raise ConfigurationError(f"batch={batch}: must be at least 1")
