"""MySqlCDC: the rows of MySQL and MariaDB tables, first as they are, then every change of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from trunkline.connectors.base import Batch, Finding, Gauge, Position, Source
from trunkline.connectors.mysql.address import parse
from trunkline.errors import ConfigurationError, MissingExtra, SourceError
from trunkline.params import Secret, revealed

_HAS_DRIVER = find_spec("pymysql") is not None
if TYPE_CHECKING or _HAS_DRIVER:  # without it the constructor says which extra to install
    from trunkline.connectors.mysql import check
    from trunkline.connectors.mysql.backlog import Backlog
    from trunkline.connectors.mysql.beginning import Beginning
    from trunkline.connectors.mysql.capture import Capture, beside
    from trunkline.connectors.mysql.changes import Changes
    from trunkline.connectors.mysql.session import Stopped, connect
    from trunkline.connectors.mysql.stream import require_right

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
    commits; a change read again has the same id. A snapshot that was interrupted goes on where it
    was, behind the changes since: each row once, but those of the batch that was under way (a
    table whose key has an ENUM, SET, BIT or FLOAT, or a part of a text, is read again from its
    begin). A MariaDB that takes over is followed if its log has all that was read and all that
    came after. What cannot be read, or may be missing, stops the source, and says where.

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
        self._in_order = False
        self._under_way: Beginning | Changes | None = None
        self._backlog: Backlog | None = None
        _check(self.tables, server_id, batch)

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"phase": "snapshot", "attempt": …}``, then
        ``{"phase": "stream", "server": …, "file": …, "at": …, "made": …, "gtids": …,
        "events": …, "xa": …, "tables": …}``: the end of a transaction, how many events with rows
        of the next one were given out, which XA transactions are prepared, and what it is valid
        for: a server, a file of its log, names of tables. While rows of the snapshot are read, all
        of it, in the phase of the snapshot, with what is ``left`` to read."""
        capture = Capture(
            self._arguments, self.tables, self.server_id, self._batch, self._swaps, stop
        )
        try:
            if position is None or position["phase"] == "snapshot":
                beginning = Beginning(capture, with_snapshot=self._with_snapshot)
                self._under_way = beginning
                if position is None or "left" not in position or self._in_order:
                    attempt = 1 + (position or {}).get("attempt", 0)
                    position = yield from beginning.first(attempt)
                else:
                    position = yield from beginning.rest(position)
            changes = Changes(capture, position)
            self._under_way = changes
            yield from changes.batches()
        except Stopped:
            if not stop.is_set():
                raise SourceError("the connection was ended") from None

    def keep_rows_in_order(self) -> None:
        """See ``Source.keep_rows_in_order``: a snapshot that was interrupted starts again, as going
        on with it would give newer rows before older ones."""
        self._in_order = True

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the tables."""
        return tuple(self.tables)

    def gauges(self, position: Position, stop: threading.Event) -> Sequence[Gauge]:
        """See ``Source.gauges``: how much of the log waits, and when the server purges it."""
        if "file" not in position:
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
        return beside(self.server_id)

    def close(self) -> None:
        """Closes the connection. The server keeps nothing for this source."""
        if self._under_way is not None:
            self._under_way.close()
            self._under_way = None


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
