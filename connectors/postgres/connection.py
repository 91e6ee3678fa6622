"""Connections to PostgreSQL as PostgresCDC needs them, and what the server's errors ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import parse_dsn
from psycopg2.extras import LogicalReplicationConnection

from trunkline.errors import ConfigurationError, SourceError, TrunklineError

__all__ = ["Connection", "Stopped", "connect", "connect_or_stop", "stoppable", "translated"]

# How the server writes values (``values.py`` reads them so), and no time limit on a long snapshot.
_SETTINGS = {
    "datestyle": "ISO",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "row_security": "off",  # a snapshot that leaves out rows is an error, not a surprise
}
# A dead peer is noticed within a minute, also while nothing is sent.
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 4,
    "tcp_user_timeout": 60_000,
}
_STOP_CHECK = 0.1
"""Seconds after which a statement under way notices ``stop``."""

_MUST_MEND = {
    errors.InsufficientPrivilege: "the role needs more rights. For the stream, run: "
    "ALTER ROLE <role> REPLICATION; for the snapshot: GRANT SELECT ON <table> TO <role>; and for "
    "tables with row-level security: ALTER ROLE <role> BYPASSRLS;",
    errors.UndefinedObject: "was the slot or the publication dropped? Changes since then are "
    "lost to this source: reset its position to take a new snapshot",
    errors.ObjectNotInPrerequisiteState: "if wal_level is not logical, run: ALTER SYSTEM SET "
    "wal_level = logical; and restart the server. If the slot was invalidated, run: "
    "SELECT pg_drop_replication_slot('<slot>'); and reset the source's position",
    errors.ConfigurationLimitExceeded: "no replication slot is free. Run: ALTER SYSTEM SET "
    "max_replication_slots = <more>; and restart the server, or drop a slot nobody uses",
}


class Stopped(TrunklineError):
    """``stop`` was set while a statement was under way, and the statement was cancelled."""


def connect(dsn: str, *, replication: bool = False) -> Connection:
    """A connection whose values come as ``values.py`` reads them; in autocommit mode.

    Raises ConfigurationError for a dsn that cannot be read, SourceError if the server does not
    let us in. Neither shows the password.
    """
    try:
        given = parse_dsn(dsn).get("options", "")
    except psycopg2.ProgrammingError:
        # without the cause: it quotes the text, and the text has the password
        raise ConfigurationError(
            "dsn is not a PostgreSQL connection string (postgresql://user:password@host:port/name)"
        ) from None
    settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    arguments: dict[str, Any] = {"application_name": "trunkline", "client_encoding": "UTF8"}
    arguments |= _KEEPALIVE | {"options": f"{given} {settings}".strip()}
    if replication:
        arguments["connection_factory"] = LogicalReplicationConnection
    with translated("connecting"):
        connection: Connection = psycopg2.connect(dsn, **arguments)
        if not replication:
            connection.autocommit = True
        return connection


def connect_or_stop(dsn: str, stop: threading.Event, *, replication: bool = False) -> Connection:
    """As ``connect``, but raises Stopped once ``stop`` is set, however long the server keeps
    silent; the attempt is left to its own time limit."""
    attempt: Future[Connection] = Future()

    def run() -> None:
        try:
            attempt.set_result(connect(dsn, replication=replication))
        except TrunklineError as error:
            attempt.set_exception(error)

    threading.Thread(target=run, name="postgres-connect", daemon=True).start()
    while True:
        try:
            return attempt.result(_STOP_CHECK)
        except TimeoutError:
            if stop.is_set():
                raise Stopped("connecting") from None


@contextmanager
def translated(doing: str, mend: str = "") -> Iterator[None]:
    """psycopg2's errors as ConfigurationError (a person must mend it) or SourceError (it may
    pass), with ``doing`` and what to run. A statement that was cancelled raises Stopped."""
    try:
        yield
    except errors.QueryCanceled:
        raise Stopped(doing) from None
    except psycopg2.Error as error:
        text = f"PostgreSQL, {doing}: {str(error).strip()}"
        for kind, usual in _MUST_MEND.items():
            if isinstance(error, kind):
                raise ConfigurationError(f"{text}\n{mend or usual}") from error
        if "walsender" in text or "WAL sender" in text:  # a refused connection has no SQLSTATE
            usual = _MUST_MEND[errors.InsufficientPrivilege]
            raise ConfigurationError(f"{text}\n{usual}") from error
        raise SourceError(text) from error


@contextmanager
def stoppable(connection: Connection, stop: threading.Event) -> Iterator[None]:
    """Cancels the statement that ``connection`` is executing once ``stop`` is set."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_STOP_CHECK):
            if stop.is_set():
                # Again and again: a cancel that arrives between two statements has no effect.
                with suppress(psycopg2.Error):  # the connection is lost: the statement ends too
                    connection.cancel()

    watcher = threading.Thread(target=watch, name="postgres-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
