"""Outbox: what an application wrote into its outbox table, as events."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

from trunkline.connectors.base import (
    Batch,
    Finding,
    Gauge,
    Position,
    SnapshotRequest,
    Source,
)
from trunkline.connectors.outbox.layout import OutboxColumns
from trunkline.connectors.outbox.table import OutboxTable
from trunkline.connectors.waiting import Calls, Stopped
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record
from trunkline.params import Secret, revealed
from trunkline.times import parse_duration

KEY = "outbox"
"""The part of a position that is the outbox's, beside that of ``through``."""
MOST_RECORDS = 2_000
"""Rows of a batch, whose ids stand in one position: with those of the batch before far below the
800 kB of a stored record, of UUIDs."""
MOST_PENDING = 200_000
"""Characters of ids from which on they are removed before anything more is read."""


class Outbox(Source):
    """Publishes the rows of an outbox table, and removes them once Kafka has them.

    ``url``: of the database, as of ``SqlPolling``; not needed with ``through`` and ``"keep"``.
    ``table``: with its schema. ``columns``: which column is what. ``through``: a source of the
    table's changes, as ``PostgresCDC(dsn, ["public.outbox"])``; without one the table is polled.
    ``after``: whether a published row is deleted, marked, or kept, as where the application deletes
    it itself. ``mark``: the column, NULL until then, that gets the time. ``order``: the columns
    that say in which order rows are read, by default the primary key; with ``through`` it is that
    of the commits. ``interval``, ``timeout``, ``batch``: as of ``SqlPolling``.

    Records: all that ``columns`` says; ``change`` "create", of a NULL payload "delete". Updates
    and deletes of rows are nobody's events.

    Guarantees: a row is published whenever it is committed, however late, and removed only when
    Kafka has its event; the event's id is the row's. A crash repeats nothing in Kafka: what was
    published and is not removed yet stands in the position.

    Raises ConfigurationError for what cannot be; ``read`` raises SourceError while the database is
    not there.
    """

    def __init__(
        self,
        url: Secret | str | None = None,
        table: str = "outbox",
        *,
        columns: OutboxColumns | None = None,
        through: Source | None = None,
        after: Literal["delete", "mark", "keep"] = "delete",
        mark: str = "published_at",
        order: Sequence[str] = (),
        interval: str = "1s",
        timeout: str = "30s",
        batch: int = 2000,
    ) -> None:
        if after not in ("delete", "mark", "keep") or isinstance(order, str) or batch < 1:
            raise ConfigurationError(
                "Outbox: after= is delete, mark or keep; order= names columns; batch= is 1 or more"
            )
        if after == "keep" and through is None:
            raise ConfigurationError(
                "Outbox: a table that is polled must lose its rows, or they would come at each "
                'look: after="delete" or "mark"'
            )
        if url is None and (through is None or after != "keep"):
            raise ConfigurationError("Outbox: url= is needed to read or remove rows")
        self._columns = columns or OutboxColumns()
        self._through = through
        if through is not None:  # two rows of it may be two events of one entity
            through.keep_rows_in_order()
        self._table = table
        self._mark = mark if after == "mark" else ""
        self.takes_snapshots = through is not None and through.takes_snapshots
        self._interval = parse_duration(interval)
        if not self._interval:
            raise ConfigurationError("Outbox: interval= is longer than nothing: 1s, say")
        self._batch = batch
        self._rows: OutboxTable | None = None
        if url is not None:
            self._rows = OutboxTable(
                revealed(url),
                table,
                id=self._columns.id,
                mark=self._mark,
                order=order,
                columns=self._columns.needed if through is None else None,
                timeout=parse_duration(timeout),
            )
        self._removes = after != "keep"
        cut = self._rows.polled.cut if self._rows is not None else lambda: None
        self._calls = Calls("outbox", cut)
        self._stop = threading.Event()
        self._pending: dict[str, None] = {}
        self._is_current = False

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: that of ``through``, and ``"outbox": {"of": the table,
        "pending": ids of rows that are published and perhaps not removed}``."""
        self._stop = stop
        stored = (position or {}).get(KEY)
        if position is not None and (stored is None or stored.get("of") != self._table):
            raise ConfigurationError(
                f"the stored position is not of the outbox {self._table}: reset the source"
            )
        self._pending = dict.fromkeys(stored["pending"] if stored else ())
        try:
            yield from self._read_through(position, stop) if self._through else self._poll(stop)
        except Stopped:
            return

    def streams(self) -> None:
        """See ``Source.streams``: what rows say, which nobody knows before."""
        return

    def read_again(self, record: Record) -> Record:
        """See ``Source.read_again``: the row, by today's columns. What ``through`` could not read
        is its own."""
        raw = record.unreadable.raw if record.unreadable is not None else b""
        if self._through is not None and not raw.startswith(b"{"):
            return self._through.read_again(record)
        return self._columns.record_again(record, self._table)

    def acknowledge(self, position: Position) -> None:
        """See ``Source.acknowledge``: rows whose events Kafka has are removed. Raises SourceError:
        then they stand in the position, and are removed after a restart."""
        done = position[KEY]["pending"]
        if done and self._rows is not None:
            try:
                self._calls.run(partial(self._rows.published, done), self._stop)
            except Stopped:
                return
            for each in done:
                self._pending.pop(each, None)
        if self._through is not None:
            self._through.acknowledge(_inner(position))

    def close(self) -> None:
        """See ``Source.close``."""
        if self._through is not None:
            self._through.close()
        if self._rows is not None:
            self._rows.close()

    def _read_through(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        assert self._through is not None
        inner = None if position is None else _inner(position)
        if inner == {}:
            raise ConfigurationError("the outbox was polled: reset the source to read it through")
        if self._pending and inner is not None:
            yield Batch([], self._position(inner), current=False)  # its rows are removed then
        for batch in self._through.read(inner, stop):
            records = [made for record in batch.records if (made := self._mapped(record))]
            yield from self._given(records, batch.position, current=batch.current)

    def _mapped(self, record: Record) -> Record | None:
        """The event of a row that was inserted; None for one that was changed or deleted."""
        if record.unreadable is not None:
            return record
        if record.change not in ("create", "snapshot"):
            return None
        if self._mark and record.data.get(self._mark) is not None:
            return None  # a snapshot has the rows that were published long ago, too
        made = self._columns.record(record.data, self._table)
        if not self._columns.time:
            made.time = record.time
        if self._removes and self._rows is not None:
            id_ = self._rows.stored_id(record.data)
            if id_ in self._pending:  # a snapshot that was interrupted begins again
                return None
            self._pending[id_] = None
        return made

    def _poll(self, stop: threading.Event) -> Iterator[Batch]:
        """Look for rows that wait, from the first one on, whatever was read before: one that was
        committed late may stand in front."""
        rows = self._rows
        assert rows is not None
        self._is_current = False
        yield Batch([], self._position({}), current=False)
        while not stop.is_set():
            place: Any = None
            more = True
            while more:
                found, place, more = self._calls.run(
                    partial(rows.waiting, place, self._batch), stop
                )
                ids = {rows.stored_id(row): row for row in found}
                new = {id_: row for id_, row in ids.items() if id_ not in self._pending}
                yield from self._published(list(new.items()), current=not more)
            yield from self._told(stop)

    def _published(self, rows: list[tuple[str, Any]], *, current: bool) -> Iterator[Batch]:
        for at in range(0, len(rows), MOST_RECORDS):
            part = rows[at : at + MOST_RECORDS]
            records = [self._columns.record(row, self._table) for _, row in part]
            self._pending |= dict.fromkeys(id_ for id_, _ in part)
            yield from self._given(records, {}, current=current and at + len(part) == len(rows))

    def _given(self, records: list[Record], inner: Position, *, current: bool) -> Iterator[Batch]:
        """A batch; and where many ids stand in the position, an empty one: the engine acknowledges
        the first then, which removes its rows. Without it the position would outgrow a record."""
        self._is_current = current
        yield Batch(records, self._position(inner), current)
        if sum(map(len, self._pending)) > MOST_PENDING:
            yield Batch([], self._position(inner), current)

    def _told(self, stop: threading.Event) -> Iterator[Batch]:
        """Nothing waits: said once in a while, so that its lag is known, and rows of large batches
        are removed."""
        if self._pending or not self._is_current:
            self._is_current = True
            yield Batch([], self._position({}))
        stop.wait(self._interval)

    def _position(self, inner: Position) -> Position:
        return {**inner, KEY: {"of": self._table, "pending": list(self._pending)}}

    # What the source that it reads through does.

    def traces(self, position: Position | None = None) -> Sequence[str]:
        """See ``Source.traces``."""
        return () if self._through is None else self._through.traces(_inner_or_none(position))

    def drop(self, position: Position | None = None) -> None:
        """See ``Source.drop``."""
        if self._through is not None:
            self._through.drop(_inner_or_none(position))

    def anew(self, position: Position) -> Position | None:
        """See ``Source.anew``."""
        inner = None if self._through is None else self._through.anew(_inner(position))
        if inner is None:
            return None
        return {**inner, KEY: {"of": self._table, "pending": position[KEY]["pending"]}}

    def snapshots(self, requests: Sequence[SnapshotRequest]) -> None:
        """See ``Source.snapshots``."""
        if self._through is not None:
            self._through.snapshots(requests)

    def gauges(self, position: Position, stop: threading.Event) -> Sequence[Gauge]:
        """See ``Source.gauges``."""
        return () if self._through is None else self._through.gauges(_inner(position), stop)

    def check(self) -> list[Finding]:
        """See ``Source.check``: the table and its columns, and what ``through`` finds."""
        found = [] if self._through is None else list(self._through.check())
        if self._rows is None:
            return found
        try:
            polled = self._rows.polled
            polled.look()
            for name in [*self._columns.needed, *([self._mark] if self._mark else [])]:
                polled.column(name)
            if self._through is None and not self._rows.says_order:
                what = f"rows of {self._table} are read by their primary key, which does not grow"
                mend = 'name a column that does: order=["number"]'
                found.append(Finding(f"{what}: events of a key get out of order", mend, True))
        except SourceError as error:
            return [*found, Finding(str(error), "mend the URL, the table or columns=")]
        finally:
            self._rows.close()
        return found


def _inner(position: Position) -> Position:
    return {name: value for name, value in position.items() if name != KEY}


def _inner_or_none(position: Position | None) -> Position | None:
    return None if position is None else _inner(position)
