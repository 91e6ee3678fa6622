"""PostgresCDC on a real server: types, keys and tables whose columns change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from pg_kit import Database, count, new_database, read, start, streaming
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.postgres.connection import connect
from trunkline.connectors.postgres.copying import PORTION_BYTES
from trunkline.connectors.postgres.values import UNCHANGED
from trunkline.event import Record, join_key

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN cents AS int CHECK (VALUE >= 0);
CREATE TYPE spot AS (x int, y int);
CREATE TABLE typed (
  id int PRIMARY KEY, flag bool, small int2, big int8, single float4, "double" float8,
  amount numeric, exact numeric(10, 2), "text" text, short varchar(10), padded char(4),
  raw bytea, day date, clock time, stamp timestamp, zoned timestamptz, span interval,
  code uuid, doc json, docb jsonb, ints int[], words text[], days date[], grid int[][],
  feeling mood, feelings mood[], price cents, prices cents[], place spot, address inet, shape box[],
  doubled int GENERATED ALWAYS AS (small * 2) STORED
)
"""
COLUMNS = 31
EXPECTED: dict[str, Any] = {
    "id": 1,
    "flag": True,
    "small": -32768,
    "big": 2**63 - 1,
    "single": 1.5,
    "double": 0.1,
    "amount": Decimal("123456789012345678901234567890.000000001"),
    "exact": Decimal("1.50"),
    "text": "tab\t, newline\n, back\\slash, € and 😀",
    "short": "",
    "padded": "ab  ",
    "raw": b"\x00\xff\\",
    "day": date(2024, 2, 29),
    "clock": time(23, 59, 59, 123456),
    "stamp": datetime(2024, 2, 29, 12, 0, 0, 500_000),
    "zoned": datetime(2024, 2, 29, 10, 0, tzinfo=UTC),
    "span": "P1Y2M3DT4H5M6.5S",
    "code": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "doc": {"a": [1, None, "x"]},
    "docb": [True, 1.5],
    "ints": [1, None, -3],
    "words": ["a,b", 'quo"te', "NULL", None, ""],
    "days": [date(2024, 1, 1), None],
    "grid": [[1, 2], [3, 4]],
    "feeling": "happy",
    "feelings": ["sad", "happy"],
    "price": 99,
    "prices": [1, 2],
    "place": "(1,2)",
    "address": "10.0.0.1",
    "shape": "{(1,1),(0,0)}",
}
INSERT = """
INSERT INTO typed VALUES (%s, true, -32768, 9223372036854775807, 1.5, 0.1,
  123456789012345678901234567890.000000001, 1.5,
  E'tab\\t, newline\\n, back\\\\slash, € and 😀', '', 'ab', '\\x00ff5c',
  '2024-02-29', '23:59:59.123456', '2024-02-29 12:00:00.5', '2024-02-29 12:00:00+02',
  '1 year 2 months 3 days 04:05:06.5', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
  '{"a": [1, null, "x"]}', '[true, 1.5]', '{1,NULL,-3}', '{"a,b","quo\\"te","NULL",NULL,""}',
  '{2024-01-01,infinity}',
  '{{1,2},{3,4}}', 'happy', '{sad,happy}', 99, '{1,2}', '(1,2)',
  '10.0.0.1', '{(1,1),(0,0)}');
INSERT INTO typed (id) VALUES (%s);
INSERT INTO typed (id, single, "double", amount, day, clock, stamp, zoned)
  VALUES (%s, 'NaN', 'Infinity', 'NaN', '-infinity', '24:00', '0044-03-15 BC', 'infinity');
"""


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("cdc")) as made:
        yield made


def source_of(database: Database, *tables: str, **more: Any) -> PostgresCDC:
    return PostgresCDC(database.dsn, tables, slot=database.name.replace("-", "_"), **more)


def told(records: list[Record]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(record.change, record.key, record.data) for record in records]


def test_every_type_is_the_same_in_snapshot_and_stream(database: Database) -> None:
    database.run(TYPES)
    database.run("SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo';" + INSERT, 1, 2, 3)
    snapshot, position = read(source_of(database, "typed"), until=streaming)
    database.run("DELETE FROM typed;" + INSERT, 1, 2, 3)
    changes, _ = read(source_of(database, "typed"), position, until=count(6))
    for full, empty, odd in (snapshot, changes[3:]):
        assert full.data == EXPECTED
        assert list(empty.data.values()) == [2] + [None] * (COLUMNS - 1)
        assert odd.data["amount"].is_nan()
        assert str(odd.data["single"]) == "nan"
        assert odd.data["double"] == float("inf")
        assert [odd.data[name] for name in ("day", "clock", "stamp", "zoned")] == [None] * 4


def test_types_made_after_the_start(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    position = start(source_of(database, "t"))
    source = source_of(database, "t")
    todo = ["CREATE DOMAIN cents AS int; ALTER TABLE t ADD price cents, ADD all_ cents[]"]
    database.run("INSERT INTO t VALUES (1)")

    def altered(records: list[Record], _: Any) -> bool:
        if records and todo:
            database.run(todo.pop())
            database.run("INSERT INTO t VALUES (2, 5, '{6}')")
        return len(records) == 2

    records, _ = read(source, position, until=altered)
    assert records[1].data == {"id": 2, "price": 5, "all_": [6]}


def test_columns_that_come_and_go_while_it_streams(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text, b int)")
    position = start(source_of(database, "t"))
    database.run("INSERT INTO t VALUES (1, 'x', 2)")
    database.run("ALTER TABLE t DROP a, ADD c text DEFAULT 'c', ALTER b TYPE text")
    database.run("INSERT INTO t VALUES (2, 'b')")
    database.run("UPDATE t SET c = NULL WHERE id = 1; ALTER TABLE t RENAME b TO d")
    database.run("UPDATE t SET d = 'e' WHERE id = 2")
    records, _ = read(source_of(database, "t"), position, until=count(4))
    assert told(records) == [
        ("create", "1", {"id": 1, "a": "x", "b": 2}),
        ("create", "2", {"id": 2, "b": "b", "c": "c"}),
        ("update", "1", {"id": 1, "b": "2", "c": None}),
        ("update", "2", {"id": 2, "d": "e", "c": "c"}),
    ]


LARGE = "SELECT string_agg(md5(i::text), '') FROM generate_series(1, 500) i"


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_a_large_value_that_an_update_leaves_alone(database: Database, identity: str) -> None:
    """PostgreSQL sends it only as part of the old row, with REPLICA IDENTITY FULL."""
    database.run("CREATE TABLE t (id int PRIMARY KEY, large text, n int)")
    database.run(
        f"ALTER TABLE t REPLICA IDENTITY {identity}; INSERT INTO t VALUES (1, ({LARGE}), 0)"
    )
    (row,), position = read(source_of(database, "t"), until=streaming)
    database.run("UPDATE t SET n = 1; UPDATE t SET id = 2; DELETE FROM t")
    records, _ = read(source_of(database, "t"), position, until=count(4))
    large = row.data["large"] if identity == "FULL" else UNCHANGED
    assert len(row.data["large"]) == 16_000
    assert [record.change for record in records] == ["update", "delete", "create", "delete"]
    assert records[0].data == {"id": 1, "large": large, "n": 1}
    assert records[2].data["id"] == 2
    whole = {"id": 2, "large": row.data["large"], "n": 1}
    assert records[3].data == (whole if identity == "FULL" else {"id": 2})


def test_a_placeholder_of_ones_own_for_unchanged_values(database: Database) -> None:
    database.run(f"CREATE TABLE t AS SELECT 1 AS id, ({LARGE}) AS large, 0 AS n")
    database.run("ALTER TABLE t ADD PRIMARY KEY (id)")
    position = start(source_of(database, "t"))
    database.run("UPDATE t SET n = 1")
    (record,), _ = read(source_of(database, "t", unchanged="(as before)"), position, until=count(1))
    assert record.data == {"id": 1, "large": "(as before)", "n": 1}


def test_a_key_of_several_columns(database: Database) -> None:
    """In the order of the table's columns, in snapshot and stream."""
    database.run("CREATE TABLE t (a text, n int, b text, PRIMARY KEY (b, a))")
    database.run("INSERT INTO t VALUES ('x|y', 1, 'z\\')")
    (row,), position = read(source_of(database, "t"), until=streaming)
    database.run("DELETE FROM t; INSERT INTO t VALUES ('x', 1, 'y|z')")
    records, _ = read(source_of(database, "t"), position, until=count(2))
    assert row.key == join_key(["x|y", "z\\"])
    assert told(records) == [
        ("delete", join_key(["x|y", "z\\"]), {"a": "x|y", "b": "z\\"}),
        ("create", join_key(["x", "y|z"]), {"a": "x", "n": 1, "b": "y|z"}),
    ]


def test_the_key_is_the_replica_identitys_index(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, n int)")
    database.run("CREATE UNIQUE INDEX by_code ON t (code) INCLUDE (n)")
    database.run(
        "ALTER TABLE t REPLICA IDENTITY USING INDEX by_code; INSERT INTO t VALUES (1, 'a')"
    )
    (row,), position = read(source_of(database, "t"), until=streaming)
    database.run("DELETE FROM t")
    (gone,), _ = read(source_of(database, "t"), position, until=count(1))
    assert (row.key, gone.key, gone.data) == ("a", "a", {"code": "a"})


def test_names_that_need_quotes(database: Database) -> None:
    database.run(
        'CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."Or.ders" ("Or der" int PRIMARY KEY)'
    )
    database.run('INSERT INTO "My Shop"."Or.ders" VALUES (1)')
    source = source_of(database, "My Shop.Or.ders", publication='My Publi"cation')
    (row,), position = read(source, until=streaming)
    database.run('DELETE FROM "My Shop"."Or.ders"')
    (gone,), _ = read(source, position, until=count(1))
    assert row.stream == gone.stream == "My Shop.Or.ders"
    assert row.data == gone.data == {"Or der": 1}


def test_a_partitioned_table_is_one_stream(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    database.run("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    database.run("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
    database.run("INSERT INTO t VALUES (1), (11)")
    rows, position = read(source_of(database, "t"), until=streaming)
    database.run("DELETE FROM t WHERE id = 1; UPDATE t SET id = 2; TRUNCATE t")
    source = source_of(database, "t", lost_partitions="log")  # else each of both is a letter, too
    changes, _ = read(source, position, until=count(4))
    assert {record.stream for record in rows + changes} == {"public.t"}
    assert sorted(record.key for record in rows) == ["1", "11"]
    assert [(r.change, r.key) for r in changes] == [
        ("delete", "1"),
        ("delete", "11"),
        ("create", "2"),
        ("truncate", ""),
    ]


def test_tables_that_inherit_are_tables_of_their_own(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE heir () INHERITS (t)")
    database.run("INSERT INTO t VALUES (1); INSERT INTO heir VALUES (2)")
    rows, position = read(source_of(database, "t"), until=streaming)
    database.run("INSERT INTO heir VALUES (3); INSERT INTO t VALUES (4)")
    changes, _ = read(source_of(database, "t"), position, until=count(1))
    assert [record.key for record in rows + changes] == ["1", "4"]


def test_a_publication_may_leave_out_columns_and_rows(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, secret text, n int)")
    database.run("CREATE PUBLICATION part FOR TABLE t (id, n) WHERE (id > 10)")
    database.run("INSERT INTO t VALUES (1, 's', 0), (11, 's', 0)")
    source = source_of(database, "t", publication="part")
    rows, position = read(source, until=streaming)
    database.run("INSERT INTO t VALUES (2, 's', 0), (12, 's', 0)")
    changes, _ = read(source, position, until=count(1))
    assert [record.data for record in rows] == [{"id": 11, "n": 0}]
    assert [record.data for record in changes] == [{"id": 12, "n": 0}]


@pytest.mark.parametrize(
    "wide", ["i > 600", "i <= 40", "i % 17 = 0"], ids=["last", "first", "mixed"]
)
def test_a_snapshot_is_read_by_bytes(database: Database, wide: str) -> None:
    """Wherever the wide rows are: a batch ends with the one that fills it."""
    database.run(
        f"CREATE TABLE t AS SELECT i AS id, repeat('x', CASE WHEN {wide} THEN 3000000 ELSE 1 END) "
        "AS large FROM generate_series(1, 640) i; ALTER TABLE t ADD PRIMARY KEY (id)"
    )
    largest, seen = 0, list[int]()
    for batch in source_of(database, "t").read(None, threading.Event()):
        sizes = [len(record.data["large"]) for record in batch.records]
        largest = max(largest, sum(sizes))
        seen += [record.data["id"] for record in batch.records]
        if streaming(batch.records, batch.position):
            break
    assert sorted(seen) == list(range(1, 641))
    assert largest < PORTION_BYTES + 3_000_001


def test_a_text_with_everything_that_copy_escapes(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text, b bytea)")
    text = "\\ \\N \n \r \t \b \f \v 'ü' \\n"
    database.run("INSERT INTO t VALUES (1, %s, %s), (2, NULL, '')", text, b"\\\x00\n\t")
    rows, position = read(source_of(database, "t"), until=streaming)
    database.run("UPDATE t SET id = id + 10")
    changes, _ = read(source_of(database, "t"), position, until=count(4))
    wanted = [{"a": text, "b": b"\\\x00\n\t"}, {"a": None, "b": b""}]
    assert [{k: v for k, v in r.data.items() if k != "id"} for r in rows] == wanted
    created = [record for record in changes if record.change == "create"]
    assert [{k: v for k, v in r.data.items() if k != "id"} for r in created] == wanted


def test_json_as_text(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a jsonb NOT NULL, b jsonb)")
    database.run("INSERT INTO t VALUES (1, 'null', NULL)")
    (row,), position = read(source_of(database, "t", json="text"), until=streaming)
    database.run("INSERT INTO t VALUES (2, '1234567890123456.780', 'null')")
    (change,), _ = read(source_of(database, "t", json="text"), position, until=count(1))
    assert row.data == {"id": 1, "a": "null", "b": None}
    assert change.data == {"id": 2, "a": "1234567890123456.780", "b": "null"}


def test_no_time_limit_of_the_database_ends_a_session(database: Database) -> None:
    limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    limits += ["idle_session_timeout", "transaction_timeout"]
    for limit in limits:
        database.run(f"ALTER DATABASE \"{database.name}\" SET {limit} = '100ms'")
    for replication in (False, True):
        with (
            closing(connect(database.dsn, replication=replication)) as connection,
            connection.cursor() as cursor,
        ):
            for limit in limits:
                cursor.execute(f"SHOW {limit}")
                assert cursor.fetchone() == ("0",), limit
