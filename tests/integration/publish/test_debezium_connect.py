"""DebeziumSource reads what a real Debezium writes of a real PostgreSQL, in JSON and in Avro."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import debezium_connect
from foreign_kafka import read
from trunkline.connectors.base import Batch, Position
from trunkline.connectors.debezium import UNCHANGED, DebeziumSource
from trunkline.connectors.kafka import KafkaCluster
from trunkline.event import Record
from trunkline.local.stack import Endpoints

pytestmark = pytest.mark.timeout(400)

TABLE = "everything"
MAKE = f"""
CREATE TABLE {TABLE} (
    id bigint, part text, price numeric(10,2), free numeric, day date, at timestamp(6),
    zoned timestamptz, clock time(6), doc jsonb, tag uuid, raw bytea, flags bit(5), list int[],
    big text, ok boolean, ratio float8, spot point, PRIMARY KEY (id, part)
);
ALTER TABLE {TABLE} ALTER COLUMN big SET STORAGE EXTERNAL;
"""
ROW = f"""
INSERT INTO {TABLE} VALUES (%s, 'a', 12.30, 1.000000000000000000001, '2024-02-29',
    '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00.5+02', '23:59:59.999999',
    '{{"n": 12345678901234567890.5, "a": [1, null]}}', '3b241101-e2bb-4255-8caf-4136c566a962',
    '\\x00ff', B'10110', '{{1,NULL,3}}', repeat('x', 5000), true, 0.1, '(1,2)')
"""
VALUES: dict[str, Any] = {
    "part": "a",
    "price": Decimal("12.30"),
    "free": Decimal("1.000000000000000000001"),
    "day": date(2024, 2, 29),
    "at": datetime(2024, 2, 29, 12, 0, 0, 1),
    "zoned": datetime(2024, 2, 29, 10, 0, 0, 500_000, UTC),
    "clock": time(23, 59, 59, 999_999),
    "doc": {"n": Decimal("12345678901234567890.5"), "a": [1, None]},
    "tag": uuid.UUID("3b241101-e2bb-4255-8caf-4136c566a962"),
    "raw": b"\x00\xff",
    "flags": 0b10110,
    "list": [1, None, 3],
    "big": "x" * 5000,
    "ok": True,
    "ratio": 0.1,
}


@pytest.fixture(scope="module")
def home(server_home: Path) -> Path:
    folder = server_home / f"c{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def run(postgres_dsn: str, home: Path) -> Iterator[Callable[[str], None]]:
    """Runs SQL in a database of this module's own, each statement in a transaction."""
    with closing(psycopg2.connect(postgres_dsn)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"CREATE DATABASE {home.name}")
    with closing(psycopg2.connect(database(postgres_dsn, home))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        yield cursor.execute


def database(dsn: str, home: Path) -> str:
    return f"{dsn.rpartition('/')[0]}/{home.name}"


@pytest.fixture(scope="module")
def prefixes(
    stack: Endpoints, postgres_dsn: str, run: Callable[[str], None], home: Path
) -> Iterator[dict[str, str]]:
    run(MAKE)
    for id in (1, 2):
        run(ROW.replace("%s", str(id)))
    dsn = database(postgres_dsn, home)
    with debezium_connect.running(stack, dsn, f"public.{TABLE}", home) as running:
        yield running


def source(stack: Endpoints, form: Any, *topics: str) -> DebeziumSource:
    cluster = KafkaCluster(stack.bootstrap, registry=stack.registry)
    return DebeziumSource(cluster, topics, format=form, interval="200ms", metadata_field="_meta")


def seen(records: list[Record]) -> list[tuple[str, str]]:
    return [(record.change, record.key) for record in records]


def test_rows_and_changes_of_every_type_are_what_they_were(
    stack: Endpoints, prefixes: dict[str, str], run: Callable[[str], None]
) -> None:
    """Snapshot, changes, a value that was left alone, a column that is added, deletes with their
    tombstones, a truncate: the same in both forms."""
    tops = {form: f"{prefix}.public.{TABLE}" for form, prefix in prefixes.items()}
    positions: dict[str, Position] = {}
    for form, topic in tops.items():
        records, positions[form] = read(
            source(stack, form, topic),
            until=lambda records, _: len(records) >= 2,
            patience=150,  # it is the start of Kafka Connect that takes so long
        )
        assert seen(records) == [("snapshot", '["1","a"]'), ("snapshot", '["2","a"]')]
        for id, record in enumerate(records, 1):
            assert record.unreadable is None
            row = dict(record.data)
            assert row.pop("_meta")["source"]["table"] == TABLE
            spot = row.pop("spot")
            assert (spot["x"], spot["y"], type(spot["wkb"])) == (1.0, 2.0, bytes)
            assert row == {"id": id, **VALUES}
            assert {name: type(value) for name, value in row.items()} == {
                name: type(value) for name, value in {"id": id, **VALUES}.items()
            }
    run(f"UPDATE {TABLE} SET price = -0.05 WHERE id = 1")
    run(f"ALTER TABLE {TABLE} ADD COLUMN more numeric(5,1) DEFAULT 2.5")
    run(f"UPDATE {TABLE} SET ok = false, big = 'y' WHERE id = 1")
    run(f"DELETE FROM {TABLE} WHERE id = 2")
    run(f"UPDATE {TABLE} SET part = 'b' WHERE id = 1")
    run(f"TRUNCATE {TABLE}")
    for form, topic in tops.items():
        records, _ = read(
            source(stack, form, topic),
            positions[form],
            until=lambda records, batch: seen(records)[-1:] == [("truncate", "")],
            patience=30,
        )
        assert [record.unreadable for record in records if record.unreadable] == []
        assert seen(records) == [
            ("update", '["1","a"]'),
            ("update", '["1","a"]'),
            ("delete", '["2","a"]'),
            ("delete", '["1","a"]'),
            ("create", '["1","b"]'),
            ("truncate", ""),
        ]
        first, second, gone, _, moved, _ = records
        assert (first.data["price"], first.data["big"]) == (Decimal("-0.05"), UNCHANGED)
        assert (second.data["more"], second.data["big"]) == (Decimal("2.5"), "y")
        assert (gone.data["id"], gone.data["part"]) == (2, "a")
        assert (moved.data["part"], moved.data["ok"]) == ("b", False)


def test_transactions_are_told_where_their_topic_is_named(
    stack: Endpoints, prefixes: dict[str, str], run: Callable[[str], None]
) -> None:
    run(f"BEGIN; {ROW.replace('%s', '8')}; {ROW.replace('%s', '9')}; COMMIT")
    for form, prefix in prefixes.items():

        def both(records: list[Record], batch: Batch) -> bool:
            return bool(records) and counted(records)[-1:] == [2]

        records, _ = read(source(stack, form, f"{prefix}.transaction"), until=both, patience=60)
        end = [r for r in records if r.data["event_count"] == 2][-1]
        begin = records[records.index(end) - 1]
        assert (begin.data["status"], end.data["status"]) == ("BEGIN", "END")
        assert (begin.key, end.key) == (begin.data["id"], end.data["id"])


def counted(records: list[Record]) -> list[int]:
    return [record.data["event_count"] for record in records if record.data["event_count"]]
