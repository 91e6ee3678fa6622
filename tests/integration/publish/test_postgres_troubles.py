"""PostgresCDC on a real server: what it says when something is wrong, and how fast it stops."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from pg_kit import Database, count, new_database, read, start, until
from reading_kit import Reading
from trunkline.connectors.base import Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import ConfigurationError, SourceError
from trunkline.params import Secret


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("cdc")) as made:
        made.run("CREATE TABLE orders (id int PRIMARY KEY, status text)")
        yield made


def source_of(database: Database, *tables: str, **more: Any) -> PostgresCDC:
    slot = database.name.replace("-", "_")
    return PostgresCDC(database.dsn, tables or ["orders"], **{"slot": slot} | more)


def refusal(source: PostgresCDC, position: Position | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(source, position, until=count(1))
    return str(caught.value)


@pytest.mark.parametrize(
    ("table", "create", "message"),
    [
        ("missing", "", "table public.missing is not in the database"),
        ("bare", "CREATE TABLE bare (a int)", 'run ALTER TABLE "public"."bare" ADD PRIMARY KEY'),
        (
            "hidden",
            "CREATE TABLE hidden (a int PRIMARY KEY); ALTER TABLE hidden REPLICA IDENTITY NOTHING",
            'run ALTER TABLE "public"."hidden" REPLICA IDENTITY DEFAULT;',
        ),
        ("seen", "CREATE VIEW seen AS SELECT 1 AS a", "public.seen is not a permanent table"),
        ("quick", "CREATE UNLOGGED TABLE quick (a int PRIMARY KEY)", "not a permanent table"),
    ],
)
def test_a_table_that_cannot_be_captured(
    database: Database, table: str, create: str, message: str
) -> None:
    if create:
        database.run(create)
    assert message in refusal(source_of(database, "orders", table))
    assert database.slots() == []


@contextmanager
def role(database: Database, rights: str) -> Iterator[str]:
    """A role with ``rights``, and a dsn of it."""
    name = f"{database.name}-role"
    database.run(f'CREATE ROLE "{name}" LOGIN {rights}')
    try:
        yield psycopg2.extensions.make_dsn(database.dsn, user=name)
    finally:
        database.run(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def test_a_role_without_replication(database: Database) -> None:
    with role(database, "") as dsn:
        database.run(f'GRANT SELECT ON orders TO "{database.name}-role"')
        database.run("CREATE PUBLICATION mine FOR TABLE orders")
        message = refusal(PostgresCDC(dsn, ["orders"], publication="mine"))
    assert "REPLICATION" in message


def test_a_role_that_cannot_read_the_table(database: Database) -> None:
    with role(database, "REPLICATION") as dsn:
        message = refusal(PostgresCDC(dsn, ["orders"]))
        database.run(message.partition("must run ")[2])
        assert "must run: CREATE PUBLICATION" in refusal(PostgresCDC(dsn, ["orders"]))


def test_a_role_that_sees_only_some_rows(database: Database) -> None:
    """A snapshot without the others would be a gap."""
    database.run("CREATE PUBLICATION mine FOR TABLE orders; INSERT INTO orders VALUES (1)")
    database.run("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    with role(database, "REPLICATION") as dsn:
        database.run(f'GRANT SELECT ON orders TO "{database.name}-role"')
        source = PostgresCDC(dsn, ["orders"], publication="mine")
        assert "BYPASSRLS" in refusal(source)


def test_a_database_without_encoding(database: Database) -> None:
    name = f"{database.name}-ascii"
    with closing(psycopg2.connect(database.dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE DATABASE \"{name}\" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
            )
            ascii_dsn = psycopg2.extensions.make_dsn(database.dsn, dbname=name)
            assert "encoding SQL_ASCII" in refusal(PostgresCDC(ascii_dsn, ["orders"]))
            cursor.execute(f'DROP DATABASE "{name}"')


def test_a_position_that_another_server_gave(database: Database) -> None:
    """Else the changes up to it would be passed over without a word."""
    position = start(source_of(database)) | {"lsn": "FFFF/0"}
    assert "lies ahead of the server" in refusal(source_of(database), position)


def test_a_role_that_cannot_publish(database: Database) -> None:
    """The message has the statement for somebody who can; then it works."""
    with role(database, "REPLICATION") as dsn:
        database.run(f'GRANT SELECT ON orders TO "{database.name}-role"')
        source = PostgresCDC(dsn, ["orders"], slot=database.name.replace("-", "_"))
        statement = refusal(source).partition("must run: ")[2]
        assert statement.startswith("CREATE PUBLICATION")
        database.run(statement)
        start(source)


def test_a_slot_that_is_in_use_may_become_free(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.connectors.postgres.slots._HANDOVER", 0.1)
    first = source_of(database)
    position = start(first)
    database.run("INSERT INTO orders VALUES (1)")
    _, position = read(first, position, until=count(1), closes=False)
    with pytest.raises(SourceError, match="is in use by the server's process"):
        read(source_of(database), position, until=count(1))
    first.close()
    monkeypatch.undo()
    database.run("INSERT INTO orders VALUES (2)")
    assert read(source_of(database), position, until=count(1))[0]


def test_a_slot_of_somebody_else_is_left_alone(database: Database) -> None:
    source = source_of(database)
    start(source)
    assert f"SELECT pg_drop_replication_slot('{source.slot}')" in refusal(source_of(database))
    assert database.slots() == [source.slot]


def test_a_slot_for_another_plugin(database: Database) -> None:
    source = source_of(database)
    database.run("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", source.slot)
    assert "another database or plugin" in refusal(source)


def test_a_slot_that_was_dropped(database: Database) -> None:
    position = start(source_of(database))
    source_of(database).drop()
    assert "was dropped: the changes since then are lost" in refusal(source_of(database), position)


def test_a_table_that_is_not_published_any_more(database: Database) -> None:
    source = source_of(database)
    position = start(source)
    database.run(f"ALTER PUBLICATION {source.slot} DROP TABLE orders")
    database.run("INSERT INTO orders VALUES (1)")
    expected = f'ALTER PUBLICATION "{source.slot}" ADD TABLE "public"."orders"'
    assert expected in refusal(source, position)


def test_a_table_that_is_missing_in_a_publication_is_added(database: Database) -> None:
    database.run("CREATE PUBLICATION shop; CREATE TABLE more (id int PRIMARY KEY)")
    source = source_of(database, "orders", "more", publication="shop")
    position = start(source)
    database.run("INSERT INTO more VALUES (1)")
    (record,), _ = read(source, position, until=count(1))
    assert record.stream == "public.more"


def test_a_server_that_does_not_answer_is_a_source_error_without_the_password() -> None:
    source = PostgresCDC(Secret("postgresql://app:hunter2@127.0.0.1:1/shop"), ["orders"])
    with pytest.raises(SourceError, match="connecting") as caught:
        read(source, until=count(1))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__cause__)


LIMIT = 2.0
"""The contract says 0.5 s; a busy machine may take longer, a source that does not stop for ever."""


def test_it_stops_while_nothing_happens(database: Database) -> None:
    reading = Reading(source_of(database), start(source_of(database)))
    until(lambda: bool(database.senders()), "the stream to begin")
    assert reading.stopped_after() < LIMIT


def test_it_stops_while_the_server_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        reading = Reading(PostgresCDC(f"postgresql://me@127.0.0.1:{port}/shop", ["orders"]))
        with silent.accept()[0]:
            assert reading.stopped_after() < LIMIT


def test_it_stops_while_the_slot_waits_for_a_transaction(database: Database) -> None:
    with closing(psycopg2.connect(database.dsn)) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (1)")
        reading = Reading(source_of(database))
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'walsender' "
            "AND wait_event_type = 'Lock'"
        )
        until(lambda: bool(database.run(waiting, database.name)), "the slot to wait")
        assert reading.stopped_after() < LIMIT
    assert database.slots() == []


def test_it_stops_while_a_table_is_locked(database: Database) -> None:
    with closing(psycopg2.connect(database.dsn)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        reading = Reading(source_of(database))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass"
        until(lambda: bool(database.run(waiting)), "the snapshot to wait")
        assert reading.stopped_after() < LIMIT
    assert database.slots() == []


def test_a_statement_that_somebody_else_cancels_is_a_source_error(database: Database) -> None:
    """Returning would end the source for good."""
    with closing(psycopg2.connect(database.dsn)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        reading = Reading(source_of(database))
        waiting = (
            "SELECT pg_cancel_backend(pid) FROM pg_locks "
            "WHERE NOT granted AND relation = 'orders'::regclass"
        )
        until(lambda: bool(database.run(waiting)), "the snapshot to wait")
        assert "somebody cancelled" in str(reading.ended())


def test_it_stops_during_the_snapshot(database: Database) -> None:
    database.run("INSERT INTO orders SELECT i, 'x' FROM generate_series(1, 100000) i")
    reading = Reading(source_of(database, batch=1))
    until(lambda: len(reading.records) > 100, "the snapshot to begin")
    assert reading.stopped_after() < LIMIT
