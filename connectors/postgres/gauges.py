"""What the server tells of a slot: how much WAL it keeps back, and when it loses what it needs.

PostgreSQL documentation, "pg_replication_slots": ``wal_status`` and ``safe_wal_size``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trunkline.connectors.base import Gauge
from trunkline.connectors.postgres.connection import Connection, translated

_LITTLE = 0.2
"""The part of a limit that must be left, or people are told."""
STATES = ("reserved", "extended", "unreserved", "lost")
"""Values of ``wal_status``; the gauge ``slot_state`` has the number of one in this order."""

# Through JSON and current_setting(…, true): inactive_since came with PostgreSQL 17, the idle
# timeout with 18. A standby has no current LSN; the slot that it follows is behind what it replays.
_SLOT = """
SELECT wal_status,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
    - restart_lsn,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
    - confirmed_flush_lsn,
  safe_wal_size, pg_size_bytes(nullif(current_setting('max_slot_wal_keep_size'), '-1')),
  extract(epoch FROM now() - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8,
  extract(epoch FROM nullif(current_setting('idle_replication_slot_timeout', true), '')::interval)
    ::float8
FROM pg_replication_slots s WHERE slot_name = %s AND plugin = 'pgoutput'
"""


def of_slot(connection: Connection, slot: str, most_kept: int) -> Sequence[Gauge]:
    """What is known of the slot; nothing of one that is not there. Raises SourceError."""
    with translated(f"asking how slot {slot} is"), connection.cursor() as cursor:
        cursor.execute(_SLOT, (slot,))
        found = cursor.fetchone()
    if found is None:
        return ()
    status, kept, behind, left, limit, unread, timeout = found
    return [
        *_state(slot, status or STATES[0]),
        *_kept(slot, kept, None if limit else most_kept),
        *_bytes("behind_bytes", behind),
        *_left(slot, left, limit),
        *_idle(slot, unread, timeout),
    ]


def _state(slot: str, status: str) -> Iterator[Gauge]:
    warning = ""
    if status == "unreserved":
        warning = (
            f"slot {slot} is about to be lost: it keeps back more WAL than max_slot_wal_keep_size, "
            "and the next checkpoint may remove what the source has not read. Let the source catch "
            "up, or raise the limit now: ALTER SYSTEM SET max_slot_wal_keep_size = '…GB'; SELECT "
            "pg_reload_conf();"
        )
    elif status == "lost":
        warning = (
            f"slot {slot} is lost: the server has removed what the source has not read. Changes "
            "are missing until it takes a new snapshot: trunkline source reset"
        )
    yield Gauge("slot_state", float(STATES.index(status)), status, warning)


def _kept(slot: str, kept: int | None, most: int | None) -> Iterator[Gauge]:
    for gauge in _bytes("kept_bytes", kept):
        warning = ""
        if most is not None and gauge.value > most:
            warning = (
                f"slot {slot} keeps back {gauge.words} of WAL, and no limit of the server ends "
                "that before its disk is full. Let the source catch up; or set a limit, with which "
                "the source loses its slot instead, and needs a new snapshot: ALTER SYSTEM SET "
                "max_slot_wal_keep_size = '…GB'; SELECT pg_reload_conf();"
            )
        yield Gauge(gauge.name, gauge.value, gauge.words, warning)


def _left(slot: str, left: int | None, limit: int | None) -> Iterator[Gauge]:
    for gauge in _bytes("left_bytes", left):
        warning = ""
        if limit and 0 <= gauge.value < _LITTLE * limit:
            warning = (
                f"slot {slot} may keep back {gauge.words} more of WAL before it is lost "
                f"(max_slot_wal_keep_size is {in_words(limit)}): let the source catch up, or raise "
                "the limit: ALTER SYSTEM SET max_slot_wal_keep_size = '…GB'; SELECT "
                "pg_reload_conf();"
            )
        yield Gauge(gauge.name, gauge.value, gauge.words, warning)


def _idle(slot: str, unread: float | None, timeout: float | None) -> Iterator[Gauge]:
    """What is left of the time for which nobody may read; nothing while somebody does."""
    if unread is None or not timeout:
        return
    left, warning = timeout - unread, ""
    if left < _LITTLE * timeout:
        warning = (
            f"nobody has read slot {slot} for {unread:,.0f} s, and it is lost after {timeout:,.0f} "
            "(idle_replication_slot_timeout): let the source run, or raise the limit: ALTER SYSTEM "
            "SET idle_replication_slot_timeout = …; SELECT pg_reload_conf();"
        )
    yield Gauge("left_seconds", left, f"{left:,.0f} s", warning)


def _bytes(name: str, amount: int | None) -> Iterator[Gauge]:
    if amount is not None:
        yield Gauge(name, float(amount), in_words(int(amount)))


def in_words(amount: int) -> str:
    """Bytes, as ``1.5 GB``."""
    size = float(amount)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
