"""What becomes of single partitions, which the log does not tell.

The changes of a partitioned table come under its own name (``publish_via_partition_root``). Then
PostgreSQL writes nothing of a partition that is truncated, dropped or detached, though the table
has lost its rows, nor of one that is attached, with the rows that it brings. The catalog tells: of
each partition its OID, and its file, which is another one after TRUNCATE; and which transaction has
changed that. If the log tells a TRUNCATE of the table by that one, it needs no other word. And it
tells by which transaction a partition was attached: one that was detached, changed and attached
again between two looks has its OID and its file still.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.errors import DataError
from trunkline.event import Record, Unreadable

_LEAVES = """
WITH tree AS MATERIALIZED (SELECT relid, isleaf, level FROM pg_partition_tree(%s::oid::regclass))
SELECT t.relid::oid::int8, n.nspname || '.' || c.relname, pg_relation_filenode(c.oid)::int8,
  coalesce(pg_relation_size(c.oid), 0), c.xmin::text::int8,
  (SELECT string_agg(i.xmin::text, '-' ORDER BY a.level) FROM pg_partition_ancestors(t.relid) up
    JOIN tree a ON a.relid = up.relid AND a.level > 0 JOIN pg_inherits i ON i.inhrelid = a.relid)
FROM tree t JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition that holds rows. ``file``: its file's number; ``filled``: whether it has any;
    ``changed``: the transaction that changed its entry in the catalog last. ``attached``: those
    that attached it, and what it is in, up to the table; none if a position does not tell."""

    oid: int
    name: str
    file: int
    filled: bool = True
    changed: int = 0
    attached: str = ""

    def is_again(self, known: Partition) -> bool:
        """Whether it was detached and attached again since it was ``known``."""
        return bool(known.attached) and self.attached != known.attached


Partitions = Mapping[str, Mapping[int, Partition]]
"""By the partitioned table's stream, then by OID."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows that are gone, or may be, of which no change tells. ``id``: the same at each look.
    ``by``: the transaction that may have truncated them."""

    stream: str
    id: str
    text: str
    by: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What is another than it was ``now``, when the log ended at ``lsn``."""

    lsn: int
    now: Partitions
    lost: Sequence[Loss]
    arrived: Sequence[tuple[str, Partition]]

    def untold(self, truncated: Collection[int]) -> list[Loss]:
        """The losses which no TRUNCATE of these transactions tells."""
        return [loss for loss in self.lost if loss.by not in truncated]


def present(connection: Connection, tables: Mapping[str, int]) -> Partitions:
    """The partitions of tables, given by stream and OID."""
    found: dict[str, dict[int, Partition]] = {}
    for stream, oid in tables.items():
        with translated(f"asking for the partitions of {stream}"), connection.cursor() as cursor:
            cursor.execute(_LEAVES, (oid,))
            rows = cursor.fetchall()
        found[stream] = {
            leaf: Partition(leaf, name, file or 0, size > 0, changed, attached or "")
            for leaf, name, file, size, changed, attached in rows
        }
    return found


def look(connection: Connection, tables: Mapping[str, int], before: Partitions) -> Look:
    """The partitions as they are now, and what is another than before."""
    now = present(connection, tables)
    with translated("reading the end of the log"), connection.cursor() as cursor:
        # A TRUNCATE is flushed before anybody sees it, as its old files are removed then.
        cursor.execute("SELECT (pg_current_wal_flush_lsn() - '0/0')::int8")
        ((lsn,),) = cursor.fetchall()
    return Look(lsn, now, list(losses(before, now)), list(arrivals(before, now)))


def losses(before: Partitions, now: Partitions) -> Iterator[Loss]:
    """What is gone of tables that were known before."""
    for stream, leaves in now.items():
        for oid, known in before.get(stream, {}).items():
            leaf = leaves.get(oid)
            if leaf is None:
                yield Loss(
                    stream,
                    f"{stream}-partition-{oid}-gone",
                    f"partition {known.name} was detached from {stream}, or dropped: the table has "
                    "lost its rows, and no delete tells of them. Remove them at the destinations "
                    "if they are to go there, too",
                )
            elif leaf.is_again(known):
                yield Loss(
                    stream,
                    f"{stream}-partition-{oid}-attached-{leaf.attached}",
                    f"partition {leaf.name} was detached from {stream} and attached again: no "
                    "change tells what was done to its rows meanwhile. It may have lost some: "
                    "compare, and remove them at the destinations",
                )
            elif leaf.file != known.file:
                what = "was truncated"
                if leaf.filled:
                    what += ", or only rewritten (VACUUM FULL, CLUSTER, ALTER TABLE)"
                yield Loss(
                    stream,
                    f"{stream}-partition-{oid}-file-{leaf.file}",
                    f"partition {leaf.name} of {stream} {what}: the table may have lost rows, and "
                    "no delete tells of them. Compare, and remove them at the destinations",
                    leaf.changed,
                )


def arrivals(before: Partitions, now: Partitions) -> Iterator[tuple[str, Partition]]:
    """Partitions with rows that are new to a table which was known before, or are there again."""
    for stream, leaves in now.items():
        if stream in before:
            for oid, leaf in leaves.items():
                known = before[stream].get(oid)
                if leaf.filled and (known is None or leaf.is_again(known)):
                    yield stream, leaf


def unread(stream: str, leaf: Partition) -> Loss:
    """What to say of a partition that came with rows, of a source that reads no snapshots."""
    return Loss(
        stream,
        f"{stream}-partition-{leaf.oid}-new-{leaf.attached}",
        f"partition {leaf.name} was attached to {stream} with rows of which no change tells, and "
        'with snapshot="never" the source does not read them: run trunkline source snapshot with '
        f"--table {stream} --where 'tableoid = {leaf.oid}'",
    )


def record_of(loss: Loss) -> Record:
    """The loss as a record, which becomes a dead letter: it is there until a person has seen it."""
    error = DataError(loss.text)
    return Record(
        key="",
        data={},
        change="truncate",
        stream=loss.stream,
        id=loss.id,
        time=datetime.now(UTC),
        place=loss.stream,
        unreadable=Unreadable(error),
    )


def as_json(found: Partitions) -> dict[str, dict[str, list[object]]]:
    """As a position has it, in its parts."""
    return {
        stream: {str(oid): [leaf.name, leaf.file, leaf.attached] for oid, leaf in leaves.items()}
        for stream, leaves in found.items()
    }


def of_json(stored: Mapping[str, Mapping[str, Sequence[object]]]) -> Partitions:
    """What ``as_json`` gave."""
    return {
        stream: {int(oid): _of_json(int(oid), leaf) for oid, leaf in leaves.items()}
        for stream, leaves in stored.items()
    }


def _of_json(oid: int, leaf: Sequence[object]) -> Partition:
    """Positions of an earlier version have two parts of it."""
    name, file, *attached = map(str, leaf)
    return Partition(oid, name, int(file), attached="".join(attached))
