"""Full comparison: all rows at each look, and what is new, changed or gone since the last."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.sql.polling.known import LONGEST_KEY, KnownRows
from trunkline.connectors.sql.polling.modes import FullComparison
from trunkline.connectors.sql.polling.records import data_of, key_text, record_of
from trunkline.connectors.sql.polling.table import PAGE_BYTES, PolledTable
from trunkline.connectors.sql.polling.waiting import Calls
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Change, Record, split_key

LEAST_ROWS = 100
"""Of a table with fewer rows any number may go."""


class ComparingReader:
    """Compares a table with what it was. For one thread.

    Positions: ``{"by": "comparison", "of": table and key, "phase": "snapshot" | "compare", "n":
    changes told, "parts": the known rows}``. A snapshot that is interrupted goes on: what is known
    is not told again.
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
        self._phase, self._number = "snapshot", 0
        self._known = KnownRows({}, mode.remember)
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
        self._phase, self._number = position["phase"], position["n"]
        self._known = KnownRows(position.get("parts", {}), self._mode.remember)

    @property
    def position(self) -> Position:
        """Where it stands."""
        return {
            "by": "comparison",
            "of": {"table": self._table.name, "key": self._key},
            "phase": self._phase,
            "n": self._number,
            "progress": {"of": self._table.name, "rows": len(self._known), "about": None},
            "parts": self._known.save(),
        }

    def look(self, stop: threading.Event) -> Iterator[Batch]:
        """Read all rows, in the order of their key; then tell which have gone. Raises Stopped,
        SourceError."""
        self._calls.run(self._table.look, stop)
        self._settle_key()
        self._known.begin()
        before = len(self._known)
        after: Sequence[Any] | None = None
        while True:
            page = self._calls.run(partial(self._page, after), stop)
            for row in page.rows:
                self._compare(row)
            if len(self._records) >= self._batch or self._size >= PAGE_BYTES:
                yield self._given()
            if not page.full:
                break
            after = page.rows[-1][: len(self._key)]
        for key in self._gone(before):
            self._known.forget(key)
            texts = split_key(key) if len(self._key) > 1 else [key]
            self._tell(key, "delete", dict(zip(self._key, texts, strict=False)), 0)
            if len(self._records) >= self._batch:
                yield self._given()
        ended, self._phase = self._phase == "snapshot", "compare"
        if self._records or ended:
            yield self._given(current=True)

    def _gone(self, before: int) -> list[str]:
        gone = self._known.unseen()
        most = self._mode.max_deleted
        if before >= LEAST_ROWS and len(gone) > before * most and self._phase == "compare":
            raise SourceError(
                f"{len(gone)} of {before} rows of {self._table.name} have gone since the last "
                f"look, more than max_deleted={most}: is it just being loaded anew? The next look "
                "tells; if they are meant to be deleted, raise max_deleted="
            )
        return gone

    def _page(self, after: Sequence[Any] | None) -> Any:
        return self._table.page(self._key, after, None, self._batch)

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
        width = len(self._key)
        columns = [self._table.column(name) for name in self._key]
        data = data_of(self._table.columns, row[width:])
        shown = repr(data)
        digest = hashlib.blake2b(shown.encode(errors="surrogatepass"), digest_size=8).digest()
        hash_ = int.from_bytes(digest, "big")
        try:
            key = key_text(columns, row[:width])
            if len(key) > LONGEST_KEY:
                raise DataError(f"the row's key has more than {LONGEST_KEY} characters")
        except DataError:
            self._refuse(row[:width], data, digest)
            return
        found = self._known.see(key, hash_)
        if found == "twice":
            raise ConfigurationError(
                f"{self._table.name} has two rows of the key {key[:100]!r}, so key= "
                f"({', '.join(self._key)}) tells no row from the other"
            )
        if found != "same":
            change: Change = "update" if found == "changed" else "create"
            self._tell(key, "snapshot" if self._phase == "snapshot" else change, data, hash_)
            self._size += len(shown)

    def _refuse(self, key: Sequence[Any], data: dict[str, Any], digest: bytes) -> None:
        """A row that cannot have a key: a dead letter, once in this process for each state."""
        if digest.hex() not in self._unkeyed and len(self._unkeyed) < self._batch:
            self._unkeyed.add(digest.hex())
            columns = [self._table.column(name) for name in self._key]
            record = record_of(
                columns, key, data, change="create", stream=self._stream, id=digest.hex()
            )
            self._records.append(record)

    def _tell(self, key: str, change: Change, data: dict[str, Any], hash_: int) -> None:
        """A change. Its id names the how-manieth it is: a row that goes back to what it was is
        another change, and one that is found again after a crash is the same."""
        self._number += 1
        told = f"{self._table.name}/{self._number}/{change}/{hash_}/{key}"
        self._records.append(
            Record(
                key=key,
                data=data,
                change=change,
                stream=self._stream,
                id=hashlib.sha256(told.encode(errors="replace")).hexdigest()[:32],
                place=f"{self._stream} {key}"[:200],
            )
        )

    def _given(self, *, current: bool = False) -> Batch:
        records, self._records, self._size = self._records, [], 0
        return Batch(records, self.position, current=current)
