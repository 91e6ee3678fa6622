"""SQLAlchemy engines: which driver, which session, and how long it waits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool

from trunkline.connectors.json_values import exact_json, to_json
from trunkline.errors import AddressError, ConfigurationError, MissingExtra

DRIVERS = {
    "postgresql": ("postgresql+psycopg2", "postgres"),
    "postgres": ("postgresql+psycopg2", "postgres"),
    "mysql": ("mysql+pymysql", "mysql"),
    "mariadb": ("mysql+pymysql", "mysql"),
    "sqlite": ("sqlite+pysqlite", ""),
}

# A server that is not strict would cut values off silently, and number a key 0 anew; moments are
# UTC. A lock is waited for
# half as long as a statement takes at the most: so that the server says what it waits for.
MYSQL_SESSION = (
    "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO'), "
    "time_zone = '+00:00', innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock}"
)


def sql_engine(url: str, *, timeout: float, connections: int, json_as_text: bool = False) -> Engine:
    """An engine of SqlSink that connects lazily, with up to ``connections`` connections.

    ``json_as_text``: columns of JSON are read as they stand, so that no digit becomes another.
    ``timeout``: seconds for connecting and for one statement, half of which it may wait for a
    lock (with SQLite all of it). Raises AddressError for a URL
    of no supported database (the message never shows the password), MissingExtra for a driver
    that is not installed.
    """
    parsed, extra = _with_driver(url, "SqlSink")
    options: dict[str, Any] = {"pool_size": connections, "max_overflow": 0, "poolclass": QueuePool}
    if parsed.get_backend_name() != "sqlite":
        # Two workers may write one key, and the lock of its position puts them in order. With a
        # snapshot a transaction (REPEATABLE READ, MySQL's default) the second one would not see
        # what the first has written meanwhile, or be refused for it.
        options["isolation_level"] = "READ COMMITTED"
    try:
        return create_engine(
            parsed,
            connect_args=_connect_args(parsed, timeout),
            json_serializer=lambda value: to_json(value).decode(),
            **({"json_deserializer": str} if json_as_text else {}),
            hide_parameters=True,
            **options,
        )
    except ModuleNotFoundError as error:
        raise MissingExtra(f"SqlSink on {parsed.get_backend_name()}", extra) from error


def polling_engine(url: str, *, timeout: float) -> Engine:
    """An engine of a source that reads, with one connection, for any database of SQLAlchemy.

    The three that we know have their sessions as in ``sql_engine``; any other is taken as its URL
    says. JSON keeps all digits of its numbers. Raises as ``sql_engine``.
    """
    _require_encoded(url, "SqlPolling")
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None
    known = parsed is None or parsed.drivername.partition("+")[0] in DRIVERS
    parsed, extra = _with_driver(url, "SqlPolling") if known or parsed is None else (parsed, "")
    if known and _is_in_memory(parsed):
        raise AddressError("SqlPolling: SQLite needs a file, as sqlite:///path/to/file.db")
    options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_pre_ping": True}
    if known:
        options["connect_args"] = _connect_args(parsed, timeout)
        if parsed.get_backend_name() != "sqlite":
            options["isolation_level"] = "READ COMMITTED"
    if known and parsed.get_backend_name() == "postgresql":
        options["json_deserializer"] = exact_json
    try:
        return create_engine(parsed, hide_parameters=True, **options)
    except exc.NoSuchModuleError:
        raise AddressError(
            f"SqlPolling: SQLAlchemy has no dialect for {parsed.drivername}: install one"
        ) from None
    except ModuleNotFoundError as error:
        if extra:
            raise MissingExtra(f"SqlPolling on {parsed.get_backend_name()}", extra) from error
        raise ConfigurationError(f"SqlPolling: the driver is not installed: {error}") from error


def require_durable(engine: Engine) -> None:
    """Raises AddressError for a database in memory. That is no fault of who builds a sink of it, as
    a test does: but what was written to it would be gone with the process, and nobody sees it."""
    if _is_in_memory(engine.url):
        raise AddressError(
            "SqlSink: what is written to a database in memory is lost with the process: SQLite "
            "needs a file, as sqlite:///path/to/file.db"
        )


def _is_in_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and (
        url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"
    )


def _require_encoded(url: str, who: str) -> None:
    # What is behind the first @ would be taken for the host, and every error would name it.
    if not url.startswith("sqlite") and url.count("@") > 1:
        raise AddressError(
            f"{who}: the URL has more than one @: characters of user and password other than "
            "letters and digits must be percent-encoded: urllib.parse.quote(password, safe='')"
        )


def _with_driver(url: str, who: str) -> tuple[URL, str]:
    _require_encoded(url, who)
    try:
        parsed = make_url(url)
        if not 0 < (parsed.port or 1) < 65536:
            raise ValueError("no port")
    except (exc.ArgumentError, ValueError):  # of a port that is no number
        raise AddressError(
            f"{who}: not a database URL, as postgresql://user:password@host/database"
        ) from None
    name = parsed.drivername.partition("+")[0]
    if name not in DRIVERS:
        known = ", ".join(DRIVERS)
        raise AddressError(f"{who}: {name}:// is not supported; there are {known}")
    driver, extra = DRIVERS[name]
    return parsed.set(drivername=driver), extra


def _connect_args(url: URL, timeout: float) -> dict[str, Any]:
    seconds = max(1, round(timeout))
    if url.get_backend_name() == "sqlite":
        return {"timeout": timeout}
    if url.get_backend_name() == "mysql":
        return {
            "connect_timeout": seconds,
            "read_timeout": max(2, seconds),
            "write_timeout": seconds,
            "charset": "utf8mb4",
            "init_command": MYSQL_SESSION.format(lock=max(1, seconds // 2)),
        }
    args: dict[str, Any] = {
        "connect_timeout": seconds,
        "options": f"-c statement_timeout={seconds * 1000} -c lock_timeout={seconds * 500} "
        "-c timezone=UTC",
        "tcp_user_timeout": seconds * 1000,
        "application_name": "trunkline",
    }
    return {name: value for name, value in args.items() if name not in url.query}
