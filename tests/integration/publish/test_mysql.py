"""MySqlCDC on a real MariaDB: snapshot, changes, and where it goes on after an interruption."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from cutting_proxy import CuttingProxy
from mysql_kit import Database, count, new_database, read, start, streaming
from trunkline.connectors.base import Position
from trunkline.connectors.mysql import MySqlCDC
from trunkline.connectors.mysql.changes import Changes
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record


@pytest.fixture
def database(mariadb_url: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(mariadb_url, topic("cdc")) as made:
        made.run("CREATE TABLE orders (id int PRIMARY KEY, status varchar(20), cents int)")
        yield made


def source_of(database: Database, *tables: str, **more: Any) -> MySqlCDC:
    return MySqlCDC(database.dsn, tables or ["orders"], **more)


def told(records: list[Record]) -> list[tuple[str, str, Any]]:
    return [(record.change, record.key, record.data.get("status")) for record in records]


def test_every_row_then_every_change(database: Database) -> None:
    database.run("INSERT INTO orders VALUES (1, 'new', 10), (2, 'new', 20)")
    records, position = read(source_of(database), until=streaming)
    assert told(records) == [("snapshot", "1", "new"), ("snapshot", "2", "new")]
    assert {record.stream for record in records} == {f"{database.name}.orders"}
    database.run("INSERT INTO orders VALUES (3, 'new', 30)")
    database.transaction(
        "UPDATE orders SET status = 'paid' WHERE id = 1", "DELETE FROM orders WHERE id = 2"
    )
    database.run("UPDATE orders SET id = 4 WHERE id = 3")
    database.run("TRUNCATE orders")
    changes, _ = read(source_of(database), position, until=count(6))
    assert told(changes) == [
        ("create", "3", "new"),
        ("update", "1", "paid"),
        ("delete", "2", "new"),
        ("delete", "3", "new"),
        ("create", "4", "new"),
        ("truncate", "", None),
    ]
    assert changes[0].data == {"id": 3, "status": "new", "cents": 30}
    assert len({record.id for record in records + changes}) == 8


class Writer(threading.Thread):
    """A client that inserts, updates and deletes at random, among keys of its own."""

    def __init__(self, database: Database, seed: int, transactions: int) -> None:
        super().__init__()
        self.keys = range(seed * 1000, seed * 1000 + 300)
        self._database, self._dice, self._transactions = database, random.Random(seed), transactions

    def run(self) -> None:
        with closing(self._database.connect()) as connection, connection.cursor() as cursor:
            for _ in range(self._transactions):
                connection.begin()
                for _ in range(self._dice.randrange(1, 5)):
                    self._write(cursor)
                connection.commit()

    def _write(self, cursor: Any) -> None:
        key = self._dice.choice(self.keys)
        if self._dice.random() < 0.3:
            cursor.execute("DELETE FROM orders WHERE id = %s", (key,))
        else:
            cents = self._dice.randrange(1_000_000)
            cursor.execute(
                "INSERT INTO orders VALUES (%s, 'new', %s) ON DUPLICATE KEY UPDATE cents = %s",
                (key, cents, cents),
            )


def folded(records: list[Record], rows: dict[str, Any] | None = None) -> dict[str, Any]:
    """The rows that the records amount to. Fails where a change is missing or comes twice."""
    rows = {} if rows is None else rows
    for record in records:
        assert (record.key in rows) == (record.change in ("update", "delete")), record
        if record.change == "delete":
            del rows[record.key]
        else:
            rows[record.key] = record.data["cents"]
    return rows


def until_it_stops(source: MySqlCDC, position: Position) -> tuple[list[Record], Position, str]:
    """What it reads before it raises ConfigurationError, and that error."""
    records: list[Record] = []
    try:
        for batch in source.read(position, threading.Event()):
            records += batch.records
            position = batch.position
    except ConfigurationError as error:
        return records, position, str(error)
    finally:
        source.close()
    raise AssertionError("it ended")


def table_of(database: Database) -> dict[str, Any]:
    return {str(key): cents for key, cents in database.run("SELECT id, cents FROM orders")}


def test_writers_during_the_snapshot_leave_no_gap_and_no_duplicate(database: Database) -> None:
    database.run("INSERT INTO orders SELECT -seq, 'old', 0 FROM seq_1_to_5000")
    writers = [Writer(database, seed, 150) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    records, position = read(source_of(database, batch=200), until=streaming)
    for writer in writers:
        writer.join()
    database.run("INSERT INTO orders VALUES (0, 'end', 0)")

    def ended(records: list[Record], _: Position) -> bool:
        return bool(records) and records[-1].key == "0"

    changes, _ = read(source_of(database), position, until=ended)
    assert folded(records + changes) == table_of(database)
    assert len({record.id for record in records + changes}) == len(records + changes)


def test_it_goes_on_in_the_middle_of_a_transaction(database: Database) -> None:
    position = start(source_of(database))
    database.transaction(
        "INSERT INTO orders SELECT seq, 'a', seq FROM seq_1_to_3000",
        "UPDATE orders SET id = id + 10000 WHERE id <= 1000",
    )
    whole, _ = read(source_of(database), position, until=count(5000))
    records: list[Record] = []
    while len(records) < 5000:
        more, position = read(source_of(database, batch=700), position, until=count(1))
        records += more
    assert records == whole


def test_compressed_rows_are_the_same(database: Database) -> None:
    position = start(source_of(database))
    try:
        database.run("SET GLOBAL log_bin_compress = ON")
        Writer(database, 3, 40).run()
        database.run("INSERT INTO orders SELECT seq, repeat('x', 20), 0 FROM seq_1_to_900")
        database.run("ALTER TABLE orders ADD COLUMN " + "more" * 10 + " int COMMENT 'long'")
        database.run("INSERT INTO orders VALUES (-1, 'end', 0, 1)")
    finally:
        database.run("SET GLOBAL log_bin_compress = OFF")
    records, _ = read(
        source_of(database), position, until=lambda r, _: bool(r and r[-1].key == "-1")
    )
    assert folded(records) == table_of(database)


def test_a_renamed_table_loses_nothing(database: Database) -> None:
    position = start(source_of(database))
    database.run("INSERT INTO orders VALUES (1, 'a', 1)")
    database.run("RENAME TABLE orders TO sales")
    database.run("INSERT INTO sales VALUES (2, 'b', 2)")
    got, position, error = until_it_stops(source_of(database), position)
    assert "name it so in tables=" in error
    assert told(got) == [("create", "1", "a")]
    more, _ = read(source_of(database, "sales"), position, until=count(1))
    assert told(more) == [("create", "2", "b")]


STOPS = {
    "DROP TABLE orders": "it was dropped",
    "SET STATEMENT max_statement_time = 9 FOR RENAME TABLE orders TO kept": "was renamed to",
    "RENAME TABLE orders TO old, other TO orders": "has taken the place",
    "ALTER TABLE orders DROP PRIMARY KEY": "no primary key",
    "SET SESSION binlog_format = 'STATEMENT'": "as a statement",
    "SET SESSION binlog_row_image = 'MINIMAL'": "SET GLOBAL binlog_row_image = 'FULL';",
    "XA START 'a'": "XA transaction",
}


@pytest.mark.parametrize("statement", STOPS)
def test_what_would_lose_changes_stops_where_it_stands(database: Database, statement: str) -> None:
    database.run("CREATE TABLE other (id int PRIMARY KEY, status varchar(20), cents int)")
    position = start(source_of(database))
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (1, 'before', 1)")
        cursor.execute(statement)
        if "DROP TABLE" not in statement and "kept" not in statement:
            cursor.execute("INSERT INTO orders VALUES (2, 'after', 2)")
        if "row_image" in statement:
            cursor.execute("UPDATE orders SET status = 'x' WHERE id = 2")
        if "XA" in statement:
            for after in ("XA END 'a'", "XA PREPARE 'a'", "XA COMMIT 'a'"):
                cursor.execute(after)
    records, _, error = until_it_stops(source_of(database), position)
    assert re.search(rf"(?s){STOPS[statement]}.*binlog\.\d+:\d+", error), error
    assert told(records)[0] == ("create", "1", "before")


def test_columns_may_come_and_go(database: Database) -> None:
    position = start(source_of(database))
    database.run("INSERT INTO orders VALUES (1, 'a', 1)")
    database.run("ALTER TABLE orders ADD COLUMN extra bigint unsigned FIRST, DROP COLUMN status")
    database.run("INSERT INTO orders VALUES (18446744073709551615, 2, 2)")
    database.run("ALTER TABLE orders MODIFY cents varchar(10), RENAME COLUMN extra TO big")
    database.run("INSERT INTO orders VALUES (3, 3, 'three')")
    records, _ = read(source_of(database), position, until=count(3))
    assert [record.data for record in records] == [
        {"id": 1, "status": "a", "cents": 1},
        {"extra": 18446744073709551615, "id": 2, "cents": 2},
        {"big": 3, "id": 3, "cents": "three"},
    ]


CUTS = int(os.environ.get("CDC_CUTS", "40"))


@pytest.mark.timeout(60 + CUTS)
def test_a_connection_that_is_cut_anywhere_loses_and_repeats_nothing(database: Database) -> None:
    """``CDC_CUTS=500`` cuts it so often."""
    database.run("INSERT INTO orders SELECT -seq, 'old', 0 FROM seq_1_to_50")
    rows: dict[str, Any] = dict.fromkeys(table_of(database), 0)
    position = start(source_of(database))
    Writer(database, 5, 60 * CUTS // 40).run()
    database.run("INSERT INTO orders VALUES (0, 'end', 0)")
    dice, records, cuts = random.Random(11), list[Record](), 0
    with CuttingProxy(database.host, database.port) as proxy:
        dsn = database.dsn.replace(f":{database.port}/", f":{proxy.port}/")
        while not (records and records[-1].key == "0"):
            # The log of 60 transactions has some 20 kB, the questions before it some 10 kB.
            proxy.cut_after(dice.randrange(200, 14_000) if cuts < CUTS else None)
            source = MySqlCDC(dsn, ["orders"], batch=3)
            with suppress(SourceError):
                for batch in source.read(position, threading.Event()):
                    records += batch.records
                    position = batch.position
                    if records and records[-1].key == "0":
                        break
            source.close()
            cuts += 1
    assert cuts > CUTS // 2
    assert folded(records, rows) == table_of(database)
    assert len({record.id for record in records}) == len(records)


def test_no_right_to_read_is_said_with_the_grant(database: Database) -> None:
    user = f"u{database.name[-8:]}"
    database.run(f"CREATE USER {user} IDENTIFIED BY 'hunter2'")
    try:
        dsn = database.dsn.replace("root@", f"{user}:hunter2@")
        with pytest.raises(ConfigurationError, match="GRANT REPLICATION SLAVE"):
            list(MySqlCDC(dsn, ["orders"]).read(None, threading.Event()))
        database.run(f"GRANT REPLICATION SLAVE ON *.* TO {user}")
        with pytest.raises(ConfigurationError, match="GRANT REPLICATION CLIENT"):
            list(MySqlCDC(dsn, ["orders"]).read(None, threading.Event()))
        database.run(f"GRANT REPLICATION CLIENT ON *.* TO {user}")
        with pytest.raises(ConfigurationError, match=r"GRANT SELECT ON `.*`\.`orders`"):
            list(MySqlCDC(dsn, ["orders"]).read(None, threading.Event()))
        database.run(f"GRANT SELECT ON `{database.name}`.orders TO {user}")
        assert start(MySqlCDC(dsn, ["orders"]))["phase"] == "stream"
        with pytest.raises(ConfigurationError, match="not in") as raised:
            MySqlCDC(dsn.replace("hunter2", "other"), ["orders"]).read(
                None, threading.Event()
            ).__next__()
        assert "other" not in str(raised.value)
    finally:
        database.run(f"DROP USER {user}")


def test_another_reader_of_the_same_number_is_not_thrown_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.connectors.mysql.capture._HANDOVER", 0.3)
    position = start(source_of(database))
    first, stop = source_of(database), threading.Event()
    batches = first.read(position, stop)
    next(batches)
    with pytest.raises(SourceError, match="server_id="):
        next(iter(source_of(database).read(position, threading.Event())))
    database.run("INSERT INTO orders VALUES (1, 'a', 1)")
    assert told(next(batches).records) == [("create", "1", "a")]
    other = source_of(database, server_id=77)
    assert told(read(other, position, until=count(1))[0]) == [("create", "1", "a")]
    batches.close()  # type: ignore[attr-defined]
    first.close()


def test_a_reader_that_was_killed_is_waited_for(database: Database) -> None:
    position = start(source_of(database))
    first = source_of(database)
    batches = first.read(position, threading.Event())
    next(batches)
    assert isinstance(first._under_way, Changes)
    first._under_way._stream._session.close()  # as kill -9: the server is told nothing
    database.run("INSERT INTO orders VALUES (1, 'a', 1)")
    assert told(read(source_of(database), position, until=count(1))[0]) == [("create", "1", "a")]
