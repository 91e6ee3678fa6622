"""SqlPolling on real PostgreSQL and MariaDB: values without a digit lost, and servers that hang."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from datetime import time as clock_time
from decimal import Decimal

import pytest

from polling_kit import Polled, changes, looks, once, polled
from trunkline.connectors.sql import FullComparison, Increasing, SqlPolling, Timestamp
from trunkline.errors import SourceError


@pytest.fixture
def postgres(postgres_dsn: str) -> Iterator[Polled]:
    with polled(postgres_dsn) as database:
        yield database


@pytest.fixture
def mariadb(mariadb_url: str) -> Iterator[Polled]:
    with polled(mariadb_url) as database:
        yield database


def row_of(database: Polled) -> dict[str, object]:
    source = SqlPolling(database.url, database.table, by=Increasing("id", lag="0s"))
    ((record,),) = (batch.records for batch in once(source))
    return record.data


def test_values_of_postgres(postgres: Polled) -> None:
    postgres.run(
        "CREATE TABLE {t} (id bigint PRIMARY KEY, total numeric, ratio double precision, "
        "raw bytea, at timestamptz, local timestamp, day date, clock time, endless timestamptz, "
        "doc jsonb, tags text[], sums numeric[], ref uuid, span interval, nothing text)"
    )
    postgres.run(
        "INSERT INTO {t} VALUES (9007199254740993, 12345678901234567890.123456789, 0.1, "
        r"'\x00ff', '2026-03-29 02:30:00.123456+02', '2026-03-29 02:30:00.000001', '0001-01-01', "
        "'23:59:59.999999', 'infinity', cast(:doc as jsonb), array['a', null], array[1.50], "
        "'c0ffee00-0000-4000-8000-000000000001', '1 mon 2 days', null)",
        doc='{"n": 12345678901234567890123, "d": 0.12345678901234567890, "x": 1.5}',
    )
    assert row_of(postgres) == {
        "id": 9007199254740993,
        "total": Decimal("12345678901234567890.123456789"),
        "ratio": 0.1,
        "raw": b"\x00\xff",
        "at": datetime(2026, 3, 29, 0, 30, 0, 123456, tzinfo=UTC),
        "local": datetime(2026, 3, 29, 2, 30, 0, 1),
        "day": date(1, 1, 1),
        "clock": clock_time(23, 59, 59, 999999),
        "endless": "infinity",
        "doc": {"n": 12345678901234567890123, "d": Decimal("0.12345678901234567890"), "x": 1.5},
        "tags": ["a", None],
        "sums": [Decimal("1.50")],
        "ref": "c0ffee00-0000-4000-8000-000000000001",
        "span": "1 mon 2 days",
        "nothing": None,
    }


def test_values_of_mariadb(mariadb: Polled) -> None:
    mariadb.run(
        "CREATE TABLE {t} (id bigint unsigned PRIMARY KEY, total decimal(65,30), ratio double, "
        "short float, raw varbinary(9), at timestamp(6) NULL, local datetime(6), day date, "
        "clock time(6), long_clock time, zero datetime, bits bit(9), kind enum('a','b'), "
        "doc json, nothing text)"
    )
    mariadb.run(
        "INSERT IGNORE INTO {t} VALUES (18446744073709551615, "
        "12345678901234567890.123456789012345678901234567890, 0.1, 0.1, x'00ff', "
        "'2026-03-29 00:30:00.123456', '2026-03-29 02:30:00.000001', '1000-01-01', "
        "'23:59:59.999999', '-838:59:59', '0000-00-00', b'100000001', 'b', '{}', null)"
    )
    assert row_of(mariadb) == {
        "id": 18446744073709551615,
        "total": Decimal("12345678901234567890.123456789012345678901234567890"),
        "ratio": 0.1,
        "short": 0.10000000149011612,
        "raw": b"\x00\xff",
        "at": datetime(2026, 3, 29, 0, 30, 0, 123456, tzinfo=UTC),
        "local": datetime(2026, 3, 29, 2, 30, 0, 1),
        "day": date(1000, 1, 1),
        "clock": clock_time(23, 59, 59, 999999),
        "long_clock": "-838:59:59",
        "zero": "0000-00-00 00:00:00",
        "bits": 257,
        "kind": "b",
        "doc": "{}",
        "nothing": None,
    }


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_rows_of_one_time_are_told_apart_by_their_key(
    server: str, request: pytest.FixtureRequest
) -> None:
    database: Polled = request.getfixturevalue(server)
    kind = "timestamptz" if server == "postgres" else "datetime(6)"
    database.run(f"CREATE TABLE {{t}} (id varchar(9) PRIMARY KEY, at {kind})")
    for n in range(7):
        database.run("INSERT INTO {t} VALUES (:id, '2026-01-01 00:00:00.5')", id=f"k{n}")
    source = SqlPolling(database.url, database.table, by=Timestamp("at"), batch=2)
    assert [key for _, key in changes(once(source))] == [f"k{n}" for n in range(7)]


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_no_lag_is_needed_for_what_is_committed_within_it(
    server: str, request: pytest.FixtureRequest
) -> None:
    """The smaller number is committed after the larger one was seen, within the lag."""
    database: Polled = request.getfixturevalue(server)
    database.run("CREATE TABLE {t} (id bigint PRIMARY KEY)")
    source = SqlPolling(
        database.url, database.table, by=Increasing("id", lag="1s"), interval="100ms"
    )
    with database.engine.connect() as late:
        late.exec_driver_sql(f"INSERT INTO {database.table} VALUES (1)")
        database.run("INSERT INTO {t} VALUES (2)")
        timer = threading.Timer(0.4, late.commit)
        timer.start()
        batches = looks(source, until=lambda got: "2" in [key for _, key in changes(got)])
        timer.join()
    assert [key for _, key in changes(batches)] == ["1", "2"]


def test_memory_is_bounded_by_bytes_not_by_rows(postgres: Polled) -> None:
    postgres.run("CREATE TABLE {t} (id int PRIMARY KEY, doc text)")
    postgres.run("ALTER TABLE {t} ALTER doc SET STORAGE EXTERNAL")
    postgres.run("INSERT INTO {t} SELECT n, repeat('x', 1000000) FROM generate_series(1, 21) AS n")
    source = SqlPolling(postgres.url, postgres.table, by=Increasing("id", lag="0s"))
    batches = once(source)
    assert [len(batch.records) for batch in batches] == [4, 4, 4, 4, 4, 1]
    whole = once(SqlPolling(postgres.url, postgres.table, by=FullComparison()))
    assert max(len(batch.records) for batch in whole) == 4
    assert len(changes(whole)) == 21


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_a_statement_that_takes_too_long_is_an_error_that_says_so(
    server: str, request: pytest.FixtureRequest
) -> None:
    database: Polled = request.getfixturevalue(server)
    database.run("CREATE TABLE {t} (id int PRIMARY KEY)")
    database.run("INSERT INTO {t} VALUES (1)")
    sleep = "pg_sleep(30) IS NOT NULL" if server == "postgres" else "sleep(30) = 0"
    source = SqlPolling(
        database.url, database.table, by=Increasing("id", lag="0s"), where=sleep, timeout="1s"
    )
    with pytest.raises(SourceError, match=r"timeout|max_statement_time|Lost connection"):
        once(source)


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_a_stop_waits_for_no_statement(server: str, request: pytest.FixtureRequest) -> None:
    database: Polled = request.getfixturevalue(server)
    database.run("CREATE TABLE {t} (id int PRIMARY KEY)")
    database.run("INSERT INTO {t} VALUES (1)")
    sleep = "pg_sleep(5) IS NOT NULL" if server == "postgres" else "sleep(5) = 0"
    source = SqlPolling(database.url, database.table, by=FullComparison(), where=sleep)
    assert seconds_to_stop(source) < 1.5


def test_a_stop_waits_for_no_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        source = SqlPolling(f"postgresql://me@127.0.0.1:{port}/x", "t", by=FullComparison())
        assert seconds_to_stop(source) < 1.5


def seconds_to_stop(source: SqlPolling) -> float:
    stop, ended = threading.Event(), threading.Event()

    def run() -> None:
        assert list(source.read(None, stop)) == []
        source.close()
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert not ended.wait(0.5)
    stop.set()
    began = time.monotonic()
    thread.join()
    assert ended.is_set()
    return time.monotonic() - began


def test_a_restart_of_the_server_is_a_source_error(postgres: Polled) -> None:
    """A connection that is cut between two looks costs nothing; in a look the source says so."""
    postgres.run("CREATE TABLE {t} (id int PRIMARY KEY)")
    postgres.run("INSERT INTO {t} VALUES (1)")
    source = SqlPolling(
        postgres.url, postgres.table, by=Increasing("id", lag="0s"), interval="200ms"
    )

    def cut_then_grown(batches: list[object]) -> bool:
        if len(batches) == 1:
            postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'trunkline' AND pid <> pg_backend_pid() "
                f"AND query LIKE '%{postgres.table}%'"
            )
            postgres.run("INSERT INTO {t} VALUES (2)")
        return len(batches) == 2

    assert [key for _, key in changes(looks(source, until=cut_then_grown))] == ["1", "2"]  # type: ignore[arg-type]
