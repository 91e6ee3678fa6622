"""The publication: what PostgreSQL hands to the stream, and everything that would be missing.

Whatever PostgreSQL will ask of a published table when the application changes it is asked here
first: a table is published only if its UPDATE and DELETE go on working.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg2 import sql

from trunkline.connectors.postgres.catalog import GENERATED_PUBLISHED, Table, describe
from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.connectors.postgres.statements import (
    ALL_OPERATIONS,
    Fault,
    mending,
    quoted,
    quoted_table,
    refuse,
)

# Through JSON: pubgencols came with PostgreSQL 18, attnames and rowfilter with 15. xmin is another
# one after each ALTER PUBLICATION … SET.
_PUBLICATION = """
SELECT p.oid::int8, p.xmin::text, p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate,
  p.pubviaroot, to_jsonb(p) ->> 'pubgencols' = 's' FROM pg_publication p WHERE p.pubname = %s
"""
_MEMBERS = "SELECT prrelid::int8, oid::int8 FROM pg_publication_rel WHERE prpubid = %s"
_SCHEMAS = "SELECT pnnspid::int8, oid::int8 FROM pg_publication_namespace WHERE pnpubid = %s"
_SCHEMAS_PUBLISHED = 150_000
"""The version from which on a publication can have schemas."""
_TABLES = """
SELECT p.schemaname || '.' || p.tablename, to_jsonb(p) -> 'attnames', to_jsonb(p) ->> 'rowfilter'
FROM pg_publication_tables p WHERE p.pubname = %s
"""


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as it is, or one that is not there yet (``oid`` 0)."""

    name: str
    server: int
    """The server's version, as libpq numbers it."""
    oid: int = 0
    version: str = ""
    """Another one after each ALTER PUBLICATION … SET, OWNER or RENAME."""
    complete: bool = True
    """Whether it publishes all four operations."""
    via_root: bool = True
    generated: bool = False
    """Whether it publishes stored generated columns."""
    members: Mapping[int, int] = field(default_factory=dict)
    """By the OID of a table or a schema, the OID of the fact that it is in the publication."""
    tables: Mapping[str, tuple[list[str] | None, str | None]] = field(default_factory=dict)
    """Column list and row filter of each published table."""


def find(connection: Connection, name: str) -> Publication:
    """The publication of this name, if it is there."""
    with connection.cursor() as cursor, translated(f"reading publication {name}"):
        cursor.execute(_PUBLICATION, (name,))
        found = cursor.fetchone()
        if found is None:
            return Publication(name, connection.server_version)
        oid, version, complete, via_root, generated = found
        cursor.execute(_MEMBERS, (oid,))
        members = cursor.fetchall()
        if connection.server_version >= _SCHEMAS_PUBLISHED:
            cursor.execute(_SCHEMAS, (oid,))
            members += cursor.fetchall()
        cursor.execute(_TABLES, (name,))
        tables = {stream: (names, where) for stream, names, where in cursor.fetchall()}
    return Publication(
        name,
        connection.server_version,
        oid,
        version,
        complete,
        via_root,
        bool(generated),
        dict(members),
        tables,
    )


def publish(connection: Connection, name: str, streams: Sequence[str]) -> bool:
    """Makes the publication if it is not there, and adds the tables it lacks.

    Returns whether it was made. Raises ConfigurationError, before anything is changed, where a
    table cannot be captured, or the application could not change it any more.
    """
    tables = describe(connection, streams)
    found, missing = intended(connection, name, tables)
    refuse(faults(tables, found))
    if missing:
        _change(connection, found, missing)
    return not found.oid


def intended(
    connection: Connection, name: str, tables: Sequence[Table]
) -> tuple[Publication, list[Table]]:
    """The publication, as it would be made if it is not there; and the tables that it lacks."""
    found = find(connection, name)
    missing = [table for table in tables if table.stream not in found.tables]
    if not found.oid and found.server >= GENERATED_PUBLISHED:
        needed = any(_unpublished_identity(table, found) for table in tables)
        found = replace(found, generated=needed)
    return found, missing


def statement(connection: Connection, found: Publication, tables: Sequence[Table]) -> str:
    """What makes the publication, or adds tables to it."""
    command = "ALTER PUBLICATION {} ADD TABLE {}"
    if not found.oid:
        generated = ", publish_generated_columns = stored" if found.generated else ""
        command = (
            "CREATE PUBLICATION {} FOR TABLE {} "
            f"WITH (publish_via_partition_root = true{generated})"
        )
    listed = sql.SQL(", ").join(table.identifier for table in tables)
    return sql.SQL(command).format(sql.Identifier(found.name), listed).as_string(connection) + ";"


def _change(connection: Connection, found: Publication, tables: Sequence[Table]) -> None:
    command = statement(connection, found, tables)
    mend = f"somebody who owns the tables must run: {command}"
    with connection.cursor() as cursor, translated("publishing the tables", mend):
        cursor.execute(command)


def published(
    connection: Connection, name: str, streams: Sequence[str]
) -> tuple[Publication, list[Table]]:
    """The publication, and the tables as they are published. Raises ConfigurationError if one is
    not, or not all of its changes: they have not been recorded for this source."""
    tables, found = describe(connection, streams), find(connection, name)
    if not found.oid:
        refuse([_gone(name, tables)])
    refuse(_not_in(found, tables))
    refuse(faults(tables, found))
    return found, [_narrowed(table, found) for table in tables]


def _gone(name: str, tables: Sequence[Table]) -> str:
    listed = ", ".join(quoted_table(table.stream) for table in tables)
    return (
        f"publication {name} is not there: it was dropped or renamed, and changes since then are "
        f"not recorded for this source. Run CREATE PUBLICATION {quoted(name)} FOR TABLE {listed} "
        "WITH (publish_via_partition_root = true); and then trunkline source reset"
    )


def _not_in(found: Publication, tables: Sequence[Table]) -> Iterator[str]:
    for table in tables:
        if table.stream in found.tables or _without_root(table, found):
            continue
        yield (
            f"publication {found.name} does not have {table.stream}, so its changes did not come. "
            f"Run ALTER PUBLICATION {quoted(found.name)} ADD TABLE {quoted_table(table.stream)}; "
            "and, if the rows that changed meanwhile are needed, trunkline source reset"
        )


def _without_root(table: Table, found: Publication) -> bool:
    """Whether the changes of a partitioned table come under the names of its partitions."""
    return table.partitioned and bool(found.oid) and not found.via_root


def faults(tables: Sequence[Table], found: Publication) -> Iterator[Fault]:
    """Everything for which changes would be missing, or refused to the application."""
    name = quoted(found.name)
    if not found.complete:
        yield mending(
            f"publication {found.name} does not publish all of {ALL_OPERATIONS}: the others would "
            "be missing. Run",
            f"ALTER PUBLICATION {name} SET (publish = '{ALL_OPERATIONS}');",
        )
    for table in tables:
        if _without_root(table, found):
            yield mending(
                f"publication {found.name} publishes the partitions of {table.stream} under their "
                "own names. Run",
                f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true);",
            )
            continue
        narrowed = _narrowed(table, found)
        if (unreadable := narrowed.unreadable()) is not None:
            yield unreadable
        yield from _identity_faults(table, narrowed, found)


def _identity_faults(table: Table, narrowed: Table, found: Publication) -> Iterator[Fault]:
    unpublished = _unpublished_identity(table, found)
    names = {column.name for column in narrowed.columns}
    if unpublished:
        yield unpublished
    elif left_out := [column for column in table.key if column not in names]:
        listed = ", ".join(map(quoted, [*left_out, *(c.name for c in narrowed.columns)]))
        yield Fault(
            f"publication {found.name} leaves out {', '.join(left_out)} of the key of "
            f"{table.stream}, and PostgreSQL refuses UPDATE and DELETE of such a table. Let its "
            f"column list be ({listed}): ALTER PUBLICATION {quoted(found.name)} SET TABLE …;"
        )


def _unpublished_identity(table: Table, found: Publication) -> Fault | None:
    """Generated columns that belong to the replica identity and are not published, and what to do.

    PostgreSQL 18 refuses UPDATE and DELETE of such a table. Older ones never send the columns: with
    REPLICA IDENTITY FULL that does no harm, in a key it would leave rows without one.
    """
    numbered = found.server >= GENERATED_PUBLISHED
    identity = [c for c in table.columns if (table.full and numbered) or c.name in table.key]
    sent = _narrowed(table, found).columns
    left_out = [column for column in identity if column.generated and column not in sent]
    if not left_out:
        return None
    names = ", ".join(column.name for column in left_out)
    told = f"table {table.stream}: its replica identity has the generated column {names}, which "
    if not numbered:
        return Fault(f"{told}PostgreSQL before 18 does not send: give it a primary key without")
    if any(column.generated == "v" for column in left_out):
        identified = f"ALTER TABLE {quoted_table(table.stream)} REPLICA IDENTITY DEFAULT;"
        told += "cannot be published, so that UPDATE and DELETE would fail: run"
        return mending(told, identified)
    altered = f"ALTER PUBLICATION {quoted(found.name)} SET (publish_generated_columns = stored);"
    return mending(f"{told}is not published, so that UPDATE and DELETE fail: run", altered)


def _narrowed(table: Table, found: Publication) -> Table:
    names, where = found.tables.get(table.stream, (None, None))
    columns = tuple(
        column
        for column in table.columns
        if (names is None or column.name in names) and _is_sent(column.generated, names, found)
    )
    member = found.members.get(table.oid) or found.members.get(table.schema_oid, 0)
    return replace(table, columns=columns, where=where or "", membership=member)


def _is_sent(generated: str, names: list[str] | None, found: Publication) -> bool:
    if not generated:
        return True
    if found.server < GENERATED_PUBLISHED:  # its catalog names them, and they never come
        return False
    return generated == "s" and (names is not None or found.generated)


def drop(connection: Connection, publication: str) -> None:
    """Drops the publication if it is there."""
    statement = sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(publication))
    with connection.cursor() as cursor, translated(f"dropping publication {publication}"):
        cursor.execute(statement)
