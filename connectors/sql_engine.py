"""SQLAlchemy engines for SqlSink, and what a driver's error tells the engine of the flow."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, exc
from sqlalchemy.engine import URL, make_url

from trunkline.connectors.plain import to_json
from trunkline.errors import (
    ConfigurationError,
    DataError,
    DeliveryError,
    MissingExtra,
    Rejected,
    Retryable,
    Unavailable,
)

DRIVERS = {
    "postgresql": ("postgresql+psycopg2", "postgres"),
    "postgres": ("postgresql+psycopg2", "postgres"),
    "mysql": ("mysql+pymysql", "mysql"),
    "mariadb": ("mysql+pymysql", "mysql"),
    "sqlite": ("sqlite+pysqlite", ""),
}

# A server that is not strict would cut values off silently; moments are UTC.
MYSQL_SESSION = (
    "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), time_zone = '+00:00'"
)

# A driver cannot send the value (a NUL in a text, an int beyond 64 bits), or there is none.
ROW_ERRORS = (DataError, ValueError, TypeError, OverflowError)
ERRORS = (exc.SQLAlchemyError, *ROW_ERRORS)
"""What a transaction can raise."""

# Deadlock, serialization failure, lock not available (PostgreSQL's SQLSTATE, MySQL's errno).
CONFLICTS = frozenset({"40P01", "40001", "55P03", 1213, 1205, 1020})
# A constraint or a trigger of the user's own, where the driver gives it no class of its own
# (MariaDB CHECK, MySQL CHECK, SIGNAL; PostgreSQL's WITH CHECK OPTION and RAISE EXCEPTION).
REFUSALS = frozenset({4025, 3819, 1644, "44000", "P0001"})
# Server is read-only: a replica after a failover, or a maintenance.
READ_ONLY = frozenset({"25006", 1290, 1792, 1836})


def sql_engine(url: str, *, timeout: float, connections: int) -> Engine:
    """An engine that connects lazily, with up to ``connections`` connections.

    ``timeout``: seconds for connecting and for one statement. Raises ConfigurationError for a URL
    of no supported database (the message never shows the password), MissingExtra for a driver
    that is not installed.
    """
    parsed, extra = _with_driver(url)
    options: dict[str, Any] = {"pool_size": connections, "max_overflow": 0}
    if parsed.get_backend_name() != "sqlite":
        # The rows' locks give the order; a snapshot of the transaction's begin would hide it.
        options["isolation_level"] = "READ COMMITTED"
    try:
        return create_engine(
            parsed,
            connect_args=_connect_args(parsed, timeout),
            json_serializer=lambda value: to_json(value).decode(),
            hide_parameters=True,
            **options,
        )
    except ModuleNotFoundError as error:
        raise MissingExtra(f"SqlSink on {parsed.get_backend_name()}", extra) from error


def delivery_error(error: Exception) -> DeliveryError:
    """The instruction that a failed transaction (``ERRORS``) stands for.

    Rejected: the row itself is the reason, another one may well be accepted. Retryable: deadlocks
    and other conflicts, missing rights, a table that has changed. Unavailable: no connection.
    """
    what = _explained(error)
    if not isinstance(error, exc.DBAPIError):
        row = isinstance(error, (*ROW_ERRORS, exc.StatementError))
        return Rejected(what) if row else Retryable(what)
    if isinstance(error, exc.IntegrityError | exc.DataError) or _code(error) in REFUSALS:
        return Rejected(what)
    if isinstance(error, exc.ProgrammingError) and _code(error) is None:
        return Rejected(what)  # the driver has not even sent it: a NaN to MariaDB
    if _code(error) in CONFLICTS or "database is locked" in what:
        return Retryable(what)
    lost = error.connection_invalidated or _code(error) in READ_ONLY
    if lost or isinstance(error, exc.OperationalError | exc.InterfaceError):
        return Unavailable(what)
    return Retryable(what)


def _explained(error: Exception) -> str:
    """The driver's own words, without SQL and parameters."""
    original = error.orig if isinstance(error, exc.StatementError) else error
    return f"{type(original).__name__}: {' '.join(str(original).split())}"[:500]


def _code(error: exc.DBAPIError) -> str | int | None:
    state = getattr(error.orig, "pgcode", None)
    if state:
        return str(state)
    args = getattr(error.orig, "args", ())
    return args[0] if args and isinstance(args[0], int) else None


def _with_driver(url: str) -> tuple[URL, str]:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise ConfigurationError(
            "SqlSink: not a database URL, as postgresql://user:password@host/database"
        ) from None
    name = parsed.drivername.partition("+")[0]
    if name not in DRIVERS:
        known = ", ".join(DRIVERS)
        raise ConfigurationError(f"SqlSink: {name}:// is not supported; there are {known}")
    if name == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("SqlSink: SQLite needs a file, as sqlite:///path/to/file.db")
    driver, extra = DRIVERS[name]
    return parsed.set(drivername=driver), extra


def _connect_args(url: URL, timeout: float) -> dict[str, Any]:
    seconds = max(1, round(timeout))
    if url.get_backend_name() == "sqlite":
        return {"timeout": timeout}
    if url.get_backend_name() == "mysql":
        return {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "write_timeout": seconds,
            "charset": "utf8mb4",
            "init_command": MYSQL_SESSION,
        }
    args: dict[str, Any] = {
        "connect_timeout": seconds,
        "options": f"-c statement_timeout={seconds * 1000} -c timezone=UTC",
        "tcp_user_timeout": seconds * 1000,
        "application_name": "trunkline",
    }
    return {name: value for name, value in args.items() if name not in url.query}
