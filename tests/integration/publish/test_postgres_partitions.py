"""Partitions that come and go: PostgreSQL tells nothing of it, and PostgresCDC does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pg_kit import Database, let_go, new_database, read, start, until
from reading_kit import Reading
from trunkline.connectors.base import Batch, Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.event import Record

TABLES = """
CREATE TABLE orders (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES IN (1);
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES IN (2);
CREATE TABLE loaded (id int, day int, PRIMARY KEY (id, day));
INSERT INTO orders VALUES (1, 1), (2, 2);
INSERT INTO loaded VALUES (3, 3), (4, 3);
"""


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("partitions")) as made:
        made.run(TABLES)
        yield made
        let_go(made)


@pytest.fixture(autouse=True)
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SOON", "_LATER", "_ASK", "_ASK_IDLE"):
        monkeypatch.setattr(f"trunkline.connectors.postgres.changes.{name}", 0.05)


def source_of(database: Database, **more: Any) -> PostgresCDC:
    return PostgresCDC(database.dsn, ["orders"], slot=database.name.replace("-", "_"), **more)


def begun(database: Database) -> Position:
    """Where the changes begin, with the partitions known as they are."""
    position = start(source_of(database))
    database.run("INSERT INTO orders VALUES (9, 1)")
    return read(source_of(database), position, until=lambda records, _: bool(records))[1]


def test_a_partition_that_comes_while_the_first_snapshot_is_read_is_read_too(
    database: Database,
) -> None:
    came: list[bool] = []

    def attach(records: list[Record], batch: Batch) -> bool:
        if records and not came:  # the table is read already, without it
            database.run("ALTER TABLE orders ATTACH PARTITION loaded FOR VALUES IN (3)")
            came.append(True)
        return {1, 2, 3, 4} <= {record.data["id"] for record in records}

    read(source_of(database, batch=1), None, until=attach)


def letters(records: list[Record]) -> list[str]:
    return [str(one.unreadable.error) for one in records if one.unreadable is not None]


LOSSES = {
    "DROP TABLE orders_2": "partition public.orders_2 was detached from public.orders, or dropped",
    "ALTER TABLE orders DETACH PARTITION orders_2": "partition public.orders_2 was detached",
    "TRUNCATE orders_2": "partition public.orders_2 of public.orders was truncated: the table",
    "TRUNCATE orders_2; INSERT INTO orders VALUES (5, 2)": "was truncated, or only rewritten",
}


@pytest.mark.parametrize("statements", LOSSES)
def test_rows_that_go_with_their_partition_are_a_dead_letter(
    database: Database, statements: str
) -> None:
    """Found at the start what happened before, and while it runs what happens then; once."""
    position = begun(database)
    database.run(statements)
    (first, again) = (
        read(
            source_of(database),
            position,
            until=lambda records, _: bool(letters(records)),
            acknowledge=False,
        )
        for _ in range(2)
    )
    (told,) = letters(first[0])
    assert LOSSES[statements] in told
    # A row that was inserted meanwhile may come before the letter or behind it.
    ids = [{one.id for one in records if one.unreadable} for records in (first[0], again[0])]
    assert ids[0] == ids[1], "the same at each look"

    reading = Reading(source_of(database), first[1])
    database.run("INSERT INTO orders VALUES (6, 1)")
    until(lambda: any(one.data.get("id") == 6 for one in reading.records), "a later change")
    reading.stopped_after()
    assert letters(reading.records) == [], "it is told once"


def test_a_truncate_of_the_whole_table_tells_all_of_its_partitions(database: Database) -> None:
    """While it runs, and of one that came while it was down; a single one beside it is told."""
    position = begun(database)
    reading = Reading(source_of(database), position)
    database.run("TRUNCATE orders; INSERT INTO orders VALUES (5, 1)")
    until(lambda: len(reading.records) == 2, "the truncate, and a row after it")
    until(lambda: (reading.position or {})["parts"] != position["parts"], "a look")
    reading.stopped_after()
    assert [record.change for record in reading.records] == ["truncate", "create"]

    let_go(database)
    database.run("TRUNCATE orders")
    database.run("TRUNCATE orders_2")
    database.run("INSERT INTO orders VALUES (6, 1)")
    records, position = read(
        source_of(database),
        reading.position,
        until=lambda rs, at: bool(letters(rs)) and any(r.data.get("id") == 6 for r in rs),
    )
    (told,) = letters(records)
    assert "public.orders_2 of public.orders was truncated" in told
    assert [r.change for r in records if r.unreadable is None] == ["truncate", "create"]
    let_go(database)
    database.run("INSERT INTO orders VALUES (7, 1)")
    more, _ = read(
        source_of(database), position, until=lambda rs, _: any(r.data.get("id") == 7 for r in rs)
    )
    assert letters(more) == []


def test_while_it_runs_all_is_told_and_rows_that_come_are_read(database: Database) -> None:
    reading = Reading(source_of(database), begun(database))
    database.run("TRUNCATE orders_1")
    until(lambda: bool(letters(reading.records)), "the truncated partition")
    database.run("ALTER TABLE orders ATTACH PARTITION loaded FOR VALUES IN (3)")
    database.run("CREATE TABLE orders_4 PARTITION OF orders FOR VALUES IN (4)")
    until(lambda: any(r.data.get("id") == 4 for r in reading.records), "the rows of the new one")
    database.run("INSERT INTO orders VALUES (7, 4)")
    database.run("DELETE FROM orders WHERE id = 3")
    until(lambda: reading.records[-1].change == "delete", "the changes after it")
    reading.stopped_after()
    assert len(letters(reading.records)) == 1
    rows = [(r.change, r.data["id"]) for r in reading.records if r.unreadable is None]
    assert sorted(rows[:2]) == [("snapshot", 3), ("snapshot", 4)]
    assert rows[2:] == [("create", 7), ("delete", 3)]
    assert {record.stream for record in reading.records} == {"public.orders"}


AGAIN = """
ALTER TABLE orders DETACH PARTITION orders_2;
INSERT INTO orders_2 VALUES (5, 2); DELETE FROM orders_2 WHERE id = 2;
ALTER TABLE orders ATTACH PARTITION orders_2 FOR VALUES IN (2);
"""
DEEPER = """
CREATE TABLE orders_5 PARTITION OF orders FOR VALUES IN (5) PARTITION BY RANGE (id);
CREATE TABLE orders_5_a PARTITION OF orders_5 FOR VALUES FROM (0) TO (100);
INSERT INTO orders VALUES (50, 5);
"""
DEEPER_AGAIN = """
ALTER TABLE orders DETACH PARTITION orders_5;
INSERT INTO orders_5 VALUES (51, 5); DELETE FROM orders_5 WHERE id = 50;
ALTER TABLE orders ATTACH PARTITION orders_5 FOR VALUES IN (5);
"""


@pytest.mark.parametrize(
    ("first", "again", "leaf", "row"),
    [("", AGAIN, "orders_2", 5), (DEEPER, DEEPER_AGAIN, "orders_5_a", 51)],
    ids=["partition", "partition-of-a-partition"],
)
def test_a_partition_that_was_away_between_two_looks_is_told_and_read_again(
    database: Database, first: str, again: str, leaf: str, row: int
) -> None:
    """It has its OID and its file still; what was done to it meanwhile is in no change."""
    if first:
        database.run(first)
    position = begun(database)
    database.run(again)
    records, position = read(
        source_of(database),
        position,
        until=lambda rs, _: bool(letters(rs)) and any(r.data.get("id") == row for r in rs),
    )
    (told,) = letters(records)
    assert f"partition public.{leaf} was detached from public.orders and attached again" in told
    rows = [(r.change, r.data["id"]) for r in records if r.unreadable is None]
    assert rows == [("snapshot", row)]

    let_go(database)
    database.run("INSERT INTO orders VALUES (7, 1)")
    more, _ = read(
        source_of(database), position, until=lambda rs, _: any(r.data.get("id") == 7 for r in rs)
    )
    assert letters(more) == [], "it is told once"


def test_a_position_of_an_earlier_version_tells_nothing_of_partitions_that_are_there(
    database: Database,
) -> None:
    position = begun(database)
    parts = {oid: leaf[:2] for oid, leaf in position["parts"]["public.orders"].items()}
    database.run("INSERT INTO orders VALUES (7, 1)")
    records, after = read(
        source_of(database),
        position | {"parts": {"public.orders": parts}},
        until=lambda rs, _: any(r.data.get("id") == 7 for r in rs),
    )
    assert letters(records) == []
    assert all(attached for _, _, attached in after["parts"]["public.orders"].values())


def test_without_snapshots_an_attached_partition_is_a_dead_letter_with_what_to_run(
    database: Database,
) -> None:
    position = begun(database)
    database.run("ALTER TABLE orders ATTACH PARTITION loaded FOR VALUES IN (3)")
    records, _ = read(
        source_of(database, snapshot="never"),
        position,
        until=lambda records, _: bool(letters(records)),
    )
    ((oid,),) = database.run("SELECT 'loaded'::regclass::oid::int8")
    (told,) = letters(records)
    assert f"--table public.orders --where 'tableoid = {oid}'" in told


def test_who_drops_partitions_by_plan_has_it_in_the_log_alone(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    reading = Reading(source_of(database, lost_partitions="log"), begun(database))
    database.run("DROP TABLE orders_2")
    until(lambda: "public.orders_2 was detached" in caplog.text, "a line in the log")
    reading.stopped_after()
    assert reading.records == []
