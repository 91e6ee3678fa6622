"""Everything that keeps a source from running, asked of the server at once. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trunkline.connectors.base import Finding
from trunkline.connectors.postgres import catalog, gauges, publication, slots
from trunkline.connectors.postgres.catalog import Table
from trunkline.connectors.postgres.connection import Connection, one_view, translated
from trunkline.connectors.postgres.statements import Fault, literal, quoted
from trunkline.errors import ConfigurationError

# Through current_setting(…, true): the last one came with PostgreSQL 18.
_SERVER = """
SELECT current_user::text, r.rolreplication OR r.rolsuper,
  current_setting('max_replication_slots')::int,
  (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> %s)::int,
  current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_replication)::int,
  current_setting('max_slot_wal_keep_size'),
  coalesce(current_setting('idle_replication_slot_timeout', true), '0')
FROM pg_roles r WHERE r.rolname = current_user
"""
_OWNED = """
SELECT pg_has_role(c.relowner, 'USAGE'), row_security_active(c.oid) FROM pg_class c WHERE oid = %s
"""
_OWNER = "SELECT pg_has_role(pubowner, 'USAGE') FROM pg_publication WHERE pubname = %s"


def findings(
    connection: Connection,
    slot: str,
    published: str,
    streams: Sequence[str],
    *,
    most_kept: int,
    failover: bool,
) -> list[Finding]:
    """What is wrong with the server's settings, the role's rights, the slot, the publication and
    the tables, and the statements that mend it, in the order in which they run."""
    with one_view(connection):
        return [
            *_settings(connection, slot),
            *_slot(connection, slot, most_kept),
            *(_copies(connection) if failover else ()),
            *_tables(connection, published, streams),
        ]


def _settings(connection: Connection, slot: str) -> Iterator[Finding]:
    try:
        catalog.require_logical(connection)
    except ConfigurationError as error:
        mend = "ALTER SYSTEM SET wal_level = logical;" if "wal_level" in str(error) else ""
        yield Finding(str(error), mend)
    with translated("reading the settings"), connection.cursor() as cursor:
        cursor.execute(_SERVER, (slot,))
        role, replicates, most, taken, senders, sending, kept, idle = cursor.fetchall()[0]
    if not replicates:
        mend = f"ALTER ROLE {quoted(role)} REPLICATION;"
        yield Finding(f"role {role} may not replicate. A superuser must run {mend}", mend)
    if taken >= most:
        mend = f"ALTER SYSTEM SET max_replication_slots = {most + 10};"
        told = f"all {most} replication slots are taken: drop one that nobody uses, or run {mend}"
        yield Finding(f"{told} and restart the server", mend)
    if sending >= senders:
        mend = f"ALTER SYSTEM SET max_wal_senders = {senders + 10};"
        yield Finding(
            f"all {senders} connections for replication are taken (max_wal_senders): run {mend} "
            "and restart the server",
            mend,
        )
    if kept == "-1":
        yield Finding(
            "max_slot_wal_keep_size is not set: while nobody reads, the slot keeps WAL until the "
            "server's disk is full. With a limit the source loses its slot instead, and takes a "
            "new snapshot: ALTER SYSTEM SET max_slot_wal_keep_size = '…GB';",
            warning=True,
        )
    if idle not in ("0", "0s", "0min"):
        yield Finding(
            f"idle_replication_slot_timeout is {idle}: the server drops what the slot needs when "
            "nobody reads for so long, as while the source is down, and while it reads a snapshot",
            warning=True,
        )


def _slot(connection: Connection, slot: str, most_kept: int) -> Iterator[Finding]:
    try:
        slots.is_there(connection, slot)
    except slots.SlotInUse:
        pass
    except ConfigurationError as error:
        yield Finding(str(error))
        return
    for gauge in gauges.of_slot(connection, slot, most_kept):
        if gauge.warning:
            yield Finding(gauge.warning, warning=True)


def _copies(connection: Connection) -> Iterator[Finding]:
    try:
        slots.require_copies(connection)
    except ConfigurationError as error:
        yield Finding(str(error))
        return
    with translated("reading the settings"), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('synchronized_standby_slots')")
        ((awaited,),) = cursor.fetchall()
    if not awaited:
        yield Finding(
            "synchronized_standby_slots is not set: the source may read changes before a standby "
            "has them, and if that one is promoted, they are published and not in the database. "
            "Name the physical slots of the standbys: ALTER SYSTEM SET synchronized_standby_slots "
            "= '…'; SELECT pg_reload_conf();",
            warning=True,
        )


def _tables(connection: Connection, published: str, streams: Sequence[str]) -> Iterator[Finding]:
    tables, faults = catalog.described(connection, streams)
    found, missing = publication.intended(connection, published, tables)
    yield from map(_finding, [*faults, *publication.faults(tables, found)])
    owned = True
    for table in tables:
        with translated("asking who owns the tables"), connection.cursor() as cursor:
            cursor.execute(_OWNED, (table.oid,))
            owns, hides = cursor.fetchone() or (False, False)
        owned = owned and owns
        if hides:
            mend = f"ALTER ROLE {quoted(table.role)} BYPASSRLS;"
            told = f"table {table.stream} has row-level security, which hides rows from the role"
            yield Finding(f"{told}. A superuser must run {mend}", mend)
    if missing and not (owned and _may_publish(connection, found)):
        yield _unpublished(connection, found, missing)


def _may_publish(connection: Connection, found: publication.Publication) -> bool:
    query = "SELECT has_database_privilege(current_database(), 'CREATE')"
    if found.oid:
        query = _OWNER.replace("%s", literal(found.name))
    with translated("asking who may publish"), connection.cursor() as cursor:
        cursor.execute(query)
        (may,) = cursor.fetchone() or (False,)
    return bool(may)


def _unpublished(
    connection: Connection, found: publication.Publication, missing: Sequence[Table]
) -> Finding:
    mend = publication.statement(connection, found, missing)
    lacks = ", ".join(table.stream for table in missing) if found.oid else "no table yet"
    told = f"publication {found.name} has {'not ' if found.oid else ''}{lacks}, and the role may "
    return Finding(f"{told}not change that. Somebody who owns the tables must run {mend}", mend)


def _finding(fault: Fault) -> Finding:
    return Finding(str(fault), fault.mend)
