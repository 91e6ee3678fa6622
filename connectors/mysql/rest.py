"""What is left of a first snapshot: which tables, and behind which key.

Rows are read in the order of their key, and each position says how far they are. A snapshot ends
with its connection. So one that was interrupted goes on with another one, which is taken later: the
log tells what has changed between the two, of the rows that were read and of the others; then come
the rows that are left, as the later one sees them. Where the log stands there is known exactly, so
nothing is told twice and nothing older after something newer.

A table whose key has no order that could be gone on in begins again, with the same ids.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from trunkline.connectors.base import Position
from trunkline.connectors.mysql.catalog import Table, estimate
from trunkline.connectors.mysql.session import Session
from trunkline.connectors.mysql.snapshot import Point, records_of, rows_of
from trunkline.event import Record

log = logging.getLogger(__name__)

State = dict[str, Any]
"""How far one table is: its ``rows`` so far, and the key of the last one, ``after``, in
hexadecimal as the text protocol has it; None before the first. ``order``: which one that is in."""
_ENTRIES = ("point", "taken", "left")


class Rest:
    """What is left. ``point``: the place of the first snapshot, with which the ids of all rows
    begin; ``taken``: when that was."""

    def __init__(self, point: str, taken: datetime, left: dict[str, State]) -> None:
        self._point = point
        self._taken = taken
        self._left = left
        self._progress: dict[str, Any] = {}

    @classmethod
    def whole(cls, point: Point, streams: Sequence[str]) -> Rest:
        """All of these tables, in their order."""
        left: dict[str, State] = {stream: {"rows": 0, "after": None} for stream in streams}
        return cls(f"{point.file}:{point.at}", point.time, left)

    @classmethod
    def stored(cls, position: Position) -> Rest:
        """As a position has it."""
        left = {stream: dict(state) for stream, state in position["left"].items()}
        return cls(position["point"], datetime.fromisoformat(position["taken"]), left)

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def streams(self) -> list[str]:
        """The tables of which rows are left."""
        return list(self._left)

    @property
    def in_vain(self) -> bool:
        """Whether a table is to begin again."""
        return any(state["rows"] and not state["after"] for state in self._left.values())

    def follow(self, streams: Collection[str]) -> None:
        """What ``tables=`` does not name any more is not read."""
        for stream in [stream for stream in self._left if stream not in streams]:
            log.warning("table %s is not in tables= any more: the rest of it is not read", stream)
            del self._left[stream]

    def as_json(self) -> Position:
        """What a position has of it."""
        left = {stream: dict(state) for stream, state in self._left.items()}
        entries = dict(zip(_ENTRIES, (self._point, self._taken.isoformat(), left), strict=True))
        return entries | ({"progress": dict(self._progress)} if self._progress else {})

    def portions(
        self, session: Session, tables: Sequence[Table], limit: int
    ) -> Generator[list[Record], None, None]:
        """The rows of these tables that are left, in a transaction that sees a snapshot, up to
        ``limit`` at a time; [] while the server lets us wait. ``as_json`` is behind each."""
        abouts = [estimate(session, table.stream) for table in tables]
        for table, about in zip(tables, abouts, strict=True):
            state = self._left[table.stream]
            if state["after"] and state.get("order", table.order) != table.order:
                # As 'b' stands behind 'C' in one collation, and before it in another one.
                log.warning("the key of table %s was altered: its rows begin again", table.stream)
                state["after"] = None
            if not state["after"]:
                state["rows"] = 0
            state["order"] = table.order
            after = [bytes.fromhex(value) for value in state["after"] or ()]
            prefix = f"{self._point}-{table.stream}-"
            with closing(rows_of(session, table, after, limit)) as portions:
                for rows, last in portions:
                    state["rows"] += len(rows)
                    if last:
                        state["after"] = [value.hex() for value in last]
                    read = state["rows"]
                    self._progress = {"of": table.stream, "rows": read, "about": about}
                    yield records_of(table, rows, prefix, self._taken)
            del self._left[table.stream]
