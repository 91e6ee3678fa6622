"""Values of every type on a real MariaDB: the same from the snapshot as from the log, none lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from mysql_kit import Database, count, new_database, read, streaming
from trunkline.connectors.mysql import MySqlCDC
from trunkline.errors import ConfigurationError

LABELS = ",".join(f"'v{number}'" for number in range(64))
MANY = ",".join(f"'v{number}'" for number in range(300))
VALUES: list[tuple[str, dict[str, Any]]] = [
    ("tinyint", {"-128": -128, "127": 127}),
    ("tinyint unsigned", {"255": 255}),
    ("smallint", {"-32768": -32768}),
    ("smallint unsigned", {"65535": 65535}),
    ("mediumint", {"-8388608": -8388608, "8388607": 8388607}),
    ("mediumint unsigned", {"16777215": 16777215}),
    ("year", {"0": 0, "1901": 1901, "2155": 2155}),
    ("int", {"-2147483648": -(2**31)}),
    ("int unsigned", {"4294967295": 2**32 - 1}),
    ("bigint", {"-9223372036854775808": -(2**63)}),
    ("bigint unsigned", {"18446744073709551615": 2**64 - 1}),
    (
        "decimal(65,30)",
        {
            f"'-{'12345' * 7}.{'12345' * 6}'": Decimal(f"-{'12345' * 7}.{'12345' * 6}"),
            "'1e-30'": Decimal("1e-30"),
            "0": Decimal("0e-30"),
        },
    ),
    ("decimal(10,2)", {"-1.5": Decimal("-1.50"), "99999999.99": Decimal("99999999.99")}),
    ("decimal(9,0)", {"-999999999": Decimal(-999999999), "7": Decimal(7)}),
    ("decimal(18,9)", {"-0.000000001": Decimal("-1e-9")}),
    ("decimal(5,5)", {"0.12345": Decimal("0.12345"), "-0.00001": Decimal("-0.00001")}),
    ("float", {"0.5": 0.5, "0.1": 0.10000000149011612, "16777217": 16777216.0}),
    ("double", {"0.1": 0.1, "1.7976931348623157e308": 1.7976931348623157e308}),
    ("bit(1)", {"b'1'": 1, "b'0'": 0}),
    ("bit(9)", {"257": 257}),
    ("bit(64)", {"18446744073709551615": 2**64 - 1}),
    ("char(10)", {"'ab  '": "ab", "''": "", "'ä€😀'": "ä€😀"}),
    ("varchar(300)", {"'x '": "x ", "'😀'": "😀"}),
    ("varchar(20) character set latin1", {"'€äÿ'": "€äÿ", "x'818d'": "\x81\x8d"}),
    ("varchar(20) character set utf8mb3", {"'€ä'": "€ä"}),
    ("varchar(20) character set utf16", {"'a€😀'": "a€😀"}),
    ("varchar(9) character set sjis", {"'日本'": "日本"}),
    ("char(255)", {"'ä'": "ä"}),
    ("binary(5)", {"'a'": b"a\0\0\0\0", "x'0100020000'": b"\1\0\2\0\0"}),
    ("binary(255)", {"x'00'": bytes(255)}),
    ("varbinary(300)", {"x'00ff00'": b"\0\xff\0"}),
    ("text", {"'long'": "long", "repeat('ä', 20000)": "ä" * 20000}),
    ("mediumtext", {"repeat('x', 70000)": "x" * 70000}),
    ("blob", {"x'0001'": b"\0\1"}),
    ("longblob", {"repeat('y', 70000)": b"y" * 70000}),
    ("enum('a','ö')", {"'a'": "a", "'ö'": "ö", "''": "", "'none of them'": ""}),
    (f"enum({MANY})", {"'v299'": "v299"}),
    ("set('a','b','ö')", {"''": "", "'a,b,ö'": "a,b,ö", "'b'": "b"}),
    (f"set({LABELS})", {"'v0,v63'": "v0,v63"}),
    (
        "date",
        {
            "'2024-02-29'": date(2024, 2, 29),
            "'0000-00-00'": "0000-00-00",
            "'2024-00-10'": "2024-00-10",
            "'0000-01-01'": "0000-01-01",
            "'9999-12-31'": date(9999, 12, 31),
        },
    ),
    (
        "datetime",
        {
            "'2024-02-29 12:34:56'": datetime(2024, 2, 29, 12, 34, 56),
            "'0000-00-00 00:00:00'": "0000-00-00 00:00:00",
            "'2024-00-00 01:02:03'": "2024-00-00 01:02:03",
        },
    ),
    (
        "datetime(1)",
        {
            "'2024-02-29 12:34:56.7'": datetime(2024, 2, 29, 12, 34, 56, 700_000),
            "'0000-00-00 00:00:00'": "0000-00-00 00:00:00.0",
        },
    ),
    ("datetime(6)", {"'1000-01-01 00:00:00.000001'": datetime(1000, 1, 1, 0, 0, 0, 1)}),
    (
        "timestamp null",
        {
            "'2024-02-29 12:34:56'": datetime(2024, 2, 29, 7, 4, 56, tzinfo=UTC),
            "'0000-00-00 00:00:00'": "0000-00-00 00:00:00",
            "'2038-01-19 03:14:07'": datetime(2038, 1, 18, 21, 44, 7, tzinfo=UTC),
        },
    ),
    (
        "timestamp(3) null",
        {"'2024-02-29 12:34:56.123'": datetime(2024, 2, 29, 7, 4, 56, 123_000, tzinfo=UTC)},
    ),
    (
        "time",
        {
            "'12:34:56'": time(12, 34, 56),
            "'-838:59:59'": "-838:59:59",
            "'24:00:00'": "24:00:00",
            "'-00:00:01'": "-00:00:01",
        },
    ),
    (
        "time(6)",
        {
            "'-12:34:56.000001'": "-12:34:56.000001",
            "'-00:00:00.5'": "-00:00:00.500000",
            "'23:59:59.999999'": time(23, 59, 59, 999_999),
        },
    ),
    ("time(2)", {"'-1:00:00.25'": "-01:00:00.25", "'100:00:00.01'": "100:00:00.01"}),
    ("time(3)", {"'-1:00:00.001'": "-01:00:00.001"}),
    ("json", {"'{\"a\": 1.50}'": '{"a": 1.50}'}),
    ("point", {"POINT(1,2)": b"\0\0\0\0" + bytes.fromhex("01010000") + b"\0"
               + bytes.fromhex("000000000000f03f0000000000000040")}),
]  # fmt: skip
ROWS = [(number, text) for number, (_, values) in enumerate(VALUES) for text in values]
EXPECTED = [value for _, values in VALUES for value in values.values()]


@pytest.fixture
def database(mariadb_url: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(mariadb_url, topic("values")) as made:
        columns = ", ".join(f"c{number} {type_}" for number, (type_, _) in enumerate(VALUES))
        made.run(f"CREATE TABLE t (id int PRIMARY KEY, {columns}) CHARACTER SET utf8mb4")
        yield made


def fill(database: Database, begin: int) -> None:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = '', time_zone = '+05:30'")
        for key, (number, text) in enumerate(ROWS, start=begin):
            cursor.execute(f"INSERT INTO t (id, c{number}) VALUES ({key}, {text})")


def test_each_value_is_the_same_both_ways_and_none_is_lost(database: Database) -> None:
    fill(database, 0)
    snapshot, position = read(MySqlCDC(database.dsn, ["t"]), until=streaming)
    fill(database, 1000)
    changes, _ = read(MySqlCDC(database.dsn, ["t"]), position, until=count(len(ROWS)))
    for (number, text), expected, row, change in zip(
        ROWS, EXPECTED, snapshot, changes, strict=True
    ):
        told = f"{VALUES[number][0]} {text}"
        name = f"c{number}"
        assert (row.data[name], type(row.data[name])) == (expected, type(expected)), told
        assert repr(change.data[name]) == repr(row.data[name]), told
        assert sum(value is not None for value in change.data.values()) == 2, told


def test_a_key_is_the_same_text_both_ways(database: Database) -> None:
    keys = {
        "decimal(10,4)": ("1.5", "1.5000"),
        "datetime(3)": ("'2024-01-02 03:04:05.5'", "2024-01-02 03:04:05.500000"),
        "timestamp": ("'2024-01-02 03:04:05'", "2024-01-02 03:04:05"),
        "binary(3)": ("x'ff00'", "ff0000"),
        "bigint unsigned": ("18446744073709551615", "18446744073709551615"),
        "enum('a','b')": ("'b'", "b"),
        "varchar(9) character set latin1": ("'€'", "€"),
        "date": ("'2024-01-02'", "2024-01-02"),
    }
    for number, (type_, (text, _)) in enumerate(keys.items()):
        name = f"k{number}"
        database.run(f"CREATE TABLE {name} (k {type_} PRIMARY KEY, a int)")
        database.run(f"INSERT INTO {name} VALUES ({text}, 1)")
    tables = [f"k{number}" for number in range(len(keys))]
    snapshot, position = read(MySqlCDC(database.dsn, tables), until=streaming)
    for name in tables:
        database.run(f"UPDATE {name} SET a = 2")
    changes, _ = read(MySqlCDC(database.dsn, tables), position, until=count(len(keys)))
    assert [record.key for record in snapshot] == [expected for _, expected in keys.values()]
    assert [record.key for record in changes] == [record.key for record in snapshot]


@pytest.mark.parametrize("type_", ["uuid", "inet6", "text compressed"])
def test_a_type_that_cannot_be_read_is_refused_before_the_first_row(
    database: Database, type_: str
) -> None:
    database.run(f"CREATE TABLE odd (id int PRIMARY KEY, a {type_})")
    with pytest.raises(ConfigurationError, match=r"column a \(.*cannot be read"):
        read(MySqlCDC(database.dsn, ["odd"]), until=count(1))


def test_columns_that_the_server_computes_or_hides_are_the_same_both_ways(
    database: Database,
) -> None:
    database.run(
        "CREATE TABLE g (id int PRIMARY KEY, a int, twice int AS (a * 2) VIRTUAL, "
        "next int AS (a + 1) STORED, body text UNIQUE, unseen int INVISIBLE DEFAULT 3)"
    )
    database.run("INSERT INTO g (id, a, body) VALUES (1, 1, 'x')")
    snapshot, position = read(MySqlCDC(database.dsn, ["g"]), until=streaming)
    database.run("UPDATE g SET a = 5")
    database.run("INSERT INTO g (id, a, body) VALUES (2, 1, 'y')")
    changes, _ = read(MySqlCDC(database.dsn, ["g"]), position, until=count(2))
    one = {"id": 1, "a": 1, "twice": 2, "next": 2, "body": "x", "unseen": 3}
    assert snapshot[0].data == one
    assert changes[0].data == one | {"a": 5, "twice": 10, "next": 6}
    assert changes[1].data == one | {"id": 2, "body": "y"}
