"""Whom SqlSink blames on real databases: the row, the moment, or the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from sql_items import Database, counts, put, rich
from trunkline import Retry
from trunkline.connectors.contract import make_event
from trunkline.errors import DeliveryError, Rejected, Retryable, Unavailable
from trunkline.event import Event
from trunkline.local.ports import free_port
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.flow.policy import Policy

Kind = type[DeliveryError]

SERVERS = pytest.mark.parametrize("db", ["postgres", "mariadb"], indirect=True)
"""SQLite has no lengths, no ranges, and one writer at a time."""


def refused(db: Database, **options: Any) -> DeliveryError:
    """What the sink makes of an event that nothing is wrong with but its count."""
    with pytest.raises(DeliveryError) as caught:
        db.deliver([put("b", 2, count=10)], **options)
    return caught.value


# What the server says, whatever the reason: a trigger says it.

POSTGRES: list[tuple[str, Kind]] = [
    ("40001", Retryable),  # serialization failure
    ("40P01", Retryable),  # deadlock
    ("55P03", Retryable),  # lock not available
    ("42501", Unavailable),  # no right to it
    ("42703", Unavailable),  # no such column
    ("08006", Unavailable),  # connection failure
    ("25006", Unavailable),  # read-only
    ("53100", Unavailable),  # disk full
    ("53300", Unavailable),  # too many connections
    ("57014", Unavailable),  # statement timeout
    ("57P01", Unavailable),  # shutting down
    ("57P03", Unavailable),  # starting up
    ("58030", Unavailable),  # I/O error
    ("22001", Rejected),  # too long
    ("22003", Rejected),  # out of range
    ("23502", Rejected),  # NOT NULL
    ("23503", Rejected),  # foreign key
    ("23505", Rejected),  # unique
    ("23514", Rejected),  # CHECK
    ("44000", Rejected),  # WITH CHECK OPTION
    ("54000", Rejected),  # too long for an index
    ("P0001", Rejected),  # RAISE EXCEPTION
]


def postgres_says(postgres: Database, state: str) -> DeliveryError:
    """What the sink makes of an SQLSTATE."""
    postgres.deliver([put("a", 1)])
    name = f"refuse_{postgres.table}"
    postgres.run(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"RAISE EXCEPTION 'told so' USING ERRCODE = '{state}'; END$$"
    )
    postgres.run(
        f"CREATE TRIGGER t BEFORE INSERT ON {{table}} FOR EACH ROW EXECUTE FUNCTION {name}()"
    )
    try:
        return refused(postgres)
    finally:
        postgres.run(f"DROP FUNCTION {name} CASCADE")


@pytest.mark.parametrize(("state", "expected"), POSTGRES)
def test_what_postgresql_says(postgres: Database, state: str, expected: Kind) -> None:
    found = postgres_says(postgres, state)
    assert (type(found), "told so" in str(found)) == (expected, True)


@pytest.mark.parametrize("known", [IntegrityError, psycopg2.errors.ForeignKeyViolation])
def test_a_destination_can_name_the_drivers_classes(
    postgres: Database, known: type[Exception]
) -> None:
    found = postgres_says(postgres, "23503")
    again = ErrorClassifier(Policy(retry=Retry("1s", on=[known]))).classify(found)
    assert (type(found), type(again)) == (Rejected, Retryable)


MARIADB: list[tuple[int, str, Kind]] = [
    (1213, "40001", Retryable),  # deadlock
    (1205, "HY000", Retryable),  # lock wait timeout
    (1020, "HY000", Retryable),  # changed since it was read
    (1142, "42000", Unavailable),  # no right to it
    (1054, "42S22", Unavailable),  # no such column
    (1040, "08004", Unavailable),  # too many connections
    (1047, "08S01", Unavailable),  # not in its cluster
    (1053, "08S01", Unavailable),  # shutting down
    (1114, "HY000", Unavailable),  # disk full
    (1290, "HY000", Unavailable),  # read-only
    (1969, "70100", Unavailable),  # statement timeout
    (1048, "23000", Rejected),  # NOT NULL
    (1062, "23000", Rejected),  # unique
    (1452, "23000", Rejected),  # foreign key
    (4025, "23000", Rejected),  # CHECK
    (1153, "08S01", Rejected),  # larger than a packet may be
    (1264, "22003", Rejected),  # out of range
    (1292, "22007", Rejected),  # no date
    (1366, "22007", Rejected),  # not of the character set
    (1406, "22001", Rejected),  # too long
    (1644, "45000", Rejected),  # SIGNAL
]


@pytest.mark.parametrize(("number", "state", "expected"), MARIADB)
def test_what_mariadb_says(mariadb: Database, number: int, state: str, expected: Kind) -> None:
    mariadb.deliver([put("a", 1)])
    mariadb.run(
        "CREATE TRIGGER {table}_t BEFORE INSERT ON {table} FOR EACH ROW "
        f"SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'told so'"
    )
    found = refused(mariadb)
    assert (type(found), "told so" in str(found)) == (expected, True)


# The row.


@SERVERS
@pytest.mark.parametrize(
    "bad", [put("too long" * 10, 1), put("b", 1, count=70_000)], ids=["long", "big"]
)
def test_a_value_that_does_not_fit_its_column_is_rejected(db: Database, bad: Event[Any]) -> None:
    db.run("CREATE TABLE {table} (id {key} PRIMARY KEY, count SMALLINT)")
    with pytest.raises(Rejected):
        db.deliver([bad], columns={"id": "id", "count": "count"})


def test_a_key_too_long_for_an_index_is_rejected(postgres: Database) -> None:
    """PostgreSQL's index takes 2,704 bytes, compressed."""
    key = "".join(f"{n * n:x}" for n in range(40_000))
    with pytest.raises(Rejected, match="index row"):
        postgres.deliver([make_event(key, rich(key), offset=1)])


def test_a_decimal_out_of_range_names_its_event_alone(postgres: Database) -> None:
    bad = make_event("b", rich("b", price=Decimal("1e20")), offset=2)
    with pytest.raises(Rejected):
        postgres.deliver([bad])


# The moment.


def held(db: Database, key: str) -> Iterator[Connection]:
    """Somebody else's transaction that holds the row of ``key``."""
    lock = " FOR UPDATE" if db.kind != "sqlite" else ""
    with db.engine.connect() as holder:
        if db.kind == "sqlite":
            holder.execute(text("BEGIN IMMEDIATE"))
        holder.execute(text(f"SELECT 1 FROM {db.table} WHERE id = '{key}'{lock}"))
        yield holder
        holder.rollback()


def test_a_lock_that_is_held_too_long_is_a_matter_of_time(db: Database) -> None:
    db.deliver([put("a", 1)])
    for _ in held(db, "a"):
        with pytest.raises(Retryable, match=r"(?i)lock"):
            db.deliver([put("a", 2)], create_table=False, timeout=1)
    db.deliver([put("a", 2, count=2)])
    assert counts(db) == {"a": 2}


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE wait_event_type = 'Lock' AND query LIKE '%{table}%'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx "
    "WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%{table}%'",
}


def until_the_sink_waits(db: Database) -> None:
    deadline = time.monotonic() + 10
    with db.engine.connect() as watcher:
        while not watcher.execute(text(WAITING[db.kind].format(table=db.table))).scalar():
            assert time.monotonic() < deadline, "the sink waits for no lock"
            watcher.rollback()
            time.sleep(
                0.2
            )  # InnoDB shows a state that is up to 0.1 s old, counted from the last look


@SERVERS
def test_a_deadlock_is_a_matter_of_time(db: Database) -> None:
    """The sink has row a and waits for b, somebody else the other way round."""
    db.deliver([put("a", 1), put("b", 2), *(put(f"x{n}", 3 + n) for n in range(50))])
    with ThreadPoolExecutor(1) as thread:
        for holder in held(db, "b"):
            if db.kind == "postgresql":  # so that the sink is the one to see it
                holder.execute(text("SET LOCAL deadlock_timeout = '1h'"))
            else:  # the server ends the smaller transaction
                holder.execute(text(f"UPDATE {db.table} SET count = 9 WHERE id LIKE 'x%'"))
            delivered = thread.submit(
                db.deliver, [put("a", 60), put("b", 61)], create_table=False, timeout=10
            )
            until_the_sink_waits(db)
            holder.execute(text(f"SELECT 1 FROM {db.table} WHERE id = 'a' FOR UPDATE"))
            with pytest.raises(Retryable, match=r"(?i)deadlock"):
                delivered.result()


# The server.


def test_a_cut_connection_is_unavailable_and_mends(postgres: Database) -> None:
    postgres.url += f"?application_name={postgres.table}"

    async def run() -> None:
        sink = postgres.sink()
        await sink.open()
        await sink.deliver([put("a", 1)])
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = '{table}'"
        )
        with pytest.raises(Unavailable):
            await sink.deliver([put("a", 2, count=2)])
        await sink.deliver([put("a", 2, count=2)])
        await sink.close()

    asyncio.run(run())
    assert counts(postgres) == {"a": 2}


def test_a_killed_connection_is_unavailable_and_mends(mariadb: Database) -> None:
    async def run() -> None:
        sink = mariadb.sink()
        await sink.open()
        await sink.deliver([put("a", 1)])
        with mariadb.engine.connect() as connection:
            others = "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
            found = connection.execute(text(f"{others} AND command = 'Sleep'")).scalars().all()
            for number in found:
                connection.execute(text(f"KILL {number}"))
        with pytest.raises(Unavailable):
            await sink.deliver([put("a", 2, count=2)])
        await sink.deliver([put("a", 2, count=2)])
        await sink.close()

    asyncio.run(run())


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_a_server_that_is_not_there_is_unavailable(scheme: str, sqlite: Database) -> None:
    sqlite.url = f"{scheme}://nobody:hunter2@127.0.0.1:{free_port()}/nowhere"
    with pytest.raises(Unavailable) as caught:
        sqlite.deliver([put("a", 1)])
    assert "hunter2" not in str(caught.value)


def test_a_database_that_is_not_there_is_unavailable(postgres: Database) -> None:
    url = str(postgres.engine.url.set(database="nowhere"))
    postgres.url = url
    with pytest.raises(Unavailable, match="nowhere"):
        postgres.deliver([put("a", 1)])


def test_a_statement_that_takes_too_long_is_unavailable(postgres: Database) -> None:
    postgres.deliver([put("a", 1)])
    name = f"slow_{postgres.table}"
    postgres.run(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$"
    )
    postgres.run(
        f"CREATE TRIGGER t BEFORE UPDATE ON {{table}} FOR EACH ROW EXECUTE FUNCTION {name}()"
    )
    try:
        with pytest.raises(Unavailable, match="statement timeout"):
            postgres.deliver([put("a", 2)], timeout=1)
    finally:
        postgres.run(f"DROP FUNCTION {name} CASCADE")


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path, sqlite: Database) -> None:
    (tmp_path / "broken.db").write_bytes(b"something else" * 1000)
    sqlite.url = f"sqlite:///{tmp_path}/broken.db"
    with pytest.raises(Unavailable, match="not a database"):
        sqlite.deliver([put("a", 1)])


def test_a_file_that_cannot_be_opened_is_unavailable(sqlite: Database) -> None:
    sqlite.url = "sqlite:////nowhere/at/all.db"
    with pytest.raises(Unavailable, match="unable to open"):
        sqlite.deliver([put("a", 1)])
