"""The rows of a query by COPY … TO STDOUT, so many bytes at a time.

A cursor is asked for a number of rows, whose width nobody knows before they are here: 2,000 of
them may be 16 GB. COPY sends row by row, and the server waits while nobody reads. The driver
pushes, so it runs in a thread of its own, which waits until the portion before is taken.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from contextlib import suppress
from queue import Full, Queue

import psycopg2
from psycopg2 import sql

from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.errors import TrunklineError

Row = list[bytes | None]
"""A row as the server wrote it, column by column; None for NULL."""

PORTION_BYTES = 8_000_000
"""A portion ends with the row that reaches it."""

_LOOK = 0.1
"""Seconds between two looks whether anybody still reads."""
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEANT = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class _Abandoned(TrunklineError):
    """Nobody reads any more."""


class _Portions:
    """The file that the driver writes to, a row a call."""

    def __init__(self, limit: int) -> None:
        self.abandoned = threading.Event()
        self._limit = limit
        self._ready: Queue[list[bytes] | None] = Queue(1)
        self._rows: list[bytes] = []
        self._size = 0

    def write(self, row: bytes) -> None:
        """Take in a row; wait while the portion before is not taken."""
        self._rows.append(row)
        self._size += len(row)
        if len(self._rows) >= self._limit or self._size >= PORTION_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand over what there is."""
        portion, self._rows, self._size = self._rows, [], 0
        if portion:
            self._put(portion)

    def end(self) -> None:
        """Nothing comes any more."""
        with suppress(_Abandoned):
            self._put(None)

    def take(self) -> list[bytes] | None:
        """The next portion, which is waited for; None at the end."""
        return self._ready.get()

    def _put(self, portion: list[bytes] | None) -> None:
        while not self.abandoned.is_set():
            with suppress(Full):
                self._ready.put(portion, timeout=_LOOK)
                return
        raise _Abandoned


def copied(
    connection: Connection, query: sql.Composable, limit: int, doing: str, mend: str
) -> Generator[list[Row], None, None]:
    """The rows of ``query``, up to ``limit`` or ``PORTION_BYTES`` at a time.

    Raises as ``translated`` does. Not more than three portions are in memory: one that is used, one
    that waits, one that is read. The connection is of no use after a portion that was not taken.
    """
    portions, failed = _Portions(limit), list[BaseException]()
    statement = sql.SQL("COPY ({}) TO STDOUT").format(query)

    def run() -> None:
        try:
            with translated(doing, mend), connection.cursor() as cursor:
                cursor.copy_expert(statement, portions)
            portions.flush()
        except BaseException as error:  # noqa: BLE001 - raised where the rows are read
            failed.append(error)
        finally:
            portions.end()

    thread = threading.Thread(target=run, name="postgres-copy", daemon=True)
    thread.start()
    try:
        while (portion := portions.take()) is not None:
            yield [row_of(line) for line in portion]
        thread.join()
    finally:
        portions.abandoned.set()
        while thread.is_alive():
            with suppress(psycopg2.Error):  # the connection is lost: the thread ends too
                connection.cancel()
            thread.join(_LOOK)
    if failed:
        raise failed[0]


def row_of(line: bytes) -> Row:
    """The values in a line of COPY's text format.

    PostgreSQL documentation, "COPY", "Text Format": tabs between columns, a backslash before what
    else would be misread, ``\\N`` for NULL.
    """
    fields: Row = [*line[:-1].split(b"\t")]
    if b"\\" not in line:
        return fields
    return [_value(field) for field in fields if field is not None]


def _value(field: bytes) -> bytes | None:
    if b"\\" not in field:
        return field
    if field == b"\\N":
        return None
    return _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), field)
