"""A first snapshot of MySqlCDC that is interrupted goes on where it was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import capturing_child
from mysql_kit import Database, new_database, read, streaming
from pg_kit import until
from reading_kit import folded, snapshot_keys
from trunkline.connectors.base import Position
from trunkline.connectors.mysql import MySqlCDC
from trunkline.event import Record

ROWS, BATCH = 30_000, 500


@pytest.fixture
def database(mariadb_url: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(mariadb_url, topic("resumed")) as made:
        made.run(
            "CREATE TABLE orders (shop varchar(20) COLLATE utf8mb4_general_ci, id bigint, n int, "
            "note text, PRIMARY KEY (shop, id))"
        )
        made.run(
            "INSERT INTO orders SELECT ELT(1 + seq %% 3, 'Añil', 'b', 'Cé'), seq, seq, "
            "repeat('x', seq %% 90) FROM seq_1_to_%s",
            ROWS,
        )
        yield made


def source_of(database: Database, *tables: str, **more: Any) -> MySqlCDC:
    return MySqlCDC(database.dsn, list(tables) or ["orders"], batch=BATCH, **more)


def table_of(database: Database) -> dict[str, Any]:
    rows = database.run("SELECT shop, id, n, note FROM orders")
    names = ("shop", "id", "n", "note")
    return {json.dumps(row[:2]): dict(zip(names, row, strict=True)) for row in rows}


def state_of(records: list[Record]) -> dict[str, Any]:
    """What a consumer has, by the values of the key."""
    rows = folded(records).values()
    return {json.dumps((row["shop"], row["id"])): row for row in rows}


def part_of(database: Database, rows: int, *tables: str) -> tuple[list[Record], Position]:
    """A snapshot that ends, as by kill -9, when it has so many rows."""
    found = read(source_of(database, *tables), until=lambda records, _: len(records) >= rows)
    assert found[1]["phase"] == "snapshot"
    return found


class Writer(threading.Thread):
    """Changes rows at random, moves them to other keys, and tells of nobody."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database, self._dice = database, random.Random(5)
        self._done = threading.Event()

    def run(self) -> None:
        one = "WHERE shop IN ('Añil', 'b', 'Cé', 'd') AND id = %s"  # which finds it by its key
        statements = (
            f"UPDATE orders SET n = n + 1 {one}",
            f"DELETE FROM orders {one}",
            f"UPDATE orders SET shop = 'd' {one}",
            "INSERT IGNORE INTO orders SELECT 'b', %s + 1000000, 1, 'new'",
        )
        with closing(self._database.connect()) as connection, connection.cursor() as cursor:
            while not self._done.is_set():
                connection.begin()
                for _ in range(self._dice.randrange(1, 5)):
                    statement = self._dice.choice(statements)
                    cursor.execute(statement, (self._dice.randrange(1, ROWS),))
                connection.commit() if self._dice.random() < 0.9 else connection.rollback()

    def stop(self) -> None:
        self._done.set()
        self.join()


def test_kill_9_in_mid_snapshot_reads_no_row_twice(database: Database, tmp_path: Path) -> None:
    """Writers beside it; killed in the snapshot, and again while it goes on."""
    file, writer = tmp_path / "published", Writer(database)
    file.touch()
    published = capturing_child.Published(file)
    arguments = {"dsn": database.dsn, "tables": ["orders"], "batch": BATCH}
    writer.start()
    try:
        for rows in (ROWS // 5, ROWS // 2):
            command = [*capturing_child.PROGRAM, str(file), json.dumps(arguments)]
            child = subprocess.Popen(command)
            try:
                while len(snapshot_keys(published.records)) < rows:
                    until(lambda: bool(published.look()), "a part of the snapshot", 90)
            finally:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
        published.look()
        records, position = published.records, published.position
        assert position is not None
        assert position["phase"] == "snapshot", "it was killed in the middle"
    finally:
        writer.stop()
    rest, position = read(source_of(database), position, until=streaming)
    database.run("INSERT INTO orders VALUES ('end', 0, 0, 'end')")
    end, _ = read(source_of(database), position, until=lambda r, _: bool(r) and ended(r))
    every = records + rest + end
    assert state_of(every) == table_of(database)
    again = Counter(record.id for record in every if record.change == "snapshot")
    assert set(again.values()) == {1}, "what was published is not read again"


def ended(records: list[Record]) -> bool:
    return bool(records[-1].data.get("shop") == "end")


def test_without_writers_each_row_comes_once_with_the_ids_of_the_first_attempt(
    database: Database,
) -> None:
    first, position = part_of(database, 4_000)
    rest, at = read(source_of(database), position, until=streaming)
    keys = snapshot_keys(first + rest)
    assert len(keys) == len(set(keys)) == ROWS
    assert len({record.id.removesuffix(record.key) for record in first + rest}) == 1
    assert not {"left", "point", "attempt"} & at.keys()


def test_what_was_deleted_and_emptied_meanwhile_is_told(database: Database) -> None:
    """The first attempt has published it: only the changes since its begin can take it back."""
    first, position = part_of(database, 4_000)
    gone = first[0]
    database.run("DELETE FROM orders WHERE shop = %s AND id = %s", *list(gone.data.values())[:2])
    rest, _ = read(source_of(database), position, until=streaming)
    assert [record.key for record in rest if record.change == "delete"] == [gone.key]
    assert state_of(first + rest) == table_of(database)
    database.run("TRUNCATE orders")
    database.run("INSERT INTO orders VALUES ('a', 1, 1, 'new')")
    rest, _ = read(source_of(database), position, until=streaming)
    assert list(state_of(first + rest)) == ['["a", 1]']


KEYS = {
    "int unsigned": ("seq", "4294900000 + seq"),
    "decimal(30,10)": ("seq / 7", "seq"),
    "char(8) CHARACTER SET latin1": ("CONCAT('é\\'', seq)", "seq"),
    "varbinary(12)": ("UNHEX(LPAD(HEX(seq), 10, '0'))", "seq"),
    "datetime(6)": ("'2020-01-01' + INTERVAL seq * 7 MICROSECOND", "seq"),
    "timestamp": ("FROM_UNIXTIME(1000000000 + seq)", "seq"),
    "time": ("SEC_TO_TIME(CAST(seq AS SIGNED) * 100 - 100000)", "seq"),
    "enum('z', 'y', 'x')": ("1 + seq % 3", "seq"),
    "bit(40)": ("seq", "seq"),
}


@pytest.mark.parametrize("type_", KEYS)
def test_a_key_of_any_type_is_gone_on_behind(database: Database, type_: str) -> None:
    """In the order of its index; where that is not the one of its values, from the begin."""
    value, second = KEYS[type_]
    database.run(f"CREATE TABLE k (a {type_}, b bigint, note int, PRIMARY KEY (a, b))")
    database.run(f"INSERT INTO k SELECT {value}, {second}, seq FROM seq_1_to_2000")
    first, position = part_of(database, BATCH, "k")
    rest, _ = read(source_of(database, "k"), position, until=streaming)
    again = len(first) + len(rest) - 2000
    assert again == (len(first) if type_.startswith(("enum", "bit")) else 0)
    assert len(folded(first + rest)) == 2000


def test_a_key_that_is_ordered_otherwise_meanwhile_begins_again(database: Database) -> None:
    """In one collation all capital letters come before the small ones: behind ``m`` there would be
    none of them any more."""
    database.run("CREATE TABLE words (word varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY)")
    database.run(
        "INSERT INTO words SELECT concat(char(65 + seq % 26 + 32 * (seq % 2)), seq) "
        "FROM seq_1_to_5000"
    )
    first, position = part_of(database, 2_000, "words")
    database.run("ALTER TABLE words MODIFY word varchar(20) COLLATE utf8mb4_bin")
    rest, _ = read(source_of(database, "words"), position, until=streaming)
    rows = {word for (word,) in database.run("SELECT word FROM words")}
    assert set(folded(first + rest)) == rows
    assert {record.id for record in first} <= {record.id for record in rest}, "with the same ids"


def test_several_tables_of_which_one_is_not_wanted_any_more(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "z"):
        database.run(f"CREATE TABLE {name} (id int PRIMARY KEY)")
    database.run("INSERT INTO z SELECT seq FROM seq_1_to_900")
    tables = ["a", "orders", "z"]
    first, position = part_of(database, 1_000, *tables)
    assert list(position["left"])[-2:] == [f"{database.name}.{name}" for name in tables[1:]]
    rest, _ = read(source_of(database, "orders", "a"), position, until=streaming)
    assert "z is not in tables= any more" in caplog.text
    told = Counter(record.stream.partition(".")[2] for record in first + rest)
    assert told == {"orders": ROWS}


def test_rows_that_must_come_in_their_order_begin_again(database: Database) -> None:
    """As those of an outbox: what is left, read later, would come behind newer rows."""
    first, position = part_of(database, 4_000)
    database.run("INSERT INTO orders VALUES ('d', 0, 0, 'new')")
    source = source_of(database)
    source.keep_rows_in_order()
    every, _ = read(source, position, until=streaming)
    assert len(every) == ROWS + 1
    assert not {record.id for record in first} & {record.id for record in every}


MEMORY = """
import resource, sys, threading
from trunkline.connectors.mysql import MySqlCDC
for batch in MySqlCDC(sys.argv[1], ["wide"]).read(None, threading.Event()):
    if batch.position["phase"] == "stream":
        break
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_table(database: Database) -> None:
    """100 MB of rows. The peak is the same as that of a tenth of them."""
    peaks = []
    database.run("CREATE TABLE wide (id int PRIMARY KEY, note varchar(2000))")
    for begin, end in ((1, 5_000), (5_001, 50_000)):
        database.run(f"INSERT INTO wide SELECT seq, repeat('y', 2000) FROM seq_{begin}_to_{end}")
        command = [capturing_child.PROGRAM[0], "-c", MEMORY, database.dsn]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True).stdout))
    assert peaks[1] - peaks[0] < 20_000, f"kilobytes: {peaks}"
