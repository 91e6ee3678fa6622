"""Snapshots on demand while a real server's changes go on: nothing missing, and nothing old."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from pg_kit import (
    Database,
    connected,
    count,
    let_go,
    new_database,
    read,
    start,
    until,
)
from reading_kit import Reading, folded, snapshot_keys
from trunkline.connectors.base import Position, SnapshotRequest
from trunkline.connectors.postgres import PostgresCDC, chunks
from trunkline.event import Record


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("inc")) as made:
        made.run("CREATE TABLE orders (id int, tenant text, n int, PRIMARY KEY (tenant, id))")
        yield made


def source_of(database: Database, *tables: str, **more: Any) -> PostgresCDC:
    slot = database.name.replace("-", "_")
    given: dict[str, Any] = {"slot": slot, "batch": 7} | more
    return PostgresCDC(database.dsn, tables or ["orders"], **given)


def begun(database: Database) -> Position:
    """The position of a source that has seen no row of those that are there."""
    position = start(source_of(database))
    database.run("INSERT INTO orders SELECT n, 't' || n % 3, 0 FROM generate_series(1, 60) n")
    _, position = read(source_of(database), position, until=count(60))
    let_go(database)
    return position


def is_done(id: str = "a") -> Callable[[list[Record], Position], bool]:
    def done(records: list[Record], position: Position) -> bool:
        return bool(position.get("snapshots", {}).get(id, {}).get("done"))

    return done


def asked(source: PostgresCDC, **more: Any) -> PostgresCDC:
    source.snapshots([SnapshotRequest(**{"id": "a", "stream": "orders"} | more)])
    return source


def table_of(database: Database) -> dict[str, Any]:
    rows = database.run("SELECT id, tenant, n FROM orders")
    return {f'["{id}","{tenant}"]': {"id": id, "tenant": tenant, "n": n} for id, tenant, n in rows}


def test_all_rows_come_in_chunks_once_and_in_the_order_of_their_key(database: Database) -> None:
    position = begun(database)
    records, position = read(asked(source_of(database)), position, until=is_done())
    keys = snapshot_keys(records)
    rows = database.run('SELECT id, tenant FROM orders ORDER BY tenant COLLATE "C", id')
    assert keys == [f'["{id}","{tenant}"]' for id, tenant in rows]
    assert position["snapshots"]["a"]["rows"] == 60
    assert folded(records) == table_of(database)
    let_go(database)
    source = source_of(database)
    source.snapshots([])
    database.run("INSERT INTO orders VALUES (999, 'x', 0)")
    _, position = read(source, position, until=count(1))
    assert "snapshots" not in position, "what is not asked for any more is forgotten"


def test_only_rows_of_a_condition(database: Database) -> None:
    position = begun(database)
    source = asked(source_of(database), where="tenant = 't1' AND id % 2 = 0 -- even ones")
    records, _ = read(source, position, until=is_done())
    assert len(snapshot_keys(records)) == 10


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"stream": "nowhere"}, "table public.nowhere is not one of the source's: public.orders"),
        ({"where": "no such thing"}, "syntax error"),
    ],
)
def test_one_that_cannot_be_says_why_and_changes_go_on(
    database: Database, request_: dict[str, str], told: str
) -> None:
    position = begun(database)
    source = asked(source_of(database), **request_)
    _, position = read(source, position, until=is_done(), closes=False)
    assert told in position["snapshots"]["a"]["error"]
    source.close()
    let_go(database)
    database.run("UPDATE orders SET n = 1 WHERE id = 1")
    read(source_of(database), position, until=count(1))


def test_it_is_paused_goes_on_and_is_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit, emitted = chunks._emit, list[str]()

    def second_pauses(connection: Any, mark: str) -> None:
        emitted.append(mark)
        if len(emitted) == 2:
            asked(source, state="paused")
        emit(connection, mark)

    monkeypatch.setattr(chunks, "_emit", second_pauses)
    position = begun(database)
    source = asked(source_of(database, batch=5))
    reading = Reading(source, position)
    until(lambda: len(snapshot_keys(reading.records)) == 10, "two chunks have come")
    database.run("UPDATE orders SET n = n + 1")
    updates = [record for record in reading.records if record.change == "update"]
    until(lambda: len(reading.records) == 70, f"changes come: {len(updates)}")
    assert len(snapshot_keys(reading.records)) == 10
    asked(source)
    until(lambda: is_done()(reading.records, reading.position or {}), "it has gone on")
    assert folded(reading.records) == table_of(database)
    source.snapshots([SnapshotRequest("a", "orders", state="stopped")])
    until(lambda: "snapshots" not in (reading.position or {}), "it is given up")
    reading.stopped_after()


def test_a_chunk_never_brings_back_what_was_changed_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of each chunk and its mark, all its rows are changed or deleted."""
    emit = chunks._emit

    def late(connection: Any, mark: str) -> None:
        database.run("UPDATE orders SET n = n + 1; DELETE FROM orders WHERE id % 5 = 0")
        emit(connection, mark)

    monkeypatch.setattr(chunks, "_emit", late)
    position = begun(database)
    records, position = read(asked(source_of(database)), position, until=is_done())
    assert snapshot_keys(records) == []
    let_go(database)
    database.run("INSERT INTO orders VALUES (0, 'end', 0)")
    last = '["0","end"]'
    more, _ = read(source_of(database), position, until=lambda rs, _: last in [r.key for r in rs])
    assert folded(records + more) == table_of(database)


def test_a_truncate_meanwhile_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit, first = chunks._emit, [True]

    def late(connection: Any, mark: str) -> None:
        if first.pop() if first else False:
            database.run("TRUNCATE orders; INSERT INTO orders VALUES (1, 'new', 5)")
        emit(connection, mark)

    monkeypatch.setattr(chunks, "_emit", late)
    position = begun(database)
    records, _ = read(asked(source_of(database)), position, until=is_done())
    assert folded(records) == table_of(database)


def test_topic_folded_by_key_is_the_table_through_writers_and_kills(database: Database) -> None:
    position = begun(database)
    stop, rng = threading.Event(), random.Random(7)

    def write() -> None:
        with closing(connected(database.dsn)) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                for _ in range(rng.randrange(1, 4)):
                    id = rng.randrange(1, 70)
                    cursor.execute(
                        rng.choice(
                            (
                                "UPDATE orders SET n = n + 1 WHERE id = %(id)s",
                                "DELETE FROM orders WHERE id = %(id)s",
                                "INSERT INTO orders VALUES (%(id)s, 't9', 1) "
                                "ON CONFLICT DO NOTHING",
                                "UPDATE orders SET tenant = 'm' || tenant WHERE id = %(id)s "
                                "AND length(tenant) < 6 AND NOT EXISTS (SELECT FROM orders o WHERE "
                                "o.id = orders.id AND o.tenant = 'm' || orders.tenant)",
                            )
                        ),
                        {"id": id},
                    )
                connection.commit() if rng.random() < 0.9 else connection.rollback()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[Record] = []
    try:
        for _ in range(3):  # each is ended in the middle, as by kill -9: nothing is acknowledged
            records, position = read(
                asked(source_of(database)),
                position,
                until=lambda rs, at: bool(snapshot_keys(rs)) or is_done()(rs, at),
                acknowledge=False,
            )
            seen += records
            let_go(database)
        records, position = read(asked(source_of(database)), position, until=is_done())
        seen += records
    finally:
        stop.set()
        writer.join()
    let_go(database)
    database.run("INSERT INTO orders VALUES (0, 'end', 0)")
    last = '["0","end"]'
    more, _ = read(source_of(database), position, until=lambda rs, _: last in [r.key for r in rs])
    assert folded(seen + more) == table_of(database)
    keys = snapshot_keys(seen)
    assert len(keys) == len(set(keys)), "no row is read twice, but of chunks that were not stored"


def test_a_table_that_is_new_in_tables_is_published_and_read(database: Database) -> None:
    position = begun(database)
    database.run("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1), (2)")
    source = source_of(database, "orders", "items")
    source.snapshots([])
    reading = Reading(source, position)
    until(lambda: len(snapshot_keys(reading.records)) == 2, "its rows come")
    database.run("INSERT INTO items VALUES (3); UPDATE orders SET n = 7 WHERE id = 1")
    until(lambda: len(reading.records) == 4, "and changes of both")
    until(lambda: "snapshots" not in (reading.position or {}), "it is done, and forgotten")
    reading.stopped_after()
    assert [(r.stream, r.change) for r in reading.records] == [
        ("public.items", "snapshot"),
        ("public.items", "snapshot"),
        ("public.items", "create"),
        ("public.orders", "update"),
    ]
    let_go(database)
    database.run("INSERT INTO items VALUES (4)")
    records, _ = read(source_of(database, "orders", "items"), reading.position, until=count(1))
    assert [record.change for record in records] == ["create"], "once"


def test_it_waits_for_transactions_that_were_open_when_it_began(database: Database) -> None:
    position = begun(database)
    source = asked(source_of(database))
    with closing(connected(database.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE orders SET n = 100 WHERE id = 1")
        reading = Reading(source, position)
        until(lambda: bool((reading.position or {}).get("snapshots")), "it is begun")
        database.run("UPDATE orders SET n = 1 WHERE id = 2")
        until(lambda: bool(reading.records), "changes go on")
        assert snapshot_keys(reading.records) == []
        connection.commit()
    until(lambda: is_done()(reading.records, reading.position or {}), "it is read")
    reading.stopped_after()
    assert folded(reading.records) == table_of(database)
