"""PostgresCDC: the rows of PostgreSQL tables, first as they are, then every change of them."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from trunkline.connectors.base import Batch, Finding, Gauge, Position, SnapshotRequest, Source
from trunkline.connectors.postgres.values import UNCHANGED
from trunkline.errors import ConfigurationError, MissingExtra, SourceError
from trunkline.params import Secret, revealed

_HAS_DRIVER = find_spec("psycopg2") is not None
if TYPE_CHECKING or _HAS_DRIVER:  # without it the constructor says which extra to install
    from trunkline.connectors.postgres import gauges, publication, slots
    from trunkline.connectors.postgres.beginning import Beginning
    from trunkline.connectors.postgres.capture import Capture
    from trunkline.connectors.postgres.changes import Changes
    from trunkline.connectors.postgres.check import findings
    from trunkline.connectors.postgres.connection import (
        Connection,
        Stopped,
        connect,
        connect_or_stop,
        stoppable,
    )
    from trunkline.connectors.postgres.incremental import Requests

_DERIVED = re.compile(r"trunkline_[0-9a-f]{12}")
_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
_MOST_READERS = 16


class PostgresCDC(Source):
    """Change data capture from PostgreSQL 14 or newer, by logical replication (pgoutput).

    ``dsn``: a connection string; its role needs REPLICATION, SELECT on the tables and, unless
    the publication is there, CREATE on the database and the tables' ownership.
    ``tables``: ``schema.table`` as the catalog writes the names; ``public.`` may be left out.
    ``slot``: the replication slot, made at the first start; derived from the tables' names at that
    time, so two sources of the same tables need a name each. ``publication``: as the slot unless
    given.
    ``snapshot``: "initial" reads all rows before the changes; "never" begins with the changes,
    at the slot's own position if somebody made it before. ``readers``: connections that read the
    rows at once. ``batch``: records of a batch.
    ``unchanged``: stands for large values that an update left alone, which PostgreSQL sends only
    with REPLICA IDENTITY FULL. By default a marker that no Avro type accepts; "reselect" asks the
    table for them. ``json``: "parsed"
    makes values of json and jsonb, "text" leaves them as the server writes them. ``most_kept``:
    bytes of WAL that the slot may keep back before people are alerted, if the server itself sets no
    limit (``max_slot_wal_keep_size``). ``failover``: standbys of PostgreSQL 17 or newer have a copy
    of the slot, from which changes go on when one of them is promoted. ``lost_partitions``: how it
    is told that a partition was detached, dropped or truncated, of which PostgreSQL tells nothing.

    Records: ``key`` is the replica identity's (primary key's) text, ``data`` column → value,
    ``stream`` the ``schema.table``; an update of the key is a delete and a create.

    Guarantees: no gap and no duplicate between snapshot and changes; changes in the order of
    their commits; a change read again has the same id. A snapshot that was interrupted goes on
    where it was, while the changes since its begin come: each row that was not changed meanwhile
    once, but those of the portions that were under way.

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
        readers: int = 2,
        unchanged: object = UNCHANGED,
        json: Literal["parsed", "text"] = "parsed",
        most_kept: int = 50_000_000_000,
        failover: bool = False,
        lost_partitions: Literal["dead-letter", "log"] = "dead-letter",
    ) -> None:
        if not _HAS_DRIVER:
            raise MissingExtra("PostgresCDC", "postgres")
        self._dsn = dsn
        self.tables = [name if "." in name else f"public.{name}" for name in tables]
        self.slot = slot or _derived(self.tables)
        self._given = bool(slot), bool(publication)
        self.publication = publication or self.slot
        self._with_snapshot = snapshot == "initial"
        self._batch = batch
        self._readers = readers
        self._in_order = False
        self._unchanged = unchanged
        self._json_as_text = json == "text"
        self._most_kept = most_kept
        self._failover = failover
        self._letters = lost_partitions == "dead-letter"
        self._beginning: Beginning | None = None
        self._changes: Changes | None = None
        self._requests = Requests()
        _check(self.tables, self.slot, batch, readers)

    def keep_rows_in_order(self) -> None:
        """See ``Source.keep_rows_in_order``: one reader, and a snapshot that was interrupted starts
        again, as going on with it would give newer rows before older ones."""
        self._in_order, self._readers = True, 1

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"phase": "snapshot", "slot": …}``, then
        ``{"phase": "stream", "slot": …, "lsn": …, "timeline": …, "of": …}``, inside a transaction
        also its ``commit`` LSN and the ``index`` of the last change given out. ``of`` is what the
        position is valid for: system, publication and tables. Once the slot of a snapshot is made,
        its position has all of that, too, and ``snapshots``: what is left to read."""
        if self._in_order and position is not None and position.get("phase") == "snapshot":
            position = {"phase": "snapshot", "slot": position.get("slot")}
        if position is not None:
            self._adopt(str(position.get("slot")))
        if position is not None and position.get("slot") != self.slot:
            raise ConfigurationError(slots.misplaced(position.get("slot"), self.slot))
        capture = Capture(
            revealed(self._dsn),
            self.slot,
            self.publication,
            self.tables,
            stop,
            json_as_text=self._json_as_text,
            failover=self._failover,
        )
        try:
            if position is None or (position["phase"] == "snapshot" and "of" not in position):
                self._beginning = Beginning(
                    capture,
                    stop,
                    with_snapshot=self._with_snapshot,
                    batch=self._batch,
                    readers=self._readers,
                )
                position = yield from self._beginning.batches(position)
            self._changes = Changes(
                capture,
                position,
                self._requests,
                stop,
                with_snapshot=self._with_snapshot,
                batch=self._batch,
                readers=self._readers,
                unchanged=self._unchanged,
                letters=self._letters,
            )
            yield from self._changes.batches()
        except Stopped as stopped:
            if not stop.is_set():
                raise SourceError(f"somebody cancelled {stopped}") from None

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the tables."""
        return tuple(self.tables)

    def _adopt(self, slot: str) -> None:
        """A slot whose name was derived from ``tables=`` stays when the list is another."""
        slot_given, publication_given = self._given
        if not slot_given and _DERIVED.fullmatch(slot):
            self.slot = slot
            self.publication = self.publication if publication_given else slot

    def acknowledge(self, position: Position) -> None:
        """See ``Source.acknowledge``: the slot moves on to the last whole transaction."""
        if self._changes is not None and position["phase"] == "stream":
            self._changes.acknowledge(position["lsn"])

    def close(self) -> None:
        """Closes the connections. The slot stays, and with it the WAL that it needs.

        What a start has made that then failed, slot or publication, is dropped, unless a position
        knows of it.
        """
        if self._changes is not None:
            self._changes.close()
        if self._beginning is not None:
            self._beginning.undo()

    takes_snapshots = True

    def snapshots(self, requests: Sequence[SnapshotRequest]) -> None:
        """See ``Source.snapshots``. The stream of a request may leave ``public.`` out."""
        self._requests.open = tuple(
            replace(one, stream=one.stream if "." in one.stream else f"public.{one.stream}")
            for one in requests
        )

    def anew(self, position: Position) -> Position | None:
        """See ``Source.anew``: a slot of this name is its own, and is replaced with the snapshot.
        With ``snapshot="never"`` it stays, and the changes go on where it stands."""
        self._adopt(str(position.get("slot")))
        if self._with_snapshot and position.get("slot") == self.slot:
            return {"phase": "snapshot", "slot": self.slot}
        return None

    def gauges(self, position: Position, stop: threading.Event) -> Sequence[Gauge]:
        """See ``Source.gauges``: what the server tells of the slot."""
        self._adopt(str(position.get("slot")))
        try:
            with (
                closing(connect_or_stop(revealed(self._dsn), stop)) as connection,
                stoppable(connection, stop),
            ):
                return gauges.of_slot(connection, self.slot, self._most_kept)
        except Stopped:
            return ()

    def check(self) -> list[Finding]:
        """See ``Source.check``."""
        with closing(self._connect()) as connection:
            return findings(
                connection,
                self.slot,
                self.publication,
                self.tables,
                most_kept=self._most_kept,
                failover=self._failover,
            )

    def traces(self, position: Position | None = None) -> Sequence[str]:
        """See ``Source.traces``. The position tells of a slot that was named after other tables. A
        publication that was named for us is its maker's, and others may use it."""
        if position is not None:
            self._adopt(str(position.get("slot")))
        _, publication_given = self._given
        own = [] if publication_given else [f"publication {self.publication}"]
        return [f"replication slot {self.slot}", *own]

    def drop(self, position: Position | None = None) -> None:
        """Drops slot and publication, for good: the server forgets this source. A publication that
        was given by its name stays. Raises SourceError while the slot is in use."""
        if position is not None:
            self._adopt(str(position.get("slot")))
        _, publication_given = self._given
        with closing(self._connect()) as connection:
            slots.drop(connection, self.slot)
            if not publication_given:
                publication.drop(connection, self.publication)

    def _connect(self) -> Connection:
        return connect(revealed(self._dsn))


def _derived(tables: Sequence[str]) -> str:
    return "trunkline_" + hashlib.sha256("\n".join(sorted(tables)).encode()).hexdigest()[:12]


def _check(tables: Sequence[str], slot: str, batch: int, readers: int) -> None:
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
    if not 1 <= readers <= _MOST_READERS:
        raise ConfigurationError(f"readers={readers}: must be from 1 to {_MOST_READERS}")
