"""PostgresCDC on a real server: snapshot, changes, and where it goes on after an interruption."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from pg_kit import (
    Database,
    count,
    key,
    new_database,
    read,
    retried,
    start,
    streaming,
    until,
)
from reading_kit import Reading
from trunkline.connectors.base import Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.postgres.decoder import lsn_number
from trunkline.errors import SourceError
from trunkline.event import Record


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("cdc")) as made:
        made.run("CREATE TABLE orders (id int PRIMARY KEY, status text, cents int)")
        yield made


def source_of(database: Database, *tables: str, **more: Any) -> PostgresCDC:
    slot = database.name.replace("-", "_")
    return PostgresCDC(database.dsn, tables or ["orders"], slot=slot, **more)


def told(records: list[Record]) -> list[tuple[str, str, Any]]:
    return [(record.change, record.key, record.data.get("status")) for record in records]


def test_every_row_then_every_change(database: Database) -> None:
    database.run("INSERT INTO orders VALUES (1, 'new', 10), (2, 'new', 20)")
    source = source_of(database)
    records, position = read(source, until=streaming)
    assert sorted(told(records)) == [("snapshot", "1", "new"), ("snapshot", "2", "new")]
    assert {record.stream for record in records} == {"public.orders"}
    database.run("INSERT INTO orders VALUES (3, 'new', 30)")
    database.run("UPDATE orders SET status = 'paid' WHERE id = 1; DELETE FROM orders WHERE id = 2")
    database.run("UPDATE orders SET id = 4 WHERE id = 3")
    database.run("TRUNCATE orders")
    changes, _ = read(source_of(database), position, until=count(6))
    assert told(changes) == [
        ("create", "3", "new"),
        ("update", "1", "paid"),
        ("delete", "2", None),
        ("delete", "3", None),
        ("create", "4", "new"),
        ("truncate", "", None),
    ]
    assert changes[0].data == {"id": 3, "status": "new", "cents": 30}
    assert len({record.id for record in records + changes}) == 8


class Writer(threading.Thread):
    """A client that inserts, updates and deletes at random, among keys of its own."""

    def __init__(self, database: Database, seed: int, done: threading.Event) -> None:
        super().__init__()
        self.keys = range(seed * 1000, seed * 1000 + 300)
        self.commits = 0
        self._database, self._dice, self._done = database, random.Random(seed), done
        database.run("INSERT INTO orders SELECT unnest(%s), 'old', 0", list(self.keys)[::2])

    def run(self) -> None:
        with closing(psycopg2.connect(self._database.dsn)) as connection:
            while not self._done.is_set():
                with connection.cursor() as cursor:
                    for _ in range(self._dice.randrange(1, 5)):
                        self._write(cursor)
                connection.commit()
                self.commits += 1

    def _write(self, cursor: Any) -> None:
        key = self._dice.choice(self.keys)
        if self._dice.random() < 0.3:
            cursor.execute("DELETE FROM orders WHERE id = %s", (key,))
        else:
            cursor.execute(
                "INSERT INTO orders VALUES (%s, 'new', %s) ON CONFLICT (id) DO UPDATE "
                "SET cents = EXCLUDED.cents",
                (key, self._dice.randrange(1_000_000)),
            )


def folded(records: list[Record]) -> dict[str, Any]:
    """The rows that the records amount to. Fails where a change is missing or comes twice."""
    rows: dict[str, Any] = {}
    for record in records:
        assert (record.key in rows) == (record.change in ("update", "delete")), record
        if record.change == "delete":
            del rows[record.key]
        else:
            rows[record.key] = record.data["cents"]
    return rows


def test_writers_during_the_snapshot_leave_no_gap_and_no_duplicate(database: Database) -> None:
    database.run("INSERT INTO orders SELECT -i, 'old', 0 FROM generate_series(1, 5000) i")
    done = threading.Event()
    writers = [Writer(database, seed, done) for seed in (1, 2, 3)]

    def enough(records: list[Record], position: Position) -> bool:
        """Every writer writes between any two batches of the snapshot, and after it."""
        if not done.is_set():
            goals = [writer.commits + 5 for writer in writers]
            until(lambda: all(w.commits > g for w, g in zip(writers, goals, strict=True)), "writes")
        if position["phase"] == "stream" and not done.is_set():
            done.set()
            for writer in writers:
                writer.join()
            database.run("INSERT INTO orders VALUES (0, 'last', 0)")
        return bool(records) and records[-1].key == "0"

    for writer in writers:
        writer.start()
    try:
        records, _ = read(source_of(database, batch=500), until=enough)
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert {record.change for record in records} == {"snapshot", "create", "update", "delete"}
    assert folded(records) == dict(database.run("SELECT id::text, cents FROM orders"))
    assert len({record.id for record in records}) == len(records)


def test_a_restart_in_the_middle_of_a_transaction(database: Database) -> None:
    position = start(source_of(database))
    database.run("INSERT INTO orders SELECT i, 'new', 0 FROM generate_series(1, 5000) i")
    database.run("UPDATE orders SET id = id + 10000 WHERE id <= 1000")
    whole, _ = read(source_of(database), position, until=count(7000), acknowledge=False)
    parts: list[Record] = []
    while len(parts) < 7000:
        records, position = read(source_of(database, batch=700), position, until=count(1))
        parts += records
    assert [record.id for record in parts] == [record.id for record in whole]
    assert [record.data for record in parts] == [record.data for record in whole]


def test_restarts_while_transactions_overlap(database: Database) -> None:
    """The changes of the transaction that commits last began before the others': acknowledging
    those must not make the server forget it."""
    position = start(source_of(database))
    late = [psycopg2.connect(database.dsn) for _ in range(3)]
    for number, connection in enumerate(late):
        insert(connection, number * 1000, 150)
        database.run("INSERT INTO orders VALUES (%s)", number * 1000 + 500)
    for number, connection in reversed(list(enumerate(late))):
        insert(connection, number * 1000 + 150, 150)
        connection.commit()
        connection.close()
    records: list[Record] = []
    while len(records) < 903:
        more, position = read(source_of(database, batch=40), position, until=count(1))
        records += more
    in_commit_order = [500, 1500, 2500]
    for first in (2000, 1000, 0):
        in_commit_order += range(first, first + 300)
    assert [int(record.key) for record in records] == in_commit_order


def insert(connection: Connection, first: int, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders SELECT i FROM generate_series(%s, %s) i",
            (first, first + number - 1),
        )


def test_an_acknowledged_transaction_moves_the_slot_and_half_a_one_does_not(
    database: Database,
) -> None:
    source = source_of(database, batch=100)
    before = lsn_number(start(source)["lsn"])
    database.run("INSERT INTO orders SELECT i, 'new', 0 FROM generate_series(1, 300) i")
    position = {"phase": "stream", "slot": source.slot, "lsn": f"0/{before:X}"}
    _, position = read(source, position, until=count(50), closes=False)
    assert position["index"] < 300
    assert database.confirmed(source.slot) <= lsn_number(position["commit"])
    source.close()
    _, position = read(source, position, until=lambda _, p: "commit" not in p, closes=False)
    assert lsn_number(position["lsn"]) > before
    moved = lsn_number(position["lsn"])
    until(lambda: database.confirmed(source.slot) >= moved, "the slot to move")
    source.close()


def test_an_idle_slot_lets_go_of_others_wal_once_its_position_is_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a source without changes would fill the server's disk; and if the server had confirmed
    more than is stored, nobody could tell the slot from one that was made again."""
    monkeypatch.setattr("trunkline.connectors.postgres.changes._LATER", 0.1)
    source = source_of(database)
    reading = Reading(source, start(source_of(database)))
    database.run("CREATE TABLE other AS SELECT generate_series(1, 10000) AS i")
    ((written,),) = database.run("SELECT (pg_current_wal_lsn() - '0/0')::int8")
    until(lambda: database.confirmed(source.slot) >= written, "the slot to move on")
    confirmed = database.confirmed(source.slot)
    assert reading.position is not None
    assert lsn_number(reading.position["lsn"]) >= confirmed
    reading.stopped_after()


def test_without_acknowledgement_all_comes_again_with_the_same_ids(database: Database) -> None:
    position = start(source_of(database))
    database.run("INSERT INTO orders VALUES (1, 'new', 1); UPDATE orders SET id = 2")
    first, _ = read(source_of(database), position, until=count(3), acknowledge=False)
    again, _ = read(source_of(database), position, until=count(3), acknowledge=False)
    assert first == again


def test_an_idle_source_gives_occasion_to_acknowledge(database: Database) -> None:
    """The engine acknowledges between two batches, so there must be one after the last records."""
    source = source_of(database)
    position = start(source)
    database.run("INSERT INTO orders VALUES (1, 'new', 1)")
    sizes = []
    for batch in source.read(position, threading.Event()):
        sizes.append(len(batch.records))
        if len(sizes) == 2:
            break
    source.close()
    assert sizes == [1, 0]


def test_a_lost_connection_is_a_source_error_and_nothing_is_lost(database: Database) -> None:
    position = start(source_of(database))
    database.run("INSERT INTO orders VALUES (1, 'new', 1)")
    source = source_of(database)

    def cut(records: list[Record], _: Position) -> bool:
        if records and database.senders():
            database.run(f"SELECT pg_terminate_backend({database.senders()[0]})")
        return False

    with pytest.raises(SourceError, match="reading changes"):
        read(source, position, until=cut, acknowledge=False)
    records = retried(lambda: read(source_of(database), position, until=count(1)))[0]
    assert told(records) == [("create", "1", "new")]


def test_a_killed_server_process_loses_nothing(database: Database) -> None:
    """kill -9 of one process makes the server restart itself, with recovery."""
    position = start(source_of(database))
    database.run("INSERT INTO orders SELECT i, 'new', 0 FROM generate_series(1, 2000) i")
    source, seen = source_of(database, batch=300), list[Record]()
    batches = source.read(position, threading.Event())
    while len(seen) < 600:
        batch = next(batches)
        seen, position = seen + batch.records, batch.position
    os.kill(database.senders()[0], signal.SIGKILL)
    with pytest.raises(SourceError):
        deque(batches, maxlen=0)
    source.close()
    left = 2000 - len(seen)
    rest, _ = retried(lambda: read(source_of(database), position, until=count(left)))
    assert [record.key for record in seen + rest] == [str(n) for n in range(1, 2001)]


def test_closing_during_the_snapshot_keeps_the_slot_that_its_position_needs(
    database: Database,
) -> None:
    database.run("INSERT INTO orders SELECT i, 'new', 0 FROM generate_series(1, 3000) i")
    source = source_of(database, batch=100)
    _, position = read(source, until=count(100))
    assert database.slots() == [source.slot]
    assert position["phase"] == "snapshot"
    assert database.confirmed(source.slot) == lsn_number(position["lsn"])


def test_closing_keeps_the_slot_and_drop_removes_everything(database: Database) -> None:
    source = source_of(database)
    start(source)
    assert database.slots() == [source.slot]
    source.drop()
    assert database.slots() == []
    assert database.run("SELECT pubname FROM pg_publication") == []
    source.drop()  # again: nothing to do


def test_never_a_snapshot(database: Database) -> None:
    database.run("INSERT INTO orders VALUES (1, 'old', 1)")
    source = source_of(database, snapshot="never")
    records, position = read(source, until=streaming)
    assert records == []
    database.run("INSERT INTO orders VALUES (2, 'new', 2)")
    records, _ = read(source, position, until=count(1))
    assert told(records) == [("create", "2", "new")]


def test_never_goes_on_from_a_slot_that_is_there(database: Database) -> None:
    source = source_of(database, snapshot="never")
    read(source, until=streaming)
    database.run("INSERT INTO orders VALUES (2, 'new', 2)")
    records, _ = read(source_of(database, snapshot="never"), until=key("2"))
    assert told(records) == [("create", "2", "new")]


def test_it_tells_when_it_stands_at_the_servers_end(database: Database) -> None:
    """Also where nothing changes: until then it counts as late."""
    database.run("INSERT INTO orders SELECT i, 'new', 0 FROM generate_series(1, 3) i")
    told = []
    for batch in source_of(database, batch=2).read(None, threading.Event()):
        told.append((batch.position["phase"], batch.current))
        if batch.current:
            break
    assert told[-1] == ("stream", True)
    assert {current for _, current in told[:-1]} == {False}
