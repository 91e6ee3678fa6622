"""PostgresCDC and a standby: what it says of one, and changes go on when it is promoted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pg_kit import Database, let_go, new_database, read, retried, start, streaming, until
from reading_kit import Reading
from standby_kit import SLOT, standby_of
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import ConfigurationError, SourceError
from trunkline.local.ports import free_port
from trunkline.local.postgres import Postgres
from trunkline.local.process import Child


@contextmanager
def running(server: Postgres) -> Iterator[Child]:
    child = Child(server.command())
    try:
        child.wait_ready()
        yield child
    finally:
        child.stop()


def copied_up_to(standby: Database, slot: str) -> int:
    """How far the standby's copy of the slot is confirmed; 0 while it has none that lasts."""
    query = (
        "SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots "
        "WHERE slot_name = %s AND synced AND NOT temporary AND invalidation_reason IS NULL"
    )
    return int(next(iter(standby.run(query, slot)), (0,))[0])


def test_changes_go_on_when_a_standby_takes_over(server_home: Path) -> None:
    primary = Postgres(server_home / "primary", free_port())
    primary.home.mkdir()
    primary.prepare()
    with running(primary) as first:
        db = Database(primary.address, "postgres")
        db.run("CREATE TABLE orders (id int PRIMARY KEY)")
        db.run("INSERT INTO orders VALUES (1), (2)")
        standby = standby_of(primary, server_home / "standby", free_port())
        with running(standby):
            both = (
                f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
                "?target_session_attrs=read-write"
            )

            def source(dsn: str = both) -> PostgresCDC:
                return PostgresCDC(dsn, ["orders"], slot="shop", failover=True)

            (warning,) = (one for one in source().check() if "synchronized" in one.what)
            assert warning.warning
            position = start(source())
            with pytest.raises(SourceError, match="is a standby"):
                read(source(standby.address), position, until=streaming)

            db.each(
                f"ALTER SYSTEM SET synchronized_standby_slots = '{SLOT}'",
                "SELECT pg_reload_conf()",
            )
            assert not [one for one in source().check() if "synchronized" in one.what]
            reading = Reading(source(), position)
            for number in range(3, 103):
                db.run("INSERT INTO orders VALUES (%s)", number)
            until(lambda: len(reading.records) == 100, "the changes of the first server")
            copy = Database(standby.address, "postgres")
            until(lambda: copied_up_to(copy, "shop") > 0, "the copy of the slot")
            db.run("INSERT INTO orders VALUES (103)")  # perhaps read, and not confirmed any more
            until(lambda: copy.run("SELECT 1 FROM orders WHERE id = 103") != [], "the last change")
            os.killpg(first.pid, signal.SIGKILL)  # as a machine dies
            reading.ended()
            copy.run("SELECT pg_promote()")
            copy.run("INSERT INTO orders VALUES (104)")

            known = {record.id: record.key for record in reading.records}

            def more() -> list[Any]:
                return read(
                    source(),
                    reading.position,
                    until=lambda records, _: any(record.key == "104" for record in records),
                )[0]

            known |= {record.id: record.key for record in retried(more)}
            assert list(known.values()) == [str(number) for number in range(3, 105)]
            let_go(copy)
            source(standby.address).drop()


def test_a_standby_that_lagged_is_told_also_once_it_has_written_more(server_home: Path) -> None:
    """Its log has grown beyond the position: by its numbers alone that would be one of it."""
    primary = Postgres(server_home / "ahead", free_port())
    primary.home.mkdir()
    primary.prepare()
    with running(primary) as first:
        db = Database(primary.address, "postgres")
        db.run("CREATE TABLE orders (id int PRIMARY KEY)")
        standby = standby_of(primary, server_home / "lagging", free_port())
        with running(standby):
            source = PostgresCDC(primary.address, ["orders"], slot="shop", failover=True)
            position = start(source)
            copy = Database(standby.address, "postgres")
            until(lambda: copied_up_to(copy, "shop") > 0, "the copy of the slot")
            copy.each("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
            until(lambda: copy.run("SELECT 1 FROM pg_stat_wal_receiver") == [], "it lags")
            db.run("INSERT INTO orders SELECT generate_series(1, 10)")
            source = PostgresCDC(primary.address, ["orders"], slot="shop", failover=True)
            _, position = read(source, position, until=lambda records, _: len(records) == 10)
            os.killpg(first.pid, signal.SIGKILL)
            copy.run("SELECT pg_promote()")
            copy.run("INSERT INTO orders SELECT generate_series(11, 5000)")
            written = copy.run("SELECT pg_current_wal_lsn() > %s::pg_lsn", position["lsn"])
            assert written == [(True,)], "the position is no more ahead of it"
            source = PostgresCDC(standby.address, ["orders"], slot="shop", failover=True)
            with pytest.raises(ConfigurationError, match=r"is of timeline 1, .* on timeline 2"):
                read(source, position, until=streaming)
            let_go(copy)
            source.drop()


def test_a_slot_that_was_made_without_copies_gets_them(
    postgres_dsn: str, topic: Callable[[str], str]
) -> None:
    with new_database(postgres_dsn, topic("failover")) as database:
        database.run("CREATE TABLE orders (id int PRIMARY KEY)")
        slot = database.name.replace("-", "_")
        position = start(PostgresCDC(database.dsn, ["orders"], slot=slot))
        query = "SELECT failover FROM pg_replication_slots WHERE slot_name = %s"
        assert database.run(query, slot) == [(False,)]
        database.run("INSERT INTO orders VALUES (1)")
        later = PostgresCDC(database.dsn, ["orders"], slot=slot, failover=True)
        read(later, position, until=lambda records, _: bool(records))
        assert database.run(query, slot) == [(True,)]
        let_go(database)


def test_an_older_server_is_refused_before_anything_is_made(
    postgres15_dsn: str, topic: Callable[[str], str]
) -> None:
    with new_database(postgres15_dsn, topic("failover")) as database:
        database.run("CREATE TABLE orders (id int PRIMARY KEY)")
        source = PostgresCDC(database.dsn, ["orders"], failover=True)
        with pytest.raises(ConfigurationError, match="needs PostgreSQL 17"):
            read(source, until=streaming)
        assert database.slots() == []
        assert any("needs PostgreSQL 17" in one.what for one in source.check())
