"""Replication slots: whether one is there, is ours, and still has everything after a position."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from trunkline.connectors.postgres.connection import (
    Connection,
    Stopped,
    connect_or_stop,
    translated,
)
from trunkline.connectors.postgres.decoder import lsn_number, lsn_text
from trunkline.connectors.postgres.statements import begin_anew, literal
from trunkline.errors import ConfigurationError, SourceError

_HANDOVER = 5.0
"""Seconds that a slot may still be in use when we start: the worker before us has just ended,
and the server needs a moment to notice."""
_WAIT = 0.2
"""Seconds between two looks whether it is free."""
# Through JSON: invalidation_reason came with PostgreSQL 17.
_SLOT = """
SELECT plugin::text, database::text = current_database(), active_pid, wal_status,
  to_jsonb(s) ->> 'invalidation_reason', confirmed_flush_lsn::text
FROM pg_replication_slots s WHERE slot_name = %s
"""
_COPIES = 170_000
"""The version from which on standbys can have copies of logical slots."""
# Through JSON: failover came with PostgreSQL 17.
_FAILOVER = """
SELECT to_jsonb(s) ->> 'failover' = 'true' FROM pg_replication_slots s WHERE slot_name = %s
"""
_CAUSES = {
    "wal_removed": "it held back more WAL than max_slot_wal_keep_size",
    "idle_timeout": "nobody read from it for longer than idle_replication_slot_timeout",
    "rows_removed": "rows of the catalog that it needed were removed on the primary",
    "wal_level_insufficient": "wal_level of the primary was below logical",
}
_USUAL_CAUSE = "it held back more WAL than max_slot_wal_keep_size, or nobody read from it"


class SlotInUse(SourceError):
    """Another process reads from the slot."""


def is_there(connection: Connection, slot: str, *, lost_too: bool = False) -> bool:
    """Whether the slot is there. Raises ConfigurationError if it is there, but nothing can be read
    from it any more (unless ``lost_too``); SlotInUse while another process reads from it."""
    with connection.cursor() as cursor, translated(f"reading slot {slot}"):
        cursor.execute(_SLOT, (slot,))
        found = cursor.fetchone()
    if found is None:
        return False
    plugin, ours, active, status, reason, _ = found
    if plugin != "pgoutput" or not ours:
        raise ConfigurationError(
            f"slot {slot} is for another database or plugin: give this source another slot="
        )
    if (status == "lost" or reason) and not lost_too:
        cause = _CAUSES.get(reason or "", _USUAL_CAUSE)
        raise ConfigurationError(
            f"slot {slot} is lost, and changes are gone: the server has removed WAL that it "
            f"needed, because {cause}. Mend that, then take a new snapshot, with a new slot in "
            'place of this one: trunkline source reset (with snapshot="never" run before: SELECT '
            f"pg_drop_replication_slot({literal(slot)});)"
        )
    if active is not None:
        raise SlotInUse(f"slot {slot} is in use by the server's process {active}")
    return True


def is_free(
    connection: Connection, slot: str, stop: threading.Event, *, lost_too: bool = False
) -> bool:
    """As ``is_there``, but waits up to ``_HANDOVER`` for a reader that is still in it."""
    deadline = time.monotonic() + _HANDOVER
    while True:
        try:
            return is_there(connection, slot, lost_too=lost_too)
        except SlotInUse:
            if time.monotonic() > deadline:
                raise
        if stop.wait(_WAIT):
            raise Stopped


def require_kept(connection: Connection, slot: str) -> None:
    """Raises ConfigurationError if a slot that somebody is in has lost what it needs."""
    try:
        there = is_there(connection, slot)
    except SlotInUse:
        return
    if not there:
        raise ConfigurationError(gone(slot))


def point(connection: Connection, slot: str) -> str:
    """The LSN from which the slot has changes."""
    with connection.cursor() as cursor, translated(f"reading slot {slot}"):
        cursor.execute(_SLOT, (slot,))
        found = cursor.fetchone()
    return str(found[-1]) if found else ""


def require_from(connection: Connection, slot: str, lsn: int) -> None:
    """Raises ConfigurationError unless the slot has all that came after ``lsn``.

    A slot that was dropped and made again, or that somebody else read from, begins later. The
    server would start the stream there without a word.
    """
    begins = lsn_number(point(connection, slot))
    if begins > lsn:
        raise ConfigurationError(
            f"slot {slot} begins at {lsn_text(begins)}, after the stored position {lsn_text(lsn)}: "
            "it was dropped and made again, or something else has read from it, and the changes "
            f"between the two are lost to this source. {begin_anew(slot)}"
        )


def require_copies(connection: Connection) -> None:
    """Raises ConfigurationError for a server whose standbys can have no copies of slots."""
    if connection.server_version < _COPIES:
        raise ConfigurationError(
            "failover=True needs PostgreSQL 17 or newer, and the server has version "
            f"{connection.server_version // 10_000}: leave it out, or upgrade the server"
        )


def has_copies(connection: Connection, slot: str) -> bool | None:
    """Whether standbys are to have a copy of the slot; None if there is no such slot."""
    with connection.cursor() as cursor, translated(f"reading slot {slot}"):
        cursor.execute(_FAILOVER, (slot,))
        found = cursor.fetchone()
    return bool(found[0]) if found else None


def copy_to_standbys(connection: Connection, dsn: str, slot: str, stop: threading.Event) -> None:
    """Lets standbys have a copy of a slot that was made without. Raises ConfigurationError."""
    require_copies(connection)
    if has_copies(connection, slot) is not False:
        return
    with (
        closing(connect_or_stop(dsn, stop, replication=True)) as replication,
        translated(f"altering slot {slot}"),
        replication.cursor() as cursor,
    ):
        cursor.execute(f'ALTER_REPLICATION_SLOT "{slot}" (FAILOVER true)')


def drop(connection: Connection, slot: str) -> None:
    """Drops the slot if it is there. Raises SourceError while a process reads from it."""
    with connection.cursor() as cursor, translated(f"dropping slot {slot}"):
        cursor.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = %s",
            (slot,),
        )


def foreign(slot: str) -> str:
    """What to say of a slot that is there though this source never ran."""
    return (
        f"slot {slot} is there already, but this source has no position: the slot belongs to "
        "another source (give this one another slot=), or the position was reset. In that case "
        f"run SELECT pg_drop_replication_slot({literal(slot)}); to begin with a new snapshot"
    )


def misplaced(stored: object, slot: str) -> str:
    """What to say of a position that is for another slot."""
    return (
        f"the stored position belongs to slot {stored}, the source has {slot}: set "
        f"slot={stored!r}. Or run trunkline source reset, to begin with a new snapshot; and, as "
        f"nobody reads the old slot then, SELECT pg_drop_replication_slot({literal(str(stored))});"
    )


def gone(slot: str) -> str:
    """What to say of a slot that is not there any more."""
    return (
        f"slot {slot} was dropped: the changes since then are lost to this source. To begin with a "
        "new snapshot, run: trunkline source reset"
    )
