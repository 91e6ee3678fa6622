"""MySqlCDC and a log that is another one for real: RESET MASTER; and XA transactions that were
prepared before. On a server of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from mysql_kit import PATIENCE, Database, count, new_database, read, refused, running, start
from reading_kit import Reading
from trunkline.connectors.base import Position
from trunkline.connectors.mysql import MySqlCDC
from worker_kit import eventually


@pytest.fixture(scope="module")
def server(server_home: Path) -> Iterator[str]:
    with running(server_home / "mariadb-anew") as address:
        yield address


@pytest.fixture
def database(server: str, topic: Any) -> Iterator[Database]:
    with new_database(server, topic("anew")) as made:
        made.run("CREATE TABLE t (id int PRIMARY KEY, a int)")
        made.run("CREATE TABLE other (id int PRIMARY KEY)")
        yield made


def source_of(database: Database) -> MySqlCDC:
    return MySqlCDC(database.dsn, ["t"])


def reset(database: Database, position: Position) -> None:
    """Makes the log anew, in another second than the file was made in: it tells no fractions."""
    now = "SELECT UNIX_TIMESTAMP()"
    eventually(lambda: int(database.run(now)[0][0]) > position["made"], "the next second", PATIENCE)
    database.run("RESET MASTER")
    for number in range(100, 200):  # beyond where the old log was read
        database.run("INSERT INTO t VALUES (%s, 0)", number)
    database.run("DELETE FROM t WHERE id >= 100")


def test_a_log_that_was_made_anew_right_after_the_snapshot_is_said(database: Database) -> None:
    position = start(source_of(database))
    reset(database, position)
    assert "was made anew" in refused(source_of(database), position)


def test_a_log_that_is_made_anew_while_it_is_read_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first file has the name that it had before: the server lets the reader wait, or, if it
    notices, ends the stream; then the next start says it."""
    for name in ("_ASK", "_ASK_IDLE"):
        monkeypatch.setattr(f"trunkline.connectors.mysql.changes.{name}", 0.2)
    database.run("RESET MASTER")
    reading = Reading(source_of(database), start(source_of(database)))
    database.run("INSERT INTO t VALUES (1, 1)")
    eventually(lambda: len(reading.records) == 1, "a change", PATIENCE)
    assert reading.position is not None
    reset(database, reading.position)
    error = str(reading.ended())
    assert [record.key for record in reading.records] == ["1"]
    if "ended the stream" in error:
        error = refused(source_of(database), reading.position)
    assert "made anew" in error


@contextmanager
def prepared(database: Database, statement: str) -> Iterator[Any]:
    """An XA transaction that is prepared; then whatever is run ends it."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        for each in ("XA START 'x'", statement, "XA END 'x'", "XA PREPARE 'x'"):
            cursor.execute(each)
        try:
            yield cursor
        finally:  # if it is still there: it would keep the tables for ever
            with suppress(pymysql.Error):
                cursor.execute("XA ROLLBACK 'x'")


def test_an_xa_transaction_from_before_the_snapshot_stops_when_it_is_committed(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Its row is in the log before, and not in the snapshot: no record would tell it."""
    with prepared(database, "INSERT INTO t VALUES (7, 7)") as cursor:
        records, position = read(source_of(database), until=lambda _, at: at["phase"] == "stream")
        assert records == []
        assert "XA transactions are prepared" in caplog.text
        database.run("INSERT INTO t VALUES (1, 1)")
        cursor.execute("XA COMMIT 'x'")
    told = refused(source_of(database), position)
    assert "x'78'" in told
    assert "prepared before the source began" in told


def test_one_that_is_rolled_back_and_those_of_other_tables_do_not(database: Database) -> None:
    with prepared(database, "INSERT INTO t VALUES (7, 7)") as cursor:
        position = start(source_of(database))
        cursor.execute("XA ROLLBACK 'x'")
    with prepared(database, "INSERT INTO other VALUES (7)") as cursor:
        database.run("INSERT INTO t VALUES (1, 1)")
        _, position = read(
            source_of(database), position, until=lambda _, at: len(at.get("xa", ())) == 1
        )
        cursor.execute("XA COMMIT 'x'")
    database.run("INSERT INTO t VALUES (2, 2)")
    records, position = read(source_of(database), position, until=count(1))
    assert [record.key for record in records][-1] == "2"
    assert position["xa"] == []
