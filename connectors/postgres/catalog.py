"""What PostgreSQL's catalog knows of the server, its types, and the tables that are captured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.connectors.postgres.decoder import Wanted, lsn_text
from trunkline.connectors.postgres.statements import (
    Fault,
    add_primary_key,
    mending,
    quoted,
    quoted_table,
    refuse,
)
from trunkline.connectors.postgres.values import Shape, Types
from trunkline.errors import ConfigurationError, SourceError

GENERATED_PUBLISHED = 180_000
"""The version from which on generated columns can be published."""

# A key is the replica identity, as PostgreSQL finds it: not an index whose check is deferred. With
# REPLICA IDENTITY FULL it is the primary key. INCLUDE columns of its index are none of it.
_TABLE = """
SELECT c.oid::int8, c.relkind::text, c.relreplident::text, c.relpersistence::text,
  current_user::text, has_schema_privilege(n.oid, 'USAGE'), pg_relation_filenode(c.oid)::int8,
  n.oid::int8, EXISTS (SELECT FROM pg_index i
    WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate),
  ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid
    AND a.attname IN ('ctid', 'tableoid') AND a.attnum < 0
    AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY a.attname),
  ARRAY(SELECT relid::oid::int8 FROM pg_partition_ancestors(c.oid) WHERE relid <> c.oid),
  ARRAY(SELECT json_build_array(a.attname::text, a.atttypid::int8, a.attnum,
      a.attgenerated::text, has_column_privilege(c.oid, a.attnum, 'SELECT'))
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum),
  ARRAY(SELECT a.attnum::int8 FROM pg_attribute a JOIN pg_index i ON i.indrelid = a.attrelid
    AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
    WHERE a.attrelid = c.oid AND c.relreplident <> 'n' AND i.indisvalid
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident AND i.indimmediate
      WHEN 'd' THEN i.indisprimary AND i.indimmediate ELSE i.indisprimary END
    ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""
_NAME = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %s
"""
_TYPES = """
SELECT oid::int8, CASE WHEN typtype = 'd' THEN typbasetype::int8 END,
  CASE WHEN typinput = 'array_in'::regproc AND typdelim = ',' THEN typelem::int8 END
FROM pg_type
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalog has it. ``generated``: "" if it is not, "s" stored, "v" virtual."""

    name: str
    type: int
    number: int
    generated: str = ""
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """One table to be captured, as the catalog describes it."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    """All of them; once it is known what is published, those that are."""
    key: tuple[str, ...]
    full: bool
    """Whether its REPLICA IDENTITY is FULL."""
    filenode: int | None
    """The file that holds the rows: another one after TRUNCATE, or ALTER TABLE if it rewrites them.
    If that happens between a snapshot's begin and its lock, the snapshot shows no rows."""
    role: str
    """Who asked."""
    schema_oid: int = 0
    ancestors: tuple[int, ...] = ()
    """The tables that it is a partition of."""
    partitioned: bool = False
    where: str = ""
    """The publication's row filter: only these rows are captured."""
    unplaced: tuple[str, ...] = ()
    """The system columns that say where a row is, by which a snapshot is read, as far as the role
    cannot read them: rights to single columns do not hold them."""
    membership: int = 0
    """The OID of the fact that the table is in the publication: another one when it was taken out
    and put in again."""

    @property
    def stream(self) -> str:
        """Its name in records."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in statements."""
        return sql.Identifier(self.schema, self.name)

    @property
    def wanted(self) -> Wanted:
        """What the decoder is to know of it."""
        return Wanted(self.stream, (self.key,))

    @property
    def key_numbers(self) -> tuple[int, ...]:
        """The key's columns, by numbers that a renamed column keeps."""
        return tuple(column.number for column in self.columns if column.name in self.key)

    def shape(self, types: Types) -> Shape:
        """How its rows become records."""
        columns = [(column.name, column.type) for column in self.columns]
        return Shape(self.stream, columns, self.key, types)

    def unreadable(self) -> Fault | None:
        """What is missing to read its columns, if anything is."""
        missing = [column.name for column in self.columns if not column.readable]
        every = len(missing) == len(self.columns)
        missing += self.unplaced
        if not missing:
            return None
        listed = ", ".join(map(quoted, missing))
        what = "SELECT" if every else f"SELECT ({listed})"
        return mending(
            f"table {self.stream}: the role cannot read it. Its owner must run",
            f"GRANT {what} ON {quoted(self.schema, self.name)} TO {quoted(self.role)};",
        )


def describe(connection: Connection, streams: Sequence[str]) -> list[Table]:
    """The tables of these names (``schema.table``), in that order. Raises ConfigurationError that
    names all which are missing, cannot be read, or whose rows nothing identifies."""
    tables, faults = described(connection, streams)
    refuse(faults)
    return tables


def described(connection: Connection, streams: Sequence[str]) -> tuple[list[Table], list[Fault]]:
    """The tables of these names that can be captured, and what is wrong with the others."""
    found = [_table(connection, stream) for stream in streams]
    faults = [fault for fault in found if isinstance(fault, Fault)]
    tables = [table for table in found if isinstance(table, Table)]
    by_oid = {table.oid: table.stream for table in tables}
    faults += [
        Fault(
            f"{table.stream} is a partition of {by_oid[root]}, whose changes have its own: take "
            f"{table.stream} out of tables="
        )
        for table in tables
        for root in table.ancestors
        if root in by_oid
    ]
    return tables, faults


def _table(connection: Connection, stream: str) -> Table | Fault:
    """The table, or what is wrong with it."""
    schema, name = stream.split(".", 1)
    with translated(f"describing table {stream}"), connection.cursor() as cursor:
        cursor.execute(_TABLE, (schema, name))
        row: tuple[Any, ...] | None = cursor.fetchone()
    if row is None:
        return Fault(
            f"table {stream} is not in the database: correct tables= (schema.table, in the case "
            "that the catalog has it in)"
        )
    oid, kind, identity, persistence, role, usage, filenode, schema_oid, deferrable = row[:9]
    unplaced, ancestors, described, numbers = row[9:]
    if kind not in "rp" or persistence != "p":
        return Fault(f"{stream} is not a permanent table: it has no change log")
    if not usage:
        return mending(
            f"schema {schema}: the role cannot enter it. Its owner must run",
            f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)};",
        )
    if identity == "n":
        told = f"table {stream} has REPLICA IDENTITY NOTHING: run"
        return mending(told, f"ALTER TABLE {quoted_table(stream)} REPLICA IDENTITY DEFAULT;")
    if not numbers and deferrable:
        return mending(
            f"table {stream} has a primary key that is DEFERRABLE, which is no replica identity: "
            "run",
            f"ALTER TABLE {quoted_table(stream)} REPLICA IDENTITY FULL;",
        )
    if not numbers:
        return Fault(f"table {stream} has no primary key: {add_primary_key(stream)}")
    columns = tuple(Column(*each) for each in described)
    return Table(
        oid,
        schema,
        name,
        columns,
        tuple(column.name for column in columns if column.number in numbers),
        identity == "f",
        filenode,
        role,
        schema_oid,
        tuple(ancestors),
        kind == "p",
        unplaced=tuple(unplaced),
    )


def name_of(connection: Connection, oid: int) -> str:
    """The present name of the table with this OID, or "" if there is none."""
    with translated("looking for a table"), connection.cursor() as cursor:
        cursor.execute(_NAME, (oid,))
        (name,) = cursor.fetchone() or ("",)
    return str(name)


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
    """Raises ConfigurationError unless the server's log can be decoded, and its text read;
    SourceError for a standby, which may become the primary."""
    with translated("reading the settings"), connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('wal_level'), current_setting('server_encoding'), "
            "current_database(), pg_is_in_recovery()"
        )
        level, encoding, database, standby = cursor.fetchone() or ("", "", "", False)
    if standby:
        raise SourceError(
            "the server is a standby: changes are read from the primary, as neither publication "
            "nor marks of snapshots can be written here. Nothing is lost; it is tried again. Let "
            "dsn name the primary, or all servers and target_session_attrs=read-write"
        )
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
            f"to {lsn_text(end)}: it was restored, or replaced by a copy that lagged. To "
            "take a new snapshot, run: trunkline source reset"
        )
