"""SqlSink writes a value as it is or not at all, on real databases: types, scales, keys."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypedDict

import pytest

from sql_items import Database, counts, gone, put, rich
from trunkline.connectors.contract import make_event
from trunkline.errors import ConfigurationError, PartialFailure, Rejected
from trunkline.event import Event
from trunkline.schemas.types import avro_type

MOMENT = datetime(2024, 2, 29, 12, 30, 0, 123_456, tzinfo=UTC)


def typed(avro: Any, key: Any = "string") -> type:
    """A type of an id and a value."""

    class Valued(TypedDict):
        id: Any
        v: Any

    fields = [{"name": "id", "type": key}, {"name": "v", "type": avro}]
    name = f"Valued{uuid.uuid4().hex[:8]}"
    avro_type(Valued, json.dumps({"type": "record", "name": name, "fields": fields}))
    return Valued


def logical(base: str, name: str, **more: int) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


DECIMAL = logical("bytes", "decimal", precision=20, scale=6)
MICROS, MILLIS = logical("long", "timestamp-micros"), logical("long", "timestamp-millis")
LOCAL, CLOCK = logical("long", "local-timestamp-micros"), logical("long", "time-micros")
COLOR = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}


def written(db: Database, avro: Any, column: str, value: Any) -> Any:
    """What stands in a column of the user's own after an event; raises what the sink raises."""
    db.run(f"CREATE TABLE {{table}} (id {{key}} PRIMARY KEY, v {column})")
    db.deliver([make_event("a", {"id": "a", "v": value}, offset=1)], type=typed(avro))
    return db.rows("v")[0][0]


# What the types tell, at the start: with the ALTER that mends it.

NARROW: list[tuple[str, Any, str, str, Any]] = [
    ("postgres", "double", "INTEGER", "as it is", 1.5),
    ("postgres", "double", "REAL", "keeps 6", 0.1),
    ("postgres", "double", "DATE", "as it is", 0.1),
    ("postgres", "long", "REAL", "keeps 6", 2**62),
    ("postgres", "long", "DOUBLE PRECISION", "keeps 15", 2**62 + 1),
    ("postgres", DECIMAL, "NUMERIC(12,2)", "keeps 2 of 6", Decimal("1.234567")),
    ("postgres", DECIMAL, "INTEGER", "keeps none of 6", Decimal("1.5")),
    ("postgres", DECIMAL, "DOUBLE PRECISION", "keeps 15 of 20", Decimal("1.5")),
    ("postgres", MICROS, "TIMESTAMP(0)", "keeps 0 of 6", MOMENT),
    ("postgres", MICROS, "TIMESTAMPTZ(3)", "keeps 3 of 6", MOMENT),
    ("postgres", MICROS, "DATE", "as it is", MOMENT),
    ("postgres", CLOCK, "TIME(0)", "keeps 0 of 6", time(1, 2, 3, 4)),
    ("postgres", "int", "BOOLEAN", "as it is", 1),
    ("postgres", "string", "BYTEA", "as it is", "\\x41"),
    ("postgres", "string", "BOOLEAN", "as it is", "yes"),
    ("mariadb", "double", "INT", "as it is", 1.5),
    ("mariadb", "double", "FLOAT", "keeps 6", 0.1),
    ("mariadb", "double", "DOUBLE(9,2)", "rounds to 2", 0.123),
    ("mariadb", "float", "FLOAT(7,2)", "rounds to 2", 0.123),
    ("mariadb", DECIMAL, "DECIMAL(12,2)", "keeps 2 of 6", Decimal("1.234567")),
    ("mariadb", DECIMAL, "DECIMAL", "keeps 0 of 6", Decimal("1.5")),
    ("mariadb", DECIMAL, "DOUBLE", "keeps 15 of 20", Decimal("1.5")),
    ("mariadb", MICROS, "DATETIME", "keeps 0 of 6", MOMENT),
    ("mariadb", MILLIS, "DATETIME(2)", "keeps 2 of 3", MOMENT),
    ("mariadb", MICROS, "TIMESTAMP NULL", "keeps 0 of 6", MOMENT),
    ("mariadb", CLOCK, "TIME(3)", "keeps 3 of 6", time(1, 2, 3, 4)),
    ("mariadb", logical("int", "date"), "YEAR", "as it is", date(2024, 1, 2)),
    ("mariadb", "int", "YEAR", "as it is", 70),
    ("mariadb", "int", "ENUM('a','b')", "as it is", 1),
    ("mariadb", "int", "DATE", "as it is", 20240102),
    ("mariadb", "bytes", "INT", "as it is", b"12"),
    ("mariadb", COLOR, "ENUM('red')", "lacks green", "red"),
]


@pytest.mark.parametrize(("server", "avro", "column", "why", "value"), NARROW)
def test_a_column_that_holds_less_is_refused_with_its_alter(
    request: pytest.FixtureRequest, server: str, avro: Any, column: str, why: str, value: Any
) -> None:
    db: Database = request.getfixturevalue(server)
    with pytest.raises(ConfigurationError, match="does not suit field v") as caught:
        written(db, avro, column, value)
    said, _, mend = str(caught.value).partition("\n\n")
    assert why in said
    assert mend.startswith("ALTER TABLE")
    assert mend.count(";") == 1
    if db.kind == "postgresql" and column in ("DATE", "BOOLEAN", "BYTEA"):
        return  # there is no such cast: the statement says what is needed
    db.run(mend)
    db.deliver([make_event("a", {"id": "a", "v": value}, offset=1)], type=typed(avro))
    assert db.rows("id") == [("a",)]


WIDE: list[tuple[str, Any, str, Any]] = [
    ("postgres", "int", "BIGINT", 5),
    ("postgres", "int", "NUMERIC", 5),
    ("postgres", "int", "DOUBLE PRECISION", 5),
    ("postgres", DECIMAL, "NUMERIC", Decimal("1.234567")),
    ("postgres", DECIMAL, "NUMERIC(30,10)", Decimal("1.234567")),
    ("postgres", "double", "NUMERIC(12,2)", 1.5),
    ("postgres", MILLIS, "TIMESTAMPTZ(3)", MOMENT.replace(microsecond=5000)),
    ("postgres", "string", "CHAR(3)", "abc"),
    ("postgres", "string", "INTEGER", "-5"),
    ("postgres", "string", "UUID", "12345678-1234-5678-1234-567812345678"),
    ("postgres", "string", "DATE", "2024-02-29"),
    ("postgres", "string", "JSONB", "[1]"),
    ("postgres", "string", "INET", "10.0.0.1"),
    ("mariadb", "int", "TINYINT", 5),
    ("mariadb", "boolean", "TINYINT(1)", True),
    ("mariadb", "long", "DECIMAL(20)", 2**62 + 1),
    ("mariadb", MILLIS, "DATETIME(3)", MOMENT.replace(microsecond=5000)),
    ("mariadb", COLOR, "ENUM('green','red')", "red"),
    ("mariadb", "string", "ENUM('green','red')", "red"),
    ("mariadb", "string", "SET('a','b')", "a,b"),
    ("mariadb", "string", "TINYTEXT", "é" * 127),
    ("mariadb", "bytes", "BINARY(2)", b"ab"),
    ("sqlite", "double", "INT", 1.5),
    ("sqlite", "string", "INT", "5"),
    ("sqlite", "string", "NUMERIC", "abc"),
    ("sqlite", DECIMAL, "VARCHAR(3)", Decimal("12345.678900")),
]


@pytest.mark.parametrize(("server", "avro", "column", "value"), WIDE)
def test_a_column_that_holds_it_is_taken(
    request: pytest.FixtureRequest, server: str, avro: Any, column: str, value: Any
) -> None:
    found = written(request.getfixturevalue(server), avro, column, value)
    if not isinstance(value, (datetime, str, bytes)):
        assert Decimal(str(found)) == Decimal(str(value if value is not True else 1))


# What the value alone tells: the row is refused, and the others are written.

SMALL = logical("bytes", "decimal", precision=12, scale=2)
VALUES: list[tuple[str, Any, str, Any, Any]] = [
    ("postgres", SMALL, "NUMERIC(12,2)", Decimal("1.500"), Decimal("1.234")),
    ("postgres", SMALL, "NUMERIC(12,2)", Decimal("-0.01"), Decimal("-0.001")),
    ("postgres", "double", "NUMERIC(12,2)", 1.25, 1.234),
    ("postgres", "double", "NUMERIC(12,2)", 1e9, 1e-9),
    ("postgres", "string", "VARCHAR(3)", "abc", "abc "),
    ("postgres", "string", "CHAR(3)", "ab", "ab "),
    ("postgres", "string", "INTEGER", "7", "007"),
    ("postgres", "string", "NUMERIC(5,1)", "1.5", "1.55"),
    ("postgres", "string", "DATE", "2024-02-29", "2024-02-29 23:00"),
    ("postgres", "string", "TIMESTAMP", "2024-02-29 23:00:00", "2024-02-29T23:00:00+05"),
    ("postgres", "string", "TIME(0)", "23:00:00", "23:00:00.7"),
    ("postgres", "string", "UUID", str(uuid.UUID(int=10)), str(uuid.UUID(int=10)).upper()),
    ("mariadb", SMALL, "DECIMAL(12,2)", Decimal("1.5"), Decimal("1.234")),
    ("mariadb", "double", "DECIMAL(12,2)", 1.25, 1.234),
    ("mariadb", "int", "INT UNSIGNED", 5, -5),
    ("mariadb", "string", "VARCHAR(3)", "abc", "abc "),
    ("mariadb", "string", "CHAR(3)", "ab", "ab "),
    ("mariadb", "string", "TINYTEXT", "a", "é" * 126 + "    "),
    ("mariadb", "string", "INT", "7", "007"),
    ("mariadb", "string", "ENUM('red','green')", "red", "Red"),
    ("mariadb", "string", "ENUM('red','green')", "green", "1"),
    ("mariadb", "string", "SET('a','b')", "a,b", "b,a"),
    ("mariadb", "string", "DATETIME", "2024-02-29 23:00:00", "2024-02-29 23:00:00.9"),
    ("mariadb", "bytes", "BINARY(3)", b"abc", b"a"),
    ("sqlite", "string", "INTEGER", "7", "007"),
    ("sqlite", "string", "NUMERIC", "x", "1.50"),
]


@pytest.mark.parametrize(("server", "avro", "column", "good", "bad"), VALUES)
def test_a_value_that_would_be_changed_is_rejected_with_its_field(
    request: pytest.FixtureRequest, server: str, avro: Any, column: str, good: Any, bad: Any
) -> None:
    db: Database = request.getfixturevalue(server)
    db.run(f"CREATE TABLE {{table}} (id {{key}} PRIMARY KEY, v {column})")
    batch = [
        make_event(k, {"id": k, "v": v}, offset=n)
        for n, (k, v) in enumerate({"a": good, "b": bad, "c": None, "d": good}.items())
    ]
    with pytest.raises(PartialFailure) as caught:
        db.deliver(batch, type=typed(["null", avro]))
    assert {i: type(e) for i, e in caught.value.failures.items()} == {1: Rejected}
    assert "field v" in str(caught.value.failures[1])
    assert str(bad) not in str(caught.value.failures[1])
    assert [key for (key,) in db.rows("id")] == ["a", "c", "d"]


# Keys.

BLURRED = [
    ("postgres", "TEXT COLLATE {table}_ci"),
    ("mariadb", "VARCHAR(50)"),
    ("mariadb", "VARCHAR(50) COLLATE utf8mb4_unicode_ci"),
    ("sqlite", "TEXT COLLATE NOCASE"),
    ("sqlite", "TEXT COLLATE RTRIM"),
]


@pytest.mark.parametrize(("server", "column"), BLURRED)
def test_a_key_that_takes_two_texts_for_one_is_refused_with_its_alter(
    request: pytest.FixtureRequest, server: str, column: str
) -> None:
    db: Database = request.getfixturevalue(server)
    if db.kind == "postgresql":
        db.run(
            "CREATE COLLATION {table}_ci (provider = icu, locale = 'und-u-ks-level2', "
            "deterministic = false)"
        )
    db.run(f"CREATE TABLE {{table}} (id {column} NOT NULL PRIMARY KEY, count INT)")
    some = {"id": "id", "count": "count"}
    try:
        with pytest.raises(ConfigurationError, match="key id takes different texts") as caught:
            db.deliver(columns=some)
        if db.kind == "sqlite":
            return
        db.run(str(caught.value).partition("\n\n")[2])
        db.deliver([put("abc", 1), put("ABC", 2, count=2)], [gone("abc", 3)], columns=some)
        assert counts(db) == {"ABC": 2}
    finally:
        if db.kind == "postgresql":
            db.run("DROP TABLE {table}")
            db.run("DROP COLLATION {table}_ci")


INEXACT = [
    ("mariadb", "ALTER TABLE {table} ADD UNIQUE (id(3))"),
    ("postgres", "CREATE UNIQUE INDEX {table}_i ON {table} (id) WHERE count > 0"),
    ("postgres", "ALTER TABLE {table} ADD UNIQUE (id) DEFERRABLE"),
    ("sqlite", "CREATE UNIQUE INDEX {table}_i ON {table} (id) WHERE count > 0"),
    ("sqlite", "CREATE UNIQUE INDEX {table}_i ON {table} (id COLLATE NOCASE)"),
]


@pytest.mark.parametrize(("server", "index"), INEXACT)
def test_an_index_that_looks_at_a_part_is_no_key(
    request: pytest.FixtureRequest, server: str, index: str
) -> None:
    db: Database = request.getfixturevalue(server)
    db.run("CREATE TABLE {table} (id {key} NOT NULL, count INT)")
    db.run(index)
    with pytest.raises(ConfigurationError, match="unique index on id"):
        db.deliver(columns={"id": "id", "count": "count"})


def test_a_key_that_may_be_null_is_refused_with_its_alter(db: Database) -> None:
    db.run("CREATE TABLE {table} (id {key}, v INT)")
    db.run("CREATE UNIQUE INDEX {table}_key ON {table} (id)")
    nullable = typed("int", key=["null", "string"])
    with pytest.raises(ConfigurationError, match="key id may be NULL") as caught:
        db.deliver(type=nullable)
    if db.kind != "sqlite":
        db.run(str(caught.value).partition("\n\n")[2])
        db.deliver([make_event("a", {"id": "a", "v": 1}, offset=1)], type=nullable)


def test_a_null_in_the_key_is_rejected(db: Database) -> None:
    event = make_event("a", {"id": None, "v": 1}, offset=1)
    with pytest.raises(Rejected, match=r"key \(id\) is null"):
        db.deliver([event], type=typed("int"))


def test_blanks_at_a_keys_end_are_refused_where_they_do_not_count(mariadb: Database) -> None:
    """``a `` would be the row of ``a``: its update would overwrite, its delete delete it."""
    batch = [put("a", 1), put("a ", 2, count=2), gone("a ", 3)]
    with pytest.raises(PartialFailure) as caught:
        mariadb.deliver(batch)
    assert sorted(caught.value.failures) == [1, 2]
    assert counts(mariadb) == {"a": 1}


@pytest.mark.parametrize(
    ("column", "key"),
    [("id", "customer:a"), ("big", "1"), ("big", "a"), ("day", "2024-03-01"), ("id", '["a","b"]')],
)
def test_an_upsert_that_its_delete_would_miss_is_rejected(
    sqlite: Database, column: str, key: str
) -> None:
    with pytest.raises(Rejected, match="key is not that of its row"):
        sqlite.deliver([make_event(key, rich("a"), offset=1)], key=column)
    assert sqlite.rows() == []


@pytest.mark.parametrize(
    ("column", "keys"),
    [
        ("price", ["1234.50", "1234.5", "1234.500"]),
        ("at", ["2024-02-29 12:30:00.123456+00", "2024-02-29T14:30:00.123456+02:00"]),
        ("active", ["true", "True"]),
    ],
)
def test_a_key_written_in_another_way_is_the_same_key(
    postgres: Database, column: str, keys: list[str]
) -> None:
    events: list[Event[Any]] = []
    for n, key in enumerate(keys):
        events += [make_event(key, rich("a", count=n), offset=2 * n), gone(key, 2 * n + 1)]
    last = make_event(keys[-1], rich("a", count=9), offset=99)
    postgres.deliver([*events, last], [gone(keys[0], 50)], key=column)
    assert counts(postgres) == {"a": 9}


def test_flows_whose_names_hold_retry_have_positions_of_their_own(sqlite: Database) -> None:
    """Their inboxes are two, though both names begin with ``pay``."""
    eu, us = "pay.retry.eu.mart.inbox", "pay.retry.us.mart.inbox"
    sqlite.deliver([put("a", 100, count=1, topic=eu)], [put("a", 3, count=2, topic=us)])
    assert counts(sqlite) == {"a": 2}
