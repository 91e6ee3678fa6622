"""Reading by a growing column: what lies behind the last row read, up to where it is settled."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.sql.polling.modes import Increasing, Timestamp
from trunkline.connectors.sql.polling.records import data_of, record_of
from trunkline.connectors.sql.polling.table import PolledTable
from trunkline.connectors.sql.polling.values import (
    PolledColumn,
    before,
    from_position,
    plain,
    to_position,
)
from trunkline.connectors.waiting import Calls
from trunkline.errors import ConfigurationError
from trunkline.event import Record
from trunkline.times import parse_duration

log = logging.getLogger(__name__)


class OrderedReader:
    """Reads a table by a column that grows. For one thread.

    Positions: ``{"by": "increasing" | "timestamp", "of": table and columns, "at": values of the
    last row}``; without ``at`` nothing was read yet.
    """

    def __init__(
        self,
        table: PolledTable,
        mode: Increasing | Timestamp,
        key: Sequence[str] | None,
        *,
        stream: str,
        batch: int,
        calls: Calls,
    ) -> None:
        self._table = table
        self._mode = mode
        self._key = key
        self._stream = stream
        self._batch = batch
        self._calls = calls
        self._lag = parse_duration(mode.lag)
        self._zone = ZoneInfo(mode.zone) if isinstance(mode, Timestamp) else UTC
        self._by = "timestamp" if isinstance(mode, Timestamp) else "increasing"
        self._seen: deque[tuple[float, Any]] = deque()  # the largest values, and since when
        self._at: list[Any] | None = None
        self._order: list[str] = []
        self._keys: list[tuple[PolledColumn, int]] = []  # and where a row has its value
        self._warned = False

    def begin(self, position: Position | None) -> None:
        """Go on from a stored position. Raises ConfigurationError for another table's."""
        if position is None:
            return
        order = position.get("of", {}).get("order", ())
        if position.get("by") != self._by or position.get("of") != self._of(order):
            raise ConfigurationError(
                f"the stored position is of {position.get('of', 'another source')}, and this "
                f"source reads {self._table.name} by {self._mode.column}: reset it to read all rows"
            )
        self._order = list(order)
        at = position.get("at")
        self._at = [from_position(value) for value in at] if at is not None else None

    def look(self, stop: threading.Event) -> Iterator[Batch]:
        """What is new and settled now, in batches. Raises Stopped, SourceError."""
        self._calls.run(self._table.look, stop)
        self._settle_order()
        self._settle_key()
        upper = self._calls.run(self._upper, stop)
        if upper is None:
            return
        while True:
            page = self._calls.run(lambda: self._page(upper), stop)
            records = [self._record(row) for row in page.rows]
            if records:
                width = len(self._order)
                pairs = zip(page.rows[-1][:width], self._order, strict=True)
                stored = [to_position(plain(value), name) for value, name in pairs]
                self._at = [from_position(value) for value in stored]
                yield Batch(records, self._position(stored), current=not page.full)
            if not page.full:
                return

    @property
    def position(self) -> Position:
        """Where it stands."""
        at = self._at
        if at is None:
            return self._position(None)
        return self._position([to_position(v, n) for v, n in zip(at, self._order, strict=True)])

    @property
    def next_look(self) -> float | None:
        """In how many seconds something is settled that was seen already; None if there is none."""
        if not self._seen or not isinstance(self._mode, Increasing):
            return None
        since = next((at for at, value in self._seen if self._is_new(value)), None)
        return None if since is None else max(0.0, since + self._lag - time.monotonic())

    def _is_new(self, value: Any) -> bool:
        return self._at is None or value != self._at[0]

    def _of(self, order: Sequence[str]) -> dict[str, Any]:
        return {"table": self._table.name, "order": list(order)}

    def _position(self, at: list[Any] | None) -> Position:
        position: Position = {"by": self._by, "of": self._of(self._order)}
        return position if at is None else {**position, "at": at}

    def _settle_order(self) -> None:
        """By which columns it reads, once the table is known."""
        mode, table = self._mode, self._table
        then = table.primary_key if mode.then is None else list(mode.then)
        if mode.then is None and not then:
            raise ConfigurationError(
                f"{table.name} has no primary key to tell rows of one {mode.column} apart: name "
                "the columns that do, then=(…), or then=() if each value is there once"
            )
        order = [mode.column, *(name for name in then if name != mode.column)]
        if self._order and order != self._order:
            raise ConfigurationError(
                f"{table.name} was read in the order of {', '.join(self._order)}, and is now to be "
                f"in that of {', '.join(order)}: reset the source to read all rows"
            )
        self._order = order
        if isinstance(mode, Timestamp) and table.column(mode.column).zoned is None:
            raise ConfigurationError(
                f"{table.name}.{mode.column} holds no date with its time, so it cannot be read by "
                "Timestamp: take Increasing, or another column"
            )

    def _upper(self) -> Any:
        """Up to which value rows are settled; None if none is."""
        mode, table = self._mode, self._table
        if isinstance(mode, Timestamp):
            zoned = bool(table.column(mode.column).zoned)
            return before(table.now(), self._lag, self._zone, zoned=zoned)
        newest, now = plain(table.newest(mode.column)), time.monotonic()
        if newest is None:
            return None
        if not self._seen or self._seen[-1][1] != newest:
            self._seen.append((now, newest))
        while len(self._seen) > 1 and self._seen[1][0] + self._lag <= now:
            self._seen.popleft()
        since, settled = self._seen[0]
        self._warn_of_smaller(newest)
        return settled if since + self._lag <= now else None

    def _warn_of_smaller(self, newest: Any) -> None:
        """A table whose numbers began anew would give nothing, for good, and without a word."""
        if self._at is None or self._warned or not isinstance(newest, int):
            return
        if newest < self._at[0]:
            self._warned = True
            log.warning(
                "%s: the largest %s is %s, and %s was read: if the table was made anew, its rows "
                "are not read until they are beyond: reset the source",
                *(self._table.name, self._mode.column, newest, self._at[0]),
            )

    def _page(self, upper: Any) -> Any:
        return self._table.page(self._order, self._at, upper, self._batch)

    def _record(self, row: Sequence[Any]) -> Record:
        table, width = self._table, len(self._order)
        at = [to_position(plain(v), n) for v, n in zip(row[:width], self._order, strict=True)]
        told = f"{table.name}/{json.dumps(at)}"
        by_time = isinstance(self._mode, Timestamp)
        return record_of(
            [column for column, _ in self._keys],
            [row[index] for _, index in self._keys],
            data_of(table.columns, row[width:]),
            change="update" if by_time else "create",
            stream=self._stream,
            id=hashlib.sha256(told.encode(errors="replace")).hexdigest()[:32],
            time=self._time(table.column(self._mode.column), row[0]) if by_time else None,
        )

    def _settle_key(self) -> None:
        """Which columns are the key, and where a row has them."""
        table = self._table
        names = [*self._order, *(column.name for column in table.columns)]
        wanted = self._key or table.primary_key or self._order[-1:]
        if absent := [name for name in wanted if name not in names]:
            raise ConfigurationError(
                f"key= names {', '.join(absent)}, which is not among columns= of {table.name}"
            )
        self._keys = [(table.column(name), names.index(name)) for name in wanted]

    def _time(self, column: PolledColumn, value: Any) -> datetime | None:
        found = column.convert(value) if column.convert is not None else value
        if not isinstance(found, datetime):
            return None
        return (found if found.tzinfo else found.replace(tzinfo=self._zone)).astimezone(UTC)
