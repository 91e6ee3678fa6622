"""The first snapshot of all tables: several readers, who share what one new slot exports."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime

from trunkline.connectors.base import Position
from trunkline.connectors.postgres import blocks, snapshot
from trunkline.connectors.postgres.blocks import Extent, Span, Spans
from trunkline.connectors.postgres.catalog import Table
from trunkline.connectors.postgres.connection import Connection
from trunkline.connectors.postgres.copying import Row
from trunkline.connectors.postgres.incremental import ADDED, State, state_of
from trunkline.connectors.postgres.values import Shape, Types
from trunkline.event import Record


@dataclass(slots=True)
class _Part:
    """A table, and how much of it is left."""

    table: Table
    shape: Shape
    extent: Extent
    spans: Spans
    about: int | None
    rows: int = 0


@dataclass(slots=True)
class _Reader:
    """A connection that sees the snapshot, and the span that it reads."""

    connection: Connection
    part: _Part
    span: Span
    portions: Generator[tuple[list[Row], Span], None, None]


class Initial:
    """Reads the tables by ``connections`` which all see the snapshot of a slot that begins at
    ``point``, taken at ``time``. For the source's thread.

    What is left stands in ``states``, as ``Incremental`` goes on with it: while the changes since
    ``point`` come. The snapshot itself ends with its connections.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        tables: Sequence[tuple[Table, Extent]],
        types: Types,
        point: str,
        time: datetime,
        *,
        batch: int,
    ) -> None:
        self._connections = list(connections)
        self._point = point
        self._time = time
        self._batch = batch
        self._parts = [
            _Part(
                table,
                table.shape(types),
                extent,
                Spans.whole(extent),
                snapshot.estimate(self._connections[0], table),
            )
            for table, extent in tables
        ]

    def batches(self) -> Generator[tuple[list[Record], Position], None, None]:
        """All rows, batch by batch, each with what a position has of the snapshot.

        The connections are read in turns: while one's rows are published, the server sends those
        of the others, and not more than three portions of each are in memory.
        """
        idle, reading = list(self._connections), deque[_Reader]()
        try:
            while True:
                while idle and (part := self._next()) is not None:
                    reading.append(self._begun(idle.pop(), *part))
                if not reading:
                    return
                reader = reading.popleft()
                rows, left = next(reader.portions, ([], None))
                reader.part.spans.move(reader.span, left)
                if left is None:
                    idle.append(reader.connection)
                    continue
                reader.span = left
                reading.append(reader)
                reader.part.rows += len(rows)
                yield self._records(reader.part, rows), self._position(reader.part)
        finally:
            for reader in reading:
                reader.portions.close()

    def _next(self) -> tuple[_Part, Span] | None:
        for part in self._parts:
            if (span := part.spans.take(part.extent.files)) is not None:
                return part, span
        return None

    def _begun(self, connection: Connection, part: _Part, span: Span) -> _Reader:
        portions = blocks.rows_of(connection, part.table, span, self._batch)
        return _Reader(connection, part, span, portions)

    def _records(self, part: _Part, rows: Sequence[Row]) -> list[Record]:
        return snapshot.snapshot_records(part.shape, rows, self._point, self._time)

    def _position(self, part: _Part) -> Position:
        progress = {"of": part.table.stream, "rows": part.rows, "about": part.about}
        return {"progress": progress, "snapshots": self.states}

    @property
    def states(self) -> dict[str, State]:
        """What is left of each table."""
        return {
            f"{ADDED}{part.table.stream}:{self._point}": state_of(part.table.stream)
            | {
                "rows": part.rows,
                "about": part.about,
                "oid": part.table.oid,
                "point": self._point,
                "files": [part.extent.files, part.extent.mark],
                "spans": part.spans.as_json(),
            }
            for part in self._parts
            if part.spans
        }
