"""PostgresCDC and a server of its own: restarts, and settings that it cannot do with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pg_kit import Database, connected, count, let_go, read, start, until
from reading_kit import Reading
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import ConfigurationError, SourceError
from trunkline.local.ports import free_port
from trunkline.local.postgres import Postgres
from trunkline.local.process import Child


@pytest.fixture(scope="module")
def server(server_home: Path) -> Postgres:
    made = Postgres(server_home / "postgres-alone", free_port())
    made.home.mkdir()
    made.prepare()
    return made


@contextmanager
def running(server: Postgres, *settings: str) -> Iterator[Database]:
    """The server with ``settings``, and in it an empty table."""
    command = server.command()
    child = Child(replace(command, arguments=(*command.arguments, *settings)))
    try:
        child.wait_ready()
        yield Database(server.address, "postgres")
    finally:
        child.stop()


def source_of(server: Postgres) -> PostgresCDC:
    return PostgresCDC(server.address, ["orders"], batch=100)


def new_table(database: Database) -> None:
    database.run("DROP TABLE IF EXISTS orders; CREATE TABLE orders (id int PRIMARY KEY)")


def test_a_restart_of_the_server_loses_nothing(server: Postgres) -> None:
    with running(server) as database:
        new_table(database)
        reading = Reading(source_of(server), start(source_of(server)))
        database.run("INSERT INTO orders SELECT generate_series(1, 250)")
        until(lambda: len(reading.records) == 250, "the changes")
    assert "reading changes" in str(reading.ended())
    with pytest.raises(SourceError, match="connecting"):
        read(source_of(server), reading.position, until=count(1))
    with running(server) as database:
        database.run("INSERT INTO orders VALUES (251)")
        rest, _ = read(source_of(server), reading.position, until=count(1))
        assert [r.key for r in reading.records + rest] == [str(n) for n in range(1, 252)]
        let_go(database)
        source_of(server).drop()


def test_a_restart_while_nothing_changes_is_no_lost_slot(server: Postgres) -> None:
    """A server that shuts down asks for an answer, and the driver confirms all that was sent."""
    with running(server) as database:
        new_table(database)
        reading = Reading(source_of(server), start(source_of(server)))
        until(lambda: bool(database.senders()), "the stream to begin")
        database.run("CREATE TABLE other AS SELECT generate_series(1, 1000) AS i")
    assert "reading changes" in str(reading.ended())
    with running(server) as database:
        database.run("DROP TABLE other; INSERT INTO orders VALUES (1)")
        rest, _ = read(source_of(server), reading.position, until=count(1))
        assert [record.key for record in rest] == ["1"]
        let_go(database)
        source_of(server).drop()


def test_a_slot_that_held_back_too_much_is_lost(server: Postgres) -> None:
    with running(server, "--max_slot_wal_keep_size=1MB") as database:
        new_table(database)
        position = start(source_of(server))
        with closing(connected(database.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for number in range(6):
                    cursor.execute("INSERT INTO orders VALUES (%s)", (number,))
                    cursor.execute("SELECT pg_switch_wal()")
                cursor.execute("CHECKPOINT")
        with pytest.raises(ConfigurationError, match="the server has removed WAL") as caught:
            read(source_of(server), position, until=count(1))
        assert "SELECT pg_drop_replication_slot('trunkline_" in str(caught.value)
        let_go(database)
        source_of(server).drop()


def test_wal_level_must_be_logical(server: Postgres) -> None:
    with running(server, "--wal_level=replica") as database:
        new_table(database)
        with pytest.raises(ConfigurationError, match="ALTER SYSTEM SET wal_level = logical"):
            read(source_of(server), until=count(1))


def test_no_slot_is_free(server: Postgres) -> None:
    with running(server, "--max_replication_slots=1") as database:
        new_table(database)
        start(source_of(server))
        other = PostgresCDC(server.address, ["orders"], slot="other")
        with pytest.raises(ConfigurationError, match="max_replication_slots = <more>"):
            read(other, until=count(1))
        let_go(database)
        source_of(server).drop()
