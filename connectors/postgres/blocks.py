"""A table's rows by their places: spans of blocks, which several readers read at once.

Not by key: the places are there without an index, every span is read once and in the order of the
disk, whatever the key's type is and however its values are spread. And they are as good for going
on later, with another snapshot. A row stays in its place until it is changed, or the table's file
is written anew (VACUUM FULL, CLUSTER, some ALTER TABLE). The one the stream tells, the other the
file's number; then the table is read from its beginning.

Of a partitioned table a span is one of each of its partitions: the role may have no right to read
them one by one.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import NamedTuple

from psycopg2 import sql

from trunkline.connectors.postgres import snapshot
from trunkline.connectors.postgres.catalog import Table
from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.connectors.postgres.copying import Row

_AT_ONCE = 32
"""Blocks of a table that one reader takes at once: 256 kB, some thousand rows, which the server
sorts by place in its memory."""
_EXTENT = """
SELECT coalesce(max(pg_relation_size(leaf)) / current_setting('block_size')::int8, 0)::int8,
  count(*)::int8,
  coalesce(md5(string_agg(leaf || ':' || pg_relation_filenode(leaf), ',' ORDER BY leaf)), '')
FROM (SELECT oid AS leaf FROM pg_class WHERE oid = %(oid)s AND relkind <> 'p'
  UNION SELECT relid::oid FROM pg_partition_tree(%(oid)s::oid::regclass) WHERE isleaf) AS leaves
"""
_PLACE = re.compile(rb"\((\d+),(\d+)\)")


class Span(NamedTuple):
    """Rows behind a place and before the block ``end``. The place is a row's, which is read:
    ``block``, ``offset``, and the ``leaf``, by OID, for partitions have the same places; offset 0
    is before the first row."""

    block: int
    offset: int
    leaf: int
    end: int

    def after(self, place: Row) -> Span:
        """What is left when the row with this ctid and tableoid is read, too."""
        found = _PLACE.fullmatch(place[0] or b"")
        assert found is not None, place
        return Span(int(found[1]), int(found[2]), int(place[1] or b"0"), self.end)


class Extent(NamedTuple):
    """How large a table is: the ``blocks`` of its file, or of the largest of ``files``. ``mark``:
    another one when one of the files was written anew."""

    blocks: int
    files: int
    mark: str


def extent(connection: Connection, table: Table) -> Extent:
    """How large the table is now. A snapshot that was taken before has no row behind it."""
    with translated(f"measuring table {table.stream}"), connection.cursor() as cursor:
        cursor.execute(_EXTENT, {"oid": table.oid})
        return Extent(*cursor.fetchall()[0])


class Spans:
    """What of one table is left to read. Several spans may be taken at once."""

    def __init__(self, stored: Sequence[Sequence[int]]) -> None:
        self._left = [Span(*each) for each in stored]
        self._taken: set[Span] = set()

    @classmethod
    def whole(cls, found: Extent) -> Spans:
        """All of a table."""
        return cls([(0, 0, 0, found.blocks)] if found.blocks else [])

    def take(self, files: int = 1) -> Span | None:
        """The next span for a reader, of a table with so many files; None if all are taken."""
        for at, span in enumerate(self._left):
            if span in self._taken:
                continue
            end = min(span.end, span.block + max(1, _AT_ONCE // max(1, files)))
            first = span._replace(end=end)
            rest = [Span(end, 0, 0, span.end)] if end < span.end else []
            self._left[at : at + 1] = [first, *rest]
            self._taken.add(first)
            return first
        return None

    def move(self, span: Span, left: Span | None) -> None:
        """Of a span that is taken only ``left`` is left, which stays taken; nothing if None."""
        self._taken.discard(span)
        if span not in self._left:  # given up: the table is read from its beginning
            return
        at = self._left.index(span)
        self._left[at : at + 1] = [] if left is None else [left]
        if left is not None:
            self._taken.add(left)

    def give_back(self, span: Span) -> None:
        """Nobody reads the span any more."""
        self._taken.discard(span)

    def as_json(self) -> list[list[int]]:
        """As a position has it."""
        return [list(span) for span in self._left]

    def __bool__(self) -> bool:
        return bool(self._left)


def rows_of(
    connection: Connection, table: Table, span: Span, limit: int
) -> Generator[tuple[list[Row], Span], None, None]:
    """The rows of a span, up to ``limit`` at a time, in the order of their places; each portion
    with what is left behind it. Raises as ``copied`` does."""
    place = [sql.Identifier("ctid"), sql.Identifier("tableoid")]
    order = sql.SQL("ORDER BY {}").format(sql.SQL(", ").join(place))
    portions = snapshot.rows_of(connection, table, limit, _condition(span), order, place)
    with closing(portions):
        for rows in portions:
            left = span.after(rows[-1][-2:])
            for row in rows:
                del row[-2:]
            yield rows, left


def _condition(span: Span) -> sql.Composable:
    begin, end = f"({span.block},{span.offset})", f"({span.end},0)"
    condition = sql.SQL("ctid >= {} AND ctid < {}").format(sql.Literal(begin), sql.Literal(end))
    if not span.offset:
        return condition
    behind = sql.SQL("(ctid, tableoid) > ({}::tid, {}::oid)")
    place = sql.Literal(begin), sql.Literal(span.leaf)
    return sql.SQL(" AND ").join([condition, behind.format(*place)])
