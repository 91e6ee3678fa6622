"""Connections to PostgreSQL as PostgresCDC needs them, and what the server's errors ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import parse_dsn
from psycopg2.extras import LogicalReplicationConnection

from trunkline.connectors.postgres.statements import quoted
from trunkline.errors import AddressError, ConfigurationError, SourceError, TrunklineError
from trunkline.masking import concealed

__all__ = [
    "Connection",
    "Stopped",
    "connect",
    "connect_or_stop",
    "one_view",
    "stoppable",
    "translated",
]

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
    "default_transaction_read_only": "off",  # the publication is made in such a session
    "wal_sender_timeout": "60s",  # ``stream.py`` answers often enough for this one
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
_TRANSACTION_TIMEOUT = 170_000
"""The version from which on a server has ``transaction_timeout``, and older ones refuse it."""

_STOP_CHECK = 0.1
"""Seconds after which a statement under way notices ``stop``."""

_MUST_MEND = {
    errors.InsufficientPrivilege: "the role needs more rights: see the page of PostgresCDC",
    errors.UndefinedObject: "was the slot or the publication dropped? Changes since then are "
    "lost to this source. To take a new snapshot, run: trunkline source reset",
    errors.ObjectNotInPrerequisiteState: "the slot was invalidated, or the server's settings do "
    "not allow logical decoding",
    errors.ConfigurationLimitExceeded: "no replication slot is free. Run: ALTER SYSTEM SET "
    "max_replication_slots = <more>; and restart the server, or drop a slot nobody uses",
}


class Stopped(TrunklineError):
    """``stop`` was set while a statement was under way, and the statement was cancelled."""


def connect(dsn: str, *, replication: bool = False) -> Connection:
    """A connection whose values come as ``values.py`` reads them; in autocommit mode.

    Raises ConfigurationError for a dsn that cannot be read, SourceError if the server does not
    let us in. Neither shows the password, nor a part of it.
    """
    given = _parsed(dsn)
    settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    arguments: dict[str, Any] = {"application_name": "trunkline", "client_encoding": "UTF8"}
    arguments |= _KEEPALIVE | {"options": f"{given.get('options', '')} {settings}".strip()}
    if replication:
        arguments["connection_factory"] = LogicalReplicationConnection
    with translated("connecting", _replication(given)), _without(given.get("password", "")):
        connection: Connection = psycopg2.connect(dsn, **arguments)
        if not replication:
            connection.autocommit = True
        if connection.server_version >= _TRANSACTION_TIMEOUT:
            with connection.cursor() as cursor:
                cursor.execute("SET transaction_timeout = 0")
        return connection


def _parsed(dsn: str) -> dict[str, str]:
    """The parts of the connection string.

    Raises ConfigurationError, which quotes nothing of it, where a password seems to have run into
    another part: an @ or / that is not percent-encoded makes libpq take the rest of the password
    for a host or a port, and say so in each of its errors.
    """
    try:
        given: dict[str, str] = parse_dsn(dsn)
    except psycopg2.ProgrammingError:
        # without the cause: it quotes the text, and the text has the password
        raise AddressError(f"dsn is not {_FORM}") from None
    is_url = dsn.lstrip().startswith(("postgresql://", "postgres://"))
    ports = [port for port in given.get("port", "").split(",") if port]
    astray = is_url and "@" in given.get("host", "") + given.get("dbname", "")
    if astray or not all(port.isascii() and port.isdigit() for port in ports):
        raise AddressError(f"dsn does not name a host and a port: it is not {_FORM}")
    return given


_FORM = (
    "a PostgreSQL connection string (postgresql://user:password@host:port/name). Characters of "
    "user and password other than letters and digits must be percent-encoded: "
    "urllib.parse.quote(password, safe='')"
)


@contextmanager
def _without(password: str) -> Iterator[None]:
    """libpq's errors without the password, should one of them quote it."""
    try:
        yield
    except psycopg2.OperationalError as error:
        text = str(error)
        without = concealed(text, [password])
        if without == text:
            raise
        raise psycopg2.OperationalError(without) from None


def _replication(given: Mapping[str, str]) -> str:
    role = quoted(given["user"]) if given.get("user") else "CURRENT_USER"
    return f"the role needs more rights, run ALTER ROLE {role} REPLICATION;"


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
            if isinstance(error, kind) and "recovery" not in text:  # a standby may be promoted
                raise ConfigurationError(f"{text}\n{mend or usual}") from error
        if "walsender" in text or "WAL sender" in text:  # a refused connection has no SQLSTATE
            raise ConfigurationError(f"{text}\n{mend}") from error
        raise SourceError(text) from error


@contextmanager
def one_view(connection: Connection) -> Iterator[None]:
    """Several questions see the catalog as it was at one moment: between two of them somebody may
    rename a column, and each answer would be right."""
    if not connection.autocommit:  # a snapshot's transaction
        yield
        return
    with translated("asking the catalog"), connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        with translated("asking the catalog"), connection.cursor() as cursor:
            cursor.execute("ROLLBACK")


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
