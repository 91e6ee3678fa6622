"""Values that PostgreSQL does not send as they did not change, asked of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pg_kit import Database, count, new_database, read, start
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.postgres.values import UNCHANGED


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("toast")) as made:
        # Each value is kept outside of its row, uncompressed.
        made.run(
            "CREATE TABLE docs (tenant text, id int, n int, body text, PRIMARY KEY (id, tenant))"
        )
        made.run("ALTER TABLE docs ALTER body SET STORAGE EXTERNAL")
        made.run(
            "INSERT INTO docs SELECT 't', n, 0, n || repeat('x', 9000) FROM generate_series(1, 4) n"
        )
        yield made


def source_of(database: Database, **more: Any) -> PostgresCDC:
    return PostgresCDC(database.dsn, ["docs"], slot=database.name.replace("-", "_"), **more)


def test_what_was_not_sent_is_looked_up_by_key(database: Database) -> None:
    position = start(source_of(database))
    database.run("UPDATE docs SET n = 1 WHERE id = 1; UPDATE docs SET id = 22 WHERE id = 2")
    records, _ = read(source_of(database), position, until=count(3), acknowledge=False)
    assert [r.data["body"] for r in records if "body" in r.data] == [UNCHANGED, UNCHANGED]
    source = source_of(database, unchanged="reselect")
    records, _ = read(source, position, until=count(3))
    assert [(r.change, r.data.get("body", "")[:2]) for r in records] == [
        ("update", "1x"),
        ("delete", ""),
        ("create", "2x"),
    ]
    assert all(len(r.data.get("body", "x" * 9001)) == 9001 for r in records)


def test_a_row_that_is_gone_is_told_by_its_delete(database: Database) -> None:
    position = start(source_of(database))
    database.run("UPDATE docs SET n = 1 WHERE id = 3")
    database.run("DELETE FROM docs WHERE id = 3; UPDATE docs SET n = 2 WHERE id = 4")
    records, _ = read(source_of(database, unchanged="reselect"), position, until=count(2))
    assert [(r.change, r.key) for r in records] == [
        ("delete", '["t","3"]'),
        ("update", '["t","4"]'),
    ]


def test_what_is_found_may_be_newer_and_then_its_change_follows(database: Database) -> None:
    position = start(source_of(database))
    database.run("UPDATE docs SET n = 1 WHERE id = 1")
    database.run("UPDATE docs SET body = 'new' WHERE id = 1")
    records, _ = read(source_of(database, unchanged="reselect"), position, until=count(2))
    assert [(r.data["n"], r.data["body"]) for r in records] == [(1, "new"), (1, "new")]
