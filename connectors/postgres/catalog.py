"""What PostgreSQL's catalog knows: tables and their keys, publications, replication slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg2 import sql

from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.connectors.postgres.decoder import lsn_text, no_key
from trunkline.connectors.postgres.values import Shape, Types
from trunkline.errors import ConfigurationError, SourceError

# Columns are those that pgoutput sends: no generated ones. A key is the replica identity, and
# with REPLICA IDENTITY FULL the primary key; INCLUDE columns of its index are none of it.
_TABLE = """
SELECT c.oid::int8, c.relkind::text, c.relreplident::text, c.relpersistence::text,
  has_table_privilege(c.oid, 'SELECT'), pg_relation_filenode(c.oid)::int8,
  ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
    AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
  ARRAY(SELECT a.atttypid::int8 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
    AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
  ARRAY(SELECT a.attname::text FROM pg_attribute a JOIN pg_index i ON i.indrelid = a.attrelid
    AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
    WHERE a.attrelid = c.oid AND c.relreplident <> 'n'
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
    ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""
# Through JSON, because the columns attnames and rowfilter came with PostgreSQL 15.
_PUBLISHED = """
SELECT p.schemaname || '.' || p.tablename, to_jsonb(p) -> 'attnames', to_jsonb(p) ->> 'rowfilter'
FROM pg_publication_tables p WHERE p.pubname = %s
"""
_TYPES = """
SELECT oid::int8, CASE WHEN typtype = 'd' THEN typbasetype::int8 END,
  CASE WHEN typinput = 'array_in'::regproc AND typdelim = ',' THEN typelem::int8 END
FROM pg_type
"""
_SLOT = """
SELECT plugin::text, database::text = current_database(), active_pid, to_jsonb(s) ->> 'wal_status'
FROM pg_replication_slots s WHERE slot_name = %s
"""


class SlotInUse(SourceError):
    """Another process reads from the slot."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table to be captured, as the catalog describes it."""

    schema: str
    name: str
    columns: tuple[tuple[str, int], ...]
    key: tuple[str, ...]
    filenode: int | None
    """The file that holds the rows: another one after TRUNCATE, or ALTER TABLE if it rewrites them.
    If that happens between a snapshot's begin and its lock, the snapshot shows no rows."""
    where: str = ""
    """The publication's row filter: only these rows are captured."""

    partitioned: bool = False

    @property
    def stream(self) -> str:
        """Its name in records."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in statements."""
        return sql.Identifier(self.schema, self.name)

    def shape(self, types: Types) -> Shape:
        """How its rows become records."""
        return Shape(self.stream, self.columns, self.key, types)


def describe(connection: Connection, streams: Sequence[str]) -> list[Table]:
    """The tables of these names (``schema.table``), in that order. Raises ConfigurationError
    for one that is missing, cannot be read, or whose rows nothing identifies."""
    return [_table(connection, *stream.split(".", 1)) for stream in streams]


def _table(connection: Connection, schema: str, name: str) -> Table:
    stream = f"{schema}.{name}"
    with translated(f"describing table {stream}"), connection.cursor() as cursor:
        cursor.execute(_TABLE, (schema, name))
        found = cursor.fetchone()
    if found is None:
        raise ConfigurationError(
            f"table {stream} is not in the database: correct tables= (schema.table, in the case "
            "that the catalog has it in)"
        )
    _, kind, identity, persistence, readable, filenode, names, oids, key = found
    if kind not in "rp" or persistence != "p":
        raise ConfigurationError(f"{stream} is not a permanent table: it has no change log")
    if not readable:
        raise ConfigurationError(f"table {stream}: run GRANT SELECT ON {stream} TO CURRENT_USER;")
    if identity == "n":
        raise ConfigurationError(f"run ALTER TABLE {stream} REPLICA IDENTITY DEFAULT;")
    if not key:
        raise ConfigurationError(f"table {stream} has no primary key: {no_key(stream)}")
    columns = tuple(zip(names, oids, strict=True))
    return Table(schema, name, columns, tuple(key), filenode, partitioned=kind == "p")


def load_types(connection: Connection) -> Types:
    """The database's domains and arrays."""
    with translated("reading the types"), connection.cursor() as cursor:
        cursor.execute(_TYPES)
        rows = cursor.fetchall()
    return Types(
        known=frozenset(oid for oid, _, _ in rows),
        domains={oid: base for oid, base, _ in rows if base is not None},
        arrays={oid: element for oid, _, element in rows if element is not None},
    )


def require_logical(connection: Connection) -> None:
    """Raises ConfigurationError unless the server's log can be decoded, and its text read."""
    with translated("reading the settings"), connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('wal_level'), current_setting('server_encoding'), "
            "current_database()"
        )
        level, encoding, database = cursor.fetchone() or ("", "", "")
    if level != "logical":
        raise ConfigurationError(
            f"PostgreSQL has wal_level = {level}, change data capture needs logical: run "
            "ALTER SYSTEM SET wal_level = logical; and restart the server"
        )
    if encoding == "SQL_ASCII":
        raise ConfigurationError(
            f"database {database} has encoding SQL_ASCII: nobody knows what its text means. Move "
            "it to a database with ENCODING 'UTF8'"
        )


def require_reached(connection: Connection, lsn: int) -> None:
    """Raises ConfigurationError if the server has not written as far as ``lsn``.

    Such a server was restored from a backup, or is a replica that lagged when it was promoted. It
    would start the stream at ``lsn``, and pass over every change until it gets there.
    """
    with translated("reading the end of the log"), connection.cursor() as cursor:
        cursor.execute("SELECT (pg_current_wal_flush_lsn() - '0/0')::int8")
        (end,) = cursor.fetchone() or (0,)
    if lsn > end:
        raise ConfigurationError(
            f"the stored position {lsn_text(lsn)} lies ahead of the server, which has written up "
            f"to {lsn_text(end)}: it was restored, or replaced by a copy that lagged. Drop the "
            "slot and reset the source's position to take a new snapshot"
        )


def publish(connection: Connection, publication: str, tables: Sequence[Table]) -> list[Table]:
    """Makes the publication if it is not there, and adds the tables it lacks. Returns the tables
    as they are published: with its column lists and row filters."""
    with connection.cursor() as cursor, translated("reading publications"):
        cursor.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (publication,))
        there = cursor.fetchone() is not None
    missing = _unpublished(connection, publication, tables)
    if missing:
        _change_publication(connection, publication, missing, there)
    return published(connection, publication, tables)


def _change_publication(
    connection: Connection, publication: str, tables: Sequence[Table], there: bool
) -> None:
    command = "ALTER PUBLICATION {} ADD TABLE {}"
    if not there:
        command = "CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)"
    listed = sql.SQL(", ").join(table.identifier for table in tables)
    statement = sql.SQL(command).format(sql.Identifier(publication), listed).as_string(connection)
    mend = f"somebody who owns the tables must run: {statement};"
    with connection.cursor() as cursor, translated("publishing the tables", mend):
        cursor.execute(statement)


def published(connection: Connection, publication: str, tables: Sequence[Table]) -> list[Table]:
    """The tables as they are published. Raises ConfigurationError if one is not: its changes
    have not been recorded for this source."""
    missing = _unpublished(connection, publication, tables)
    if missing:
        raise ConfigurationError(
            f"publication {publication} does not have {missing[0].stream}, so its changes did not "
            f"come. Run ALTER PUBLICATION {publication} ADD TABLE {missing[0].stream}; and reset "
            "the source's position if the rows that changed meanwhile are needed"
        )
    found = _published(connection, publication)
    return [_narrowed(table, *found[table.stream]) for table in tables]


def _unpublished(connection: Connection, publication: str, tables: Sequence[Table]) -> list[Table]:
    found = _published(connection, publication)
    return [table for table in tables if table.stream not in found]


def _published(
    connection: Connection, publication: str
) -> dict[str, tuple[list[str] | None, str | None]]:
    with connection.cursor() as cursor, translated("reading the publication"):
        cursor.execute(_PUBLISHED, (publication,))
        return {stream: (names, where) for stream, names, where in cursor.fetchall()}


def _narrowed(table: Table, names: list[str] | None, where: str | None) -> Table:
    columns = tuple(c for c in table.columns if names is None or c[0] in names)
    return replace(table, columns=columns, where=where or "")


def drop_slot(connection: Connection, slot: str) -> None:
    """Drops the slot if it is there. Raises SourceError while a process reads from it."""
    with connection.cursor() as cursor, translated(f"dropping slot {slot}"):
        cursor.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = %s",
            (slot,),
        )


def drop_publication(connection: Connection, publication: str) -> None:
    """Drops the publication if it is there."""
    statement = sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(publication))
    with connection.cursor() as cursor, translated(f"dropping publication {publication}"):
        cursor.execute(statement)


def has_slot(connection: Connection, slot: str) -> bool:
    """Whether the slot is there. Raises ConfigurationError if it is there, but nothing can be
    read from it any more; SlotInUse while another process reads from it."""
    with connection.cursor() as cursor, translated(f"reading slot {slot}"):
        cursor.execute(_SLOT, (slot,))
        found = cursor.fetchone()
    if found is None:
        return False
    plugin, ours, active, status = found
    if plugin != "pgoutput" or not ours:
        raise ConfigurationError(
            f"slot {slot} is for another database or plugin: give this source another slot="
        )
    if status == "lost":
        raise ConfigurationError(
            f"slot {slot} is lost: the server has removed WAL that it needed (see "
            "max_slot_wal_keep_size), and changes are gone. Run SELECT "
            f"pg_drop_replication_slot('{slot}'); and reset the source's position to take a new "
            "snapshot"
        )
    if active is not None:
        raise SlotInUse(f"slot {slot} is in use by the server's process {active}")
    return True


def slot_point(connection: Connection, slot: str) -> str:
    """The LSN from which the slot has changes."""
    with connection.cursor() as cursor, translated(f"reading slot {slot}"):
        cursor.execute(
            "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s",
            (slot,),
        )
        (point,) = cursor.fetchone() or ("",)
    return str(point)
