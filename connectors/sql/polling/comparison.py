"""Full comparison: all rows at each look, and what is new, changed or gone since the last."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.comparing import Comparison
from trunkline.connectors.known import LONGEST_KEY
from trunkline.connectors.sql.polling.modes import FullComparison
from trunkline.connectors.sql.polling.records import data_of, key_text, record_of
from trunkline.connectors.sql.polling.table import PAGE_BYTES, Page, PolledTable
from trunkline.connectors.waiting import Calls
from trunkline.errors import ConfigurationError, DataError
from trunkline.event import Record, split_key


class ComparingReader:
    """Compares a table with what it was. For one thread.

    Positions: ``{"by": "comparison", "of": table and key, "phase": "snapshot" | "compare", "n":
    changes told, "parts": the known rows}``.
    """

    def __init__(
        self,
        table: PolledTable,
        mode: FullComparison,
        key: Sequence[str] | None,
        *,
        stream: str,
        batch: int,
        calls: Calls,
    ) -> None:
        self._table = table
        self._mode = mode
        self._wanted = key
        self._stream = stream
        self._batch = batch
        self._calls = calls
        self._key: list[str] = list(key or ())
        self._comparison = self._compared(None)
        self._records: list[Record] = []
        self._size = 0
        self._unkeyed: set[str] = set()

    next_look: float | None = None

    def begin(self, position: Position | None) -> None:
        """Go on from a stored position. Raises ConfigurationError for another table's."""
        if position is None:
            return
        of = position.get("of", {})
        if position.get("by") != "comparison" or of.get("table") != self._table.name:
            raise ConfigurationError(
                f"the stored position is of {of or 'another source'}, and this source compares "
                f"{self._table.name}: reset it to read all rows"
            )
        if self._wanted is not None and of["key"] != self._key:
            raise ConfigurationError(
                f"{self._table.name} was compared by {', '.join(of['key'])}: reset the source to "
                f"compare it by {', '.join(self._key)}"
            )
        self._key = list(of["key"])
        self._comparison = self._compared(position)

    def _compared(self, stored: Position | None) -> Comparison:
        remember, most = self._mode.remember, self._mode.max_deleted
        name = self._table.name
        return Comparison(name, self._stream, remember=remember, max_deleted=most, stored=stored)

    @property
    def position(self) -> Position:
        """Where it stands."""
        of = {"table": self._table.name, "key": self._key}
        return {"by": "comparison", "of": of, **self._comparison.position()}

    def look(self, stop: threading.Event) -> Iterator[Batch]:
        """Read all rows, in the order of their key; then tell which have gone. Raises Stopped,
        SourceError."""
        self._calls.run(self._table.look, stop)
        self._settle_key()
        self._comparison.begin()
        after: Sequence[Any] | None = None
        while True:
            page = self._calls.run(partial(self._page, after), stop)
            self._leave_last(page)
            for row in page.rows:
                self._compare(row)
            if len(self._records) >= self._batch or self._size >= PAGE_BYTES:
                yield self._given()
            if not page.full:
                break
            after = page.rows[-1][: len(self._order)]
        self._refuse_unkeyed(stop)
        gone = self._comparison.unseen()
        for record in self._comparison.gone(gone, self._key, self._texts):
            self._records.append(record)
            if len(self._records) >= self._batch:
                yield self._given()
        if self._comparison.end() or self._records:
            yield self._given(current=True)

    def _texts(self, key: str) -> list[str]:
        return split_key(key) if len(self._key) > 1 else [key]

    @property
    def _order(self) -> list[str]:
        """The key, and what tells rows apart that the database takes for equal in it, as "a" and
        "A" by many a collation."""
        return [*self._key, *(name for name in self._table.primary_key if name not in self._key)]

    def _page(self, after: Sequence[Any] | None) -> Any:
        return self._table.page(self._order, after, None, self._batch)

    def _leave_last(self, page: Page) -> None:
        """The last row of a page is read again with the next one, where no primary key is in the
        order: of two rows of one key at a border the second one would never be seen, and nobody
        would say that the key tells no rows apart."""
        last = [row[: len(self._key)] for row in page.rows[-2:]]
        if page.full and not self._table.primary_key and len(last) == 2 and last[0] != last[1]:
            page.rows.pop()

    def _refuse_unkeyed(self, stop: threading.Event) -> None:
        """Rows without a key are in no page by key."""
        if self._wanted is None:
            return
        call = partial(self._table.lacking, self._key, self._batch)
        for row in self._calls.run(call, stop).rows:
            data = data_of(self._table.columns, row[len(self._key) :])
            self._refuse(row[: len(self._key)], data, repr(data).encode(errors="surrogatepass"))

    def _settle_key(self) -> None:
        if self._wanted is None:
            if not self._table.primary_key:
                raise ConfigurationError(f"{self._table.name} has no primary key: name key=")
            if self._key and self._key != self._table.primary_key:
                raise ConfigurationError(
                    f"the primary key of {self._table.name} was {', '.join(self._key)}, and is "
                    f"{', '.join(self._table.primary_key)}: reset the source to read all rows"
                )
            self._key = list(self._table.primary_key)

    def _compare(self, row: Sequence[Any]) -> None:
        width, first = len(self._key), len(self._order)
        columns = [self._table.column(name) for name in self._key]
        data = data_of(self._table.columns, row[first:])
        shown = repr(data).encode(errors="surrogatepass")
        try:
            key = key_text(columns, row[:width])
            if len(key) > LONGEST_KEY:
                raise DataError(f"the row's key has more than {LONGEST_KEY} characters")
        except DataError:
            self._refuse(row[:width], data, shown)
            return
        found, record = self._comparison.row(key, data, shown)
        if found == "twice":
            raise ConfigurationError(
                f"{self._table.name} has two rows of the key {key[:100]!r}, so key= "
                f"({', '.join(self._key)}) tells no row from the other"
            )
        if record is not None:
            self._records.append(record)
            self._size += len(shown)

    def _refuse(self, key: Sequence[Any], data: dict[str, Any], shown: bytes) -> None:
        """A row that cannot have a key: a dead letter, once in this process for each state."""
        digest = hashlib.sha256(shown).hexdigest()[:32]
        if digest not in self._unkeyed and len(self._unkeyed) < self._batch:
            self._unkeyed.add(digest)
            columns = [self._table.column(name) for name in self._key]
            stream = self._stream
            record = record_of(columns, key, data, change="create", stream=stream, id=digest)
            self._records.append(record)

    def _given(self, *, current: bool = False) -> Batch:
        records, self._records, self._size = self._records, [], 0
        return Batch(records, self.position, current=current)
