"""Cutting off what a database's driver waits for."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import suppress
from typing import Any


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
