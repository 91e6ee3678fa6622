"""A stop waits for no server: what asks the database runs in a thread that can be left behind."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK = 0.1
"""Seconds from one look at ``stop`` to the next while a server is waited for."""
LET_GO = 0.2
"""Seconds that a statement has to end once its connection is cut."""


class Stopped(Exception):
    """The source is to stop: raised inside of the room only."""


class Calls:
    """Runs one call at a time, for as long as ``stop`` is not set. For one thread.

    ``connection``: the driver's connection that is in use, which a stop cuts; set by the call.
    """

    def __init__(self) -> None:
        self.connection: Any = None

    def run(self, call: Callable[[], T], stop: threading.Event) -> T:
        """What ``call`` returns or raises; Stopped as soon as ``stop`` is set.

        A connection that hangs, as to a host that swallows packets, holds up no stop: its thread
        is a daemon, which the driver's time limit ends.
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(call())
            except BaseException as error:  # noqa: BLE001 - handed on to who waits
                errors.append(error)

        thread = threading.Thread(target=work, name="sql-polling", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK)
            if stop.is_set() and thread.is_alive():
                cut(self.connection)
                thread.join(LET_GO)
                raise Stopped
        if stop.is_set():
            raise Stopped
        if errors:
            raise errors[0]
        return results[0]


def cut(connection: Any) -> None:
    """End what a driver's connection waits for, from another thread: the call raises then."""
    if isinstance(connection, sqlite3.Connection):
        connection.interrupt()
        return
    # psycopg2 has the descriptor itself, PyMySQL a socket. Another driver's call is left behind.
    owner = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
    if owner is not None:
        try:
            line = socket.socket(fileno=os.dup(owner.fileno()))
        except Exception:  # noqa: BLE001 - of any driver: it is closed already
            return
        with line, suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
