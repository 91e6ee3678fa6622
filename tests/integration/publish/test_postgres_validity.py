"""PostgresCDC on a real server: a position that is not valid any more stops the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pg_kit import Database, count, let_go, new_database, read, start, until
from reading_kit import Reading
from trunkline.connectors.base import Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import ConfigurationError, SourceError


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("cdc")) as made:
        made.run("CREATE TABLE orders (id int PRIMARY KEY, status text)")
        yield made


@pytest.fixture
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a minute were over in no time."""
    monkeypatch.setattr("trunkline.connectors.postgres.changes._ASK", 0.1)


def source_of(database: Database, *tables: str, **more: Any) -> PostgresCDC:
    slot = database.name.replace("-", "_")
    return PostgresCDC(database.dsn, tables or ["orders"], **{"slot": slot} | more)


def keys_from(database: Database, position: Position, number: int, *tables: str) -> list[str]:
    records, _ = read(source_of(database, *tables), position, until=count(number))
    return [record.key for record in records]


def refusal(source: PostgresCDC, position: Position) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(source, position, until=count(1))
    return str(caught.value)


def streams(database: Database, position: Position) -> Reading:
    """A source that runs, and has published a first change."""
    reading = Reading(source_of(database), position)
    database.run("INSERT INTO orders VALUES (1)")
    until(lambda: bool(reading.records), "the first change")
    return reading


def stops(reading: Reading) -> str:
    error = reading.ended()
    assert isinstance(error, ConfigurationError)
    return str(error)


# The slot.


def test_a_slot_that_was_dropped_and_made_again(database: Database) -> None:
    source = source_of(database)
    position = start(source)
    database.run("INSERT INTO orders VALUES (1)")
    database.run("SELECT pg_drop_replication_slot(%s)", source.slot)
    database.run("INSERT INTO orders VALUES (2)")
    database.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", source.slot)
    database.run("INSERT INTO orders VALUES (3)")
    assert "was dropped and made again" in refusal(source_of(database), position)


def test_going_on_with_a_slot_that_was_made_again(database: Database) -> None:
    """As the message says: without what is missing."""
    source = source_of(database)
    position = start(source)
    database.run("SELECT pg_drop_replication_slot(%s)", source.slot)
    database.run("INSERT INTO orders VALUES (1)")
    database.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", source.slot)
    database.run("INSERT INTO orders VALUES (2)")
    assert 'set snapshot="never" before' in refusal(source_of(database), position)
    records, _ = read(source_of(database, snapshot="never"), until=count(1))
    assert [record.key for record in records] == ["2"]


def test_a_slot_that_something_else_has_read_from(database: Database) -> None:
    source = source_of(database)
    position = start(source)
    database.run("INSERT INTO orders VALUES (1)")
    database.run("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", source.slot)
    assert "something else has read from it" in refusal(source_of(database), position)


def test_another_system(database: Database) -> None:
    position = start(source_of(database))
    position["of"]["system"] = "7000000000000000000"
    assert "of the PostgreSQL system 7000000000000000000" in refusal(source_of(database), position)


def test_a_position_of_an_earlier_version_is_taken_and_completed(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    position = start(source_of(database))
    former = {name: position[name] for name in ("phase", "slot", "lsn")}
    database.run("INSERT INTO orders VALUES (1)")
    _, now = read(source_of(database), former, until=count(1))
    assert now["of"] == position["of"]
    assert "is of an earlier version" in caplog.text


# The publication.


def again(source: PostgresCDC, *between: str) -> list[str]:
    made = f"CREATE PUBLICATION {source.publication} FOR TABLE orders"
    return [f"DROP PUBLICATION {source.publication}", *between, made]


def taken_out(source: PostgresCDC, *between: str) -> list[str]:
    altered = f"ALTER PUBLICATION {source.publication}"
    return [f"{altered} DROP TABLE orders", *between, f"{altered} ADD TABLE orders"]


def narrowed(source: PostgresCDC, *between: str) -> list[str]:
    altered = f"ALTER PUBLICATION {source.publication} SET"
    whole = "publish = 'insert, update, delete, truncate'"
    return [f"{altered} (publish = 'update')", *between, f"{altered} ({whole})"]


def dropped(source: PostgresCDC, *between: str) -> list[str]:
    del source
    return ["DROP TABLE orders", "CREATE TABLE orders (id int PRIMARY KEY)", *between]


CHANGES = [
    (again, "was dropped and made again since the stored position"),
    (taken_out, "was taken out of publication"),
    (narrowed, "was altered (ALTER PUBLICATION) since the stored position"),
    (dropped, "table public.orders was dropped since the stored position"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_what_was_not_recorded_while_nobody_read(
    database: Database, change: Callable[..., list[str]], message: str
) -> None:
    source = source_of(database)
    position = start(source)
    for statement in change(source, "INSERT INTO orders VALUES (2)"):
        database.run(statement)
    database.run("INSERT INTO orders VALUES (3)")
    assert message in refusal(source_of(database), position)


@pytest.mark.parametrize(("change", "message"), CHANGES)
@pytest.mark.usefixtures("asked_often")
def test_what_is_not_recorded_any_more_while_it_runs(
    database: Database, change: Callable[..., list[str]], message: str
) -> None:
    source = source_of(database)
    reading = streams(database, start(source))
    for statement in change(source, "INSERT INTO orders VALUES (2)"):
        database.run(statement)
    told = stops(reading)
    assert message in told or "orders" in told
    assert message in refusal(source_of(database), reading.position or {})


@pytest.mark.usefixtures("asked_often")
def test_a_publication_that_is_gone_while_it_runs(database: Database) -> None:
    source = source_of(database)
    reading = streams(database, start(source))
    database.run(f"DROP PUBLICATION {source.publication}")
    assert "was dropped or renamed" in stops(reading)


@pytest.mark.parametrize("kept", ["insert", "insert, update", "insert, update, delete"])
def test_a_publication_of_some_operations(database: Database, kept: str) -> None:
    database.run(f"CREATE PUBLICATION mine FOR TABLE orders WITH (publish = '{kept}')")
    source = source_of(database, publication="mine")
    with pytest.raises(ConfigurationError, match="does not publish all of") as caught:
        read(source, until=count(1))
    assert database.slots() == []
    database.run(str(caught.value).partition("Run ")[2])
    start(source_of(database, publication="mine"))


def test_a_server_that_cannot_be_asked_now_is_asked_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []

    def refused(capture: object) -> None:
        del capture
        asked.append(None)
        raise SourceError("too many connections")

    monkeypatch.setattr("trunkline.connectors.postgres.changes._ASK", 0.05)
    reading = streams(database, start(source_of(database)))
    monkeypatch.setattr("trunkline.connectors.postgres.capture.Capture.ask", refused)
    until(lambda: len(asked) > 2, "several questions")
    database.run("INSERT INTO orders VALUES (2)")
    until(lambda: len(reading.records) == 2, "the next change")
    reading.stopped_after()


# Names.


@pytest.mark.parametrize(
    ("rename", "name"),
    [
        ("ALTER TABLE orders RENAME TO sales", "sales"),
        ("CREATE SCHEMA shop; ALTER TABLE orders SET SCHEMA shop", "shop.orders"),
    ],
)
def test_a_rename_loses_nothing(database: Database, rename: str, name: str) -> None:
    position = start(source_of(database))
    database.run("INSERT INTO orders VALUES (1); UPDATE orders SET status = 'paid'")
    database.run(f"{rename}; INSERT INTO {name} VALUES (2)")
    stream = name if "." in name else f"public.{name}"
    assert f"table public.orders was renamed to {stream}" in refusal(source_of(database), position)
    records, _ = read(source_of(database, name), position, until=count(3))
    assert [(r.stream, r.key, r.change) for r in records] == [
        (stream, "1", "create"),
        (stream, "1", "update"),
        (stream, "2", "create"),
    ]


def test_a_rename_while_it_runs_loses_nothing(database: Database) -> None:
    position = start(source_of(database))
    reading = Reading(source_of(database, batch=700), position)
    database.run("INSERT INTO orders SELECT generate_series(1, 3000)")
    database.run("ALTER TABLE orders RENAME TO sales; INSERT INTO sales VALUES (3001)")
    assert "was renamed to public.sales" in stops(reading)
    let_go(database)
    left = 3001 - len(reading.records)
    assert left < 3001
    rest = keys_from(database, reading.position or {}, left, "sales")
    assert [r.key for r in reading.records] + rest == [str(n) for n in range(1, 3002)]


def test_a_table_that_took_the_name_of_another(database: Database) -> None:
    """Loaded beside the old one, and renamed into its place."""
    source = source_of(database)
    position = start(source)
    database.run("CREATE TABLE fresh (LIKE orders INCLUDING ALL); INSERT INTO fresh VALUES (9)")
    database.run("ALTER TABLE orders RENAME TO old; ALTER TABLE fresh RENAME TO orders")
    assert "public.orders was renamed to public.old" in refusal(source_of(database), position)
    database.run(f"DROP TABLE old; ALTER PUBLICATION {source.slot} ADD TABLE orders")
    assert "public.orders was dropped since" in refusal(source_of(database), position)


def test_more_tables_and_fewer_are_no_difference(database: Database) -> None:
    database.run("CREATE TABLE lines (id int PRIMARY KEY)")
    source = source_of(database)
    position = start(source)
    database.run(f"ALTER PUBLICATION {source.slot} ADD TABLE lines")
    database.run("INSERT INTO lines VALUES (1); INSERT INTO orders VALUES (2)")
    more = source_of(database, "orders", "lines", snapshot="never")
    records, position = read(more, position, until=count(2))
    assert [record.stream for record in records] == ["public.lines", "public.orders"]
    database.run("INSERT INTO lines VALUES (3)")
    assert keys_from(database, position, 1, "lines") == ["3"]
