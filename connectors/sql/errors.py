"""What a database driver's error tells the engine: is it the row, the moment, or the server?

Drivers agree on little: PostgreSQL and newer PyMySQL give an SQLSTATE (ISO/IEC 9075; its first two
characters are its class), MySQL and MariaDB error numbers, SQLite result codes. Numbers are those
of the servers' references; MySQL's own SQLSTATE is often the catch-all HY000.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import exc

from trunkline.connectors.sql.messages import withhold
from trunkline.errors import DataError, DeliveryError, Rejected, Retryable, Unavailable

# A driver cannot send the value (a NUL in a text, an int beyond 64 bits), or there is none.
ROW_ERRORS = (DataError, ValueError, TypeError, OverflowError)
ERRORS = (exc.SQLAlchemyError, *ROW_ERRORS)
"""What a transaction can raise."""

Codes = frozenset[str | int]
"""SQLSTATEs, their classes, and error numbers, which never look alike."""

# The row itself: another one may well be accepted.
ROW: Codes = frozenset(
    {
        *("22", "23", "44", "45", "P0"),  # data, constraint, CHECK OPTION, SIGNAL, RAISE EXCEPTION
        "54000",  # a key too long for PostgreSQL's index
        *(1118, 1153, 1301),  # MySQL: row too large, packet too large
        *(1264, 1265, 1292, 1366, 1406, 1411, 1690),  # out of range, cut off, wrong, too long
        *(1300, 1977, 3140),  # not of the character set, no JSON
        *(1526, 1644, 1748, 3819, 4025),  # no partition for it, SIGNAL, CHECK
    }
)
# The moment: somebody else was in between.
CONFLICT: Codes = frozenset(
    {
        *("40", "55P03"),  # deadlock, serialization failure; a lock not available
        *(1020, 1205, 1213, 3572),  # changed meanwhile, lock timeout, deadlock, NOWAIT
    }
)
# The server: any row would fail now.
DOWN: Codes = frozenset(
    {
        *("08", "28", "3D", "53", "57", "58"),  # connection, login, resources, shutdown, disk
        "25006",  # read-only: a replica after a failover, or a maintenance
        *(1290, 1792, 1836),  # the same
        *(1021, 1037, 1038, 1041, 1114, 1135),  # disk full, out of memory
        *(1040, 1129, 1203, 1226),  # too many connections, or too many errors
        *(1044, 1045, 1049),  # no login, or no such database
        *(1047, 1053, 1927),  # not in its cluster, shutting down, connection killed
        *(1969, 3024),  # a statement took too long
        *("42P01", "3F000", 1146),  # no such table: renamed by a migration, it comes back
        *("42703", 1054),  # no such column
        *("42501", 1142, 1143),  # no right to the table or a column
        1364,  # a NOT NULL column was added that no statement of ours names
    }
)
# PyMySQL's own, for a connection that is closed, and those of the client library that it copies.
CLIENT = (0, *range(2000, 3000))

NOT_THERE = re.compile(r"no such (table|column)|has no column named")
"""SQLite tells them apart from other mistakes in SQL in words alone."""
UNFILLED = re.compile(r"NOT NULL constraint failed: (.+)\.(.+)")
"""SQLite again."""
BUSY = frozenset({5, 6})
"""SQLite: SQLITE_BUSY, SQLITE_LOCKED."""
BROKEN = frozenset({3, 7, 8, 10, 11, 13, 14, 26})
"""SQLite: no permission, no memory, read-only, I/O, corrupt, full, cannot open, no database."""


def delivery_error(
    error: Exception, *, values: Iterable[Any] = (), names: Collection[str] = ()
) -> DeliveryError:
    """The instruction that a failed transaction (``ERRORS``) stands for, without rows' values.

    ``values``: those of the rows that were to be written; ``names``: the table's and its columns'.
    ``error`` and what it was raised from lose the values, too: a dead letter shows all of it.

    Rejected: the row itself is the reason, another one may well be accepted. Retryable: deadlocks
    and other conflicts. Unavailable: no connection, a server that serves nobody now, a table,
    column or right that is not there, or a column that nobody fills, for whatever row.
    """
    codes = codes_of(error)
    instruction = _instruction(error, codes)
    if isinstance(error, exc.IntegrityError) and _is_of_no_row(error.orig, names):
        instruction = Unavailable
    what, cause = withhold(error, values, names)
    return instruction(what, cause=cause)


Instruction = type[Rejected] | type[Retryable] | type[Unavailable]


def _instruction(error: Exception, codes: Codes) -> Instruction:
    if not isinstance(error, exc.DBAPIError):
        return Rejected if isinstance(error, (*ROW_ERRORS, exc.StatementError)) else Retryable
    if isinstance(error, exc.IntegrityError | exc.DataError) or codes & ROW:
        return Rejected
    if codes & CONFLICT or _sqlite_code(error.orig) in BUSY:
        return Retryable
    if error.connection_invalidated or codes & DOWN or _sqlite_code(error.orig) in BROKEN:
        return Unavailable
    return _without_a_known_code(error, codes)


def _is_of_no_row(original: Any, names: Collection[str]) -> bool:
    """Whether a NOT NULL column is empty that no row fills, as it is not among ``names``.

    Case: a migration adds one under the running sink. Every event would be a dead letter until
    somebody gives it a default.
    """
    diag = getattr(original, "diag", None)
    if getattr(original, "pgcode", None) == "23502" and diag is not None:
        table, column = diag.table_name, diag.column_name
    elif match := UNFILLED.fullmatch(str(original)):
        table, column = match.groups()
    else:
        return False
    return table in names and bool(column) and column not in names


def _without_a_known_code(error: exc.DBAPIError, codes: Codes) -> Instruction:
    if isinstance(error.orig, sqlite3.OperationalError) and NOT_THERE.search(str(error.orig)):
        return Unavailable
    said_by_the_server = codes.difference(CLIENT) or _sqlite_code(error.orig) is not None
    if said_by_the_server:
        return Retryable
    if isinstance(error, exc.ProgrammingError):
        return Rejected  # the driver has not even sent it: a NaN to MariaDB
    lost = isinstance(error, exc.OperationalError | exc.InterfaceError)
    return Unavailable if lost else Retryable


def codes_of(error: Exception) -> Codes:
    """The SQLSTATE, its class, and the error number, as far as the driver tells them."""
    original = error.orig if isinstance(error, exc.DBAPIError) else None
    state = getattr(original, "pgcode", None) or getattr(original, "sqlstate", None)
    found: set[str | int] = {state, state[:2]} if state else set()
    args = getattr(original, "args", ())
    if args and isinstance(args[0], int):
        found.add(args[0])
    return frozenset(found)


def _sqlite_code(original: BaseException | None) -> int | None:
    """SQLite's primary result code, without what its extended ones add above a byte."""
    code = getattr(original, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
