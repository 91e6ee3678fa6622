"""Connections to MySQL and MariaDB that a stop can interrupt, and what their errors ask for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
from pymysql.constants import COMMAND

from trunkline.connectors.mysql.packets import Packets
from trunkline.errors import ConfigurationError, SourceError, TrunklineError

WAIT = 0.2
"""Seconds of waiting for the server before looking at ``stop``."""
_STOP_CHECK = 0.1
_READ_TIMEOUT = 60
"""Seconds that the answer to a question may take. What is read for long, snapshot and log, comes
by ``packets``, where the silence is bounded instead."""

# Nothing of the server's defaults may change how values are written, and no time limit ends a long
# snapshot. NULL for the results' character set: bytes come as they are stored, as in the log.
_SETTINGS = (
    "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION net_write_timeout = 600",
    "SET SESSION net_read_timeout = 600",
    "SET SESSION wait_timeout = 28800",
    "SET SESSION lock_wait_timeout = 10",
    "SET SESSION sql_select_limit = 18446744073709551615",  # else a snapshot ends there, unseen
)
_MAY_LACK = (
    "SET SESSION max_execution_time = 0",  # MySQL's; the others are MariaDB's
    "SET SESSION max_statement_time = 0",
    "SET SESSION idle_transaction_timeout = 0",  # Kafka may be away while a snapshot is read
    "SET SESSION idle_readonly_transaction_timeout = 0",
)

ACCESS_DENIED = (1044, 1045, 1142, 1143, 1227, 1370, 1873, 3955)
UNKNOWN_VARIABLE = 1193
_LOCK_TIMEOUT = (1205, 3572)


class Stopped(TrunklineError):
    """``stop`` was set while a statement was under way."""


class Session:
    """One connection, in autocommit mode, used by one thread; ``stop`` interrupts its questions."""

    def __init__(self, connection: Any, stop: threading.Event) -> None:
        self._connection = connection  # Any: what sends commands and packets is not in its types
        self._stop = stop

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement gives, once it has run.

        Raises Denied if a right is missing, SourceError for everything else.
        """
        with self.watched(), translated(statement), self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def table(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """As ``rows``, by the names of the columns."""
        with self.watched(), translated(statement), self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def run(self, statement: str, *values: Any) -> None:
        """Run a statement without a result. Raises as ``rows``."""
        self.rows(statement, *values)

    def user(self) -> str:
        """Who we are, as GRANT names it."""
        ((name,),) = self.rows("SELECT CURRENT_USER()")
        return "@".join("'{}'".format(part.replace("'", "''")) for part in name.rsplit("@", 1))

    def variables(self, *names: str) -> dict[str, str]:
        """Global variables by name; without those that this server does not have."""
        marks = ", ".join(["%s"] * len(names))
        found = self.rows(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({marks})", *names)
        return {str(name).lower(): str(value) for name, value in found}

    def send(self, command: int, argument: bytes | str) -> Packets:
        """Send a command whose answer is read as packets; the session is of no other use then."""
        with translated("sending a command"):
            self._connection._execute_command(command, argument)
        return Packets(self._socket, WAIT)

    def command(self, command: int, argument: bytes) -> None:
        """Send a command that is answered by OK."""
        with self.watched(), translated("sending a command"):
            self._connection._execute_command(command, argument)
            self._connection._read_ok_packet()

    def query(self, statement: str) -> Packets:
        """Begin a query whose result is read as packets."""
        return self.send(COMMAND.COM_QUERY, statement)

    @property
    def thread(self) -> int:
        """The server's number of this connection."""
        return int(self._connection.thread_id())

    def close(self) -> None:
        """End the connection at once: what it was sending is not waited for."""
        with suppress(OSError, pymysql.Error):
            self._connection._force_close()

    @property
    def _socket(self) -> socket.socket:
        sock: socket.socket = self._connection._sock
        return sock

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ends the connection once ``stop`` is set, so that what waits for it raises Stopped."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_STOP_CHECK):
                if self._stop.is_set():
                    with suppress(OSError):
                        self._socket.shutdown(socket.SHUT_RDWR)
                    return

        watcher = threading.Thread(target=watch, name="mysql-stop", daemon=True)
        watcher.start()
        try:
            yield
        except SourceError:
            if self._stop.is_set():
                raise Stopped from None
            raise
        finally:
            done.set()
            watcher.join()


class Denied(SourceError):
    """A right is missing for one question. Who asked says what to grant."""


def connect(arguments: Mapping[str, Any], stop: threading.Event) -> Session:
    """A session whose values come as they are stored.

    Raises Stopped once ``stop`` is set, however long the server keeps silent; ConfigurationError
    if it does not let us in, SourceError if it does not answer. Neither shows the password.
    """
    attempt: Future[Any] = Future()

    def run() -> None:
        try:
            attempt.set_result(_connected(arguments))
        except BaseException as error:  # noqa: BLE001 - told where it is waited for
            attempt.set_exception(error)

    threading.Thread(target=run, name="mysql-connect", daemon=True).start()
    while True:
        try:
            session = Session(attempt.result(_STOP_CHECK), stop)
            break
        except TimeoutError:
            if stop.is_set():
                raise Stopped from None
    try:
        _set_up(session)
    except BaseException:
        session.close()
        raise
    return session


def _connected(arguments: Mapping[str, Any]) -> Any:
    login = f"{arguments['user']!r} at {arguments['host']}:{arguments['port']}"
    try:
        return pymysql.connect(
            **arguments,
            autocommit=True,
            charset="utf8mb4",
            read_timeout=_READ_TIMEOUT,
            write_timeout=_READ_TIMEOUT,
            program_name="trunkline",
        )
    except pymysql.Error as error:
        code = error.args[0] if error.args else 0
        if code in ACCESS_DENIED:
            raise ConfigurationError(f"MySQL lets {login} not in: {_text(error)}") from error
        raise SourceError(f"MySQL, connecting {login}: {_text(error)}") from error
    except RuntimeError as error:  # the driver lacks a package for this login
        raise ConfigurationError(
            f"MySQL, connecting {login}: {error}. Or let dsn encrypt, with ?ssl=true"
        ) from error
    except (OSError, ValueError) as error:  # files of TLS that cannot be read
        raise ConfigurationError(f"MySQL, connecting {login}: {error}") from error
    except Exception as error:  # the driver falls over a greeting that is none
        raise SourceError(
            f"MySQL, connecting {login}: what answers there does not speak MySQL's protocol: does "
            "dsn name the right port?"
        ) from error


def _set_up(session: Session) -> None:
    for statement in _SETTINGS:
        session.run(statement)
    for statement in _MAY_LACK:
        try:
            session.run(statement)
        except SourceError as error:
            if error.__cause__ is None or error.__cause__.args[0] != UNKNOWN_VARIABLE:
                raise


def raw_results(session: Session) -> None:
    """From now on text comes in the character set of its column, as in the log."""
    session.run("SET SESSION character_set_results = NULL")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """The driver's errors as ours."""
    try:
        yield
    except pymysql.Error as error:
        code = error.args[0] if error.args else 0
        text = f"MySQL, {doing}: {_text(error)}"
        if code in ACCESS_DENIED:
            raise Denied(text) from error
        if code in _LOCK_TIMEOUT:
            text += ". Somebody's open transaction or ALTER TABLE holds it up; it is tried again"
        raise SourceError(text) from error
    except (OSError, AttributeError) as error:  # the connection was ended while it was waited for
        raise SourceError(f"MySQL, {doing}: the connection is lost") from error


def _text(error: pymysql.Error) -> str:
    parts: Sequence[Any] = error.args
    return f"{parts[1]} (error {parts[0]})" if len(parts) > 1 else str(error)
