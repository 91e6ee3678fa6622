"""A first snapshot of PostgresCDC that is interrupted goes on where it was, by several readers."""

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
from psycopg2.extensions import make_dsn

import capturing_child
from pg_kit import Database, connected, let_go, new_database, read, streaming, until
from reading_kit import Reading, folded, snapshot_keys
from trunkline.connectors.base import Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import ConfigurationError
from trunkline.event import Record

ROWS, BATCH, READERS = 30_000, 500, 3


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("resumed")) as made:
        made.run("CREATE TABLE orders (id uuid PRIMARY KEY, n int, note text)")
        fill(made, ROWS)
        yield made
        let_go(made)


def fill(database: Database, rows: int) -> None:
    database.run(
        "INSERT INTO orders SELECT gen_random_uuid(), i, repeat('x', i %% 90) "
        "FROM generate_series(1, %s) i",
        rows,
    )


def arguments_of(database: Database, **more: Any) -> dict[str, Any]:
    slot = database.name.replace("-", "_")
    given = {"dsn": database.dsn, "tables": ["orders"], "slot": slot, "batch": BATCH}
    return given | {"readers": READERS} | more


def source_of(database: Database, **more: Any) -> PostgresCDC:
    return PostgresCDC(**arguments_of(database, **more))


def table_of(database: Database) -> dict[str, Any]:
    rows = database.run("SELECT id::text, n, note FROM orders")
    return {id: {"id": id, "n": n, "note": note} for id, n, note in rows}


def part_of(database: Database, rows: int, **more: Any) -> tuple[list[Record], Position]:
    """A snapshot that ends, as by kill -9, when it has so many rows."""
    records, position = read(source_of(database, **more), until=lambda r, _: len(r) >= rows)
    assert position["phase"] == "snapshot"
    let_go(database)
    return records, position


def rest_of(database: Database, position: Position, **more: Any) -> tuple[list[Record], Position]:
    """All that comes up to a change made now, when all rows have come, too."""
    ended: list[str] = []

    def enough(records: list[Record], at: Position) -> bool:
        if not ended and all(one.get("done") for one in at.get("snapshots", {}).values()):
            ended.append("00000000-0000-0000-0000-000000000000")
            database.run("INSERT INTO orders VALUES (%s, 0, 'end')", ended[0])
        return bool(ended) and any(record.data.get("id") == ended[0] for record in records[-50:])

    found = read(source_of(database, **more), position, until=enough)
    let_go(database)
    return found


class Writer(threading.Thread):
    """Changes rows at random, moves them to other keys, and tells of nobody."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database, self._dice = database, random.Random(5)
        self._done = threading.Event()

    def run(self) -> None:
        keys = [key for (key,) in self._database.run("SELECT id::text FROM orders")]
        statements = (
            "UPDATE orders SET n = n + 1 WHERE id = %s",
            "DELETE FROM orders WHERE id = %s",
            "UPDATE orders SET id = gen_random_uuid() WHERE id = %s",
            "INSERT INTO orders VALUES (%s, 1, 'new') ON CONFLICT (id) DO NOTHING",
        )
        with closing(connected(self._database.dsn)) as connection, connection.cursor() as cursor:
            while not self._done.is_set():
                for _ in range(self._dice.randrange(1, 5)):
                    cursor.execute(self._dice.choice(statements), (self._dice.choice(keys),))
                connection.commit() if self._dice.random() < 0.9 else connection.rollback()

    def stop(self) -> None:
        self._done.set()
        self.join()


def test_kill_9_in_mid_snapshot_reads_no_row_twice(database: Database, tmp_path: Path) -> None:
    """Three readers, writers beside them; killed in the snapshot, and again while it goes on."""
    file, writer = tmp_path / "published", Writer(database)
    file.touch()
    published = capturing_child.Published(file)
    command = [*capturing_child.PROGRAM, str(file)]
    writer.start()
    try:
        for rows in (ROWS // 5, ROWS // 2):
            child = subprocess.Popen([*command, json.dumps(arguments_of(database))])
            try:
                while len(published.records) < rows:
                    until(lambda: bool(published.look()), "a part of the snapshot")
            finally:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
            until(lambda: not database.senders(), "the server to notice")
        published.look()
        records, position = published.records, published.position
        assert position is not None
        assert 0 < len(snapshot_keys(records)) < ROWS, "it was killed in the middle"
    finally:
        writer.stop()
    rest, _ = rest_of(database, position)
    assert folded(records + rest) == table_of(database)
    again = sum(times - 1 for times in Counter(snapshot_keys(records + rest)).values())
    assert again <= READERS * BATCH, "at the most what was under way"


def test_without_writers_each_row_comes_once_with_the_ids_of_the_first_attempt(
    database: Database,
) -> None:
    first, position = part_of(database, 4_000)
    rest, _ = rest_of(database, position)
    keys = snapshot_keys(first + rest)
    assert len(keys) == len(set(keys)) == ROWS
    begin = {record.id.removesuffix(record.key) for record in first + rest if record.data["n"]}
    assert len(begin) == 1


def test_what_was_deleted_meanwhile_is_told(database: Database) -> None:
    """The first attempt has published it: only the changes since its begin can take it back."""
    first, position = part_of(database, 4_000)
    database.run("DELETE FROM orders WHERE id = %s", first[0].key)
    rest, _ = rest_of(database, position)
    assert [r.key for r in rest if r.change == "delete"] == [first[0].key]
    assert folded(first + rest) == table_of(database)


REWRITES = {
    "VACUUM FULL orders": "each",
    "ALTER TABLE orders ALTER n TYPE bigint": "run",
    "TRUNCATE orders; INSERT INTO orders VALUES (gen_random_uuid(), 7, 'new')": "run",
}


@pytest.mark.parametrize("statement", REWRITES)
def test_a_table_that_was_written_anew_is_read_from_its_begin(
    database: Database, statement: str
) -> None:
    first, position = part_of(database, 4_000)
    getattr(database, REWRITES[statement])(statement)
    rest, _ = rest_of(database, position)
    assert folded(first + rest) == table_of(database)


def test_rows_wider_than_a_portion_and_partitions_go_on_too(database: Database) -> None:
    database.run("DROP TABLE orders")
    database.run(
        "CREATE TABLE orders (id uuid, n int, note text, PRIMARY KEY (id, n)) "
        "PARTITION BY HASH (id)"
    )
    for at in range(3):
        database.run(
            f"CREATE TABLE orders_{at} PARTITION OF orders "
            f"FOR VALUES WITH (MODULUS 3, REMAINDER {at})"
        )
    fill(database, 6_000)
    database.run("CREATE TABLE lines (id int PRIMARY KEY, note text)")
    database.run("ALTER TABLE lines ALTER note SET STORAGE EXTERNAL")
    database.run("INSERT INTO lines SELECT i, repeat('y', 3000000) FROM generate_series(1, 12) i")
    tables = ["lines", "orders"]
    first, position = part_of(database, 6, tables=tables, batch=100)
    part_ids = {record.id for record in first}
    rest, _ = rest_of(database, position, tables=tables, batch=100)
    told = [r.id for r in first + rest if r.change == "snapshot"]
    assert len(told) == len(set(told)) == 6_012
    assert part_ids < set(told)


def test_a_table_that_was_renamed_meanwhile_and_one_that_is_not_wanted_any_more(
    database: Database,
) -> None:
    database.run("CREATE TABLE lines (id int PRIMARY KEY); INSERT INTO lines VALUES (1)")
    first, position = part_of(database, 1_000, tables=["orders", "lines"])
    database.run("ALTER TABLE orders RENAME TO sales")
    with pytest.raises(ConfigurationError, match=r"renamed to public\.sales"):
        rest_of(database, position, tables=["orders"])
    database.run("CREATE VIEW orders AS SELECT * FROM sales")  # for ``rest_of`` and ``table_of``
    rest, _ = rest_of(database, position, tables=["sales"])
    assert folded(first + rest) == table_of(database)
    assert "public.lines" not in {record.stream for record in rest}


def test_several_tables_and_empty_ones(database: Database) -> None:
    for name in ("a", "b", "c"):
        database.run(f"CREATE TABLE {name} (id int PRIMARY KEY)")
    database.run("INSERT INTO b SELECT generate_series(1, 900)")
    tables = ["a", "b", "orders", "c"]
    first, position = part_of(database, 1_000, tables=tables)
    rest, at = rest_of(database, position, tables=tables)
    told = Counter(record.stream for record in first + rest if record.change == "snapshot")
    assert told == {"public.b": 900, "public.orders": ROWS}
    assert at["phase"] == "stream"


def test_what_keeps_it_from_going_on_stops_it(database: Database) -> None:
    """Nobody has asked for it, so it must not end by itself with half of the rows."""
    name = f"{database.name}-role"
    database.run(f'CREATE ROLE "{name}" LOGIN REPLICATION; GRANT SELECT ON orders TO "{name}"')
    database.run("CREATE PUBLICATION mine FOR TABLE orders")
    function = "FUNCTION pg_logical_emit_message(boolean, text, text, boolean)"
    try:
        more = {"dsn": make_dsn(database.dsn, user=name), "publication": "mine"}
        first, position = part_of(database, 1_000, **more)
        database.run(f"REVOKE EXECUTE ON {function} FROM PUBLIC")
        reading = Reading(source_of(database, **more), position)
        refused = reading.ended()
        let_go(database)
        assert isinstance(refused, ConfigurationError)
        database.run(str(refused).partition("run ")[2])
        assert reading.position is not None
        rest, _ = rest_of(database, reading.position, **more)
        assert folded(first + reading.records + rest) == table_of(database)
    finally:
        database.run(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def test_until_all_is_read_it_counts_as_late(database: Database) -> None:
    _, position = part_of(database, 1_000)
    told: list[tuple[bool, bool]] = []
    stop = threading.Event()
    timer = threading.Timer(30, stop.set)
    timer.start()
    for batch in source_of(database).read(position, stop):
        left = any(not one.get("done") for one in batch.position["snapshots"].values())
        told.append((left, batch.current))
        if not left:
            stop.set()
    timer.cancel()
    assert {current for left, current in told if left} == {False}


def test_a_slot_whose_position_is_not_stored_is_made_anew(database: Database) -> None:
    """Killed right after making it: the position claims it, and does not know where it begins."""
    source = source_of(database)
    batches = source.read(None, threading.Event())
    claimed, begun = next(batches).position, next(batches).position
    assert claimed == {"phase": "snapshot", "slot": source.slot}
    batches.close()  # type: ignore[attr-defined]
    records, position = read(source_of(database), claimed, until=streaming)
    assert len(records) == ROWS
    assert position["lsn"] != begun["lsn"]
