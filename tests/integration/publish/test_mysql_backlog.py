"""How much of MySQL's log waits for a source, and when the server purges it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from mysql_kit import Database, count, new_database, read, start
from trunkline.connectors.base import Gauge, Position
from trunkline.connectors.mysql import MySqlCDC

DAY = 86_400


@pytest.fixture
def database(mariadb_url: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(mariadb_url, topic("backlog")) as made:
        made.run("CREATE TABLE t (id int PRIMARY KEY, n int)")
        yield made


def source_of(database: Database) -> MySqlCDC:
    return MySqlCDC(database.dsn, ["t"])


def gauges(database: Database, position: Position) -> dict[str, Gauge]:
    return {one.name: one for one in source_of(database).gauges(position, threading.Event())}


def test_what_waits_and_for_how_long_it_is_kept(database: Database) -> None:
    position = start(source_of(database))
    before = gauges(database, position)
    assert "left_seconds" not in before, "the newest file is never purged"
    database.run("INSERT INTO t VALUES (1, 1)")
    database.run("SET GLOBAL binlog_expire_logs_seconds = %s", 3 * DAY)
    try:
        database.run("FLUSH BINARY LOGS")
        found = gauges(database, position)
        assert found["behind_bytes"].value > before["behind_bytes"].value
        assert 3 * DAY - 60 < found["left_seconds"].value <= 3 * DAY
        assert not any(one.warning for one in found.values())

        database.run("SET GLOBAL binlog_expire_logs_seconds = 0")
        assert "left_seconds" not in gauges(database, position), "kept for ever"

        _, position = read(source_of(database), position, until=count(1))
        database.run("INSERT INTO t VALUES (2, 2)")
        _, position = read(source_of(database), position, until=count(1))
        assert "left_seconds" not in gauges(database, position), "it stands in the newest file"
    finally:
        database.run("SET GLOBAL binlog_expire_logs_seconds = 0")


def test_a_purge_that_comes_near_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = start(source_of(database))
    database.run("INSERT INTO t VALUES (1, 1)")
    database.run("FLUSH BINARY LOGS")
    database.run("SET GLOBAL binlog_expire_logs_seconds = %s", DAY)
    try:
        monkeypatch.setattr("trunkline.connectors.mysql.backlog._LITTLE", 1.01)
        found = gauges(database, position)
        assert "may purge" in found["left_seconds"].warning
        assert "binlog_expire_logs_seconds is 86,400" in found["left_seconds"].warning
    finally:
        database.run("SET GLOBAL binlog_expire_logs_seconds = 0")


def test_a_log_that_is_purged_by_its_size(database: Database) -> None:
    position = start(source_of(database))
    ((before,),) = database.run("SELECT @@max_binlog_total_size")
    database.run("SET GLOBAL max_binlog_total_size = 1000000000")
    try:
        found = gauges(database, position)
        assert 9e8 < found["left_bytes"].value < 1e9
        assert not found["left_bytes"].warning
    finally:
        database.run("SET GLOBAL max_binlog_total_size = %s", before)


def test_a_file_that_is_gone_and_a_source_without_a_position_in_the_log(
    database: Database,
) -> None:
    position = start(source_of(database))
    found = gauges(database, position | {"file": "binlog.999999"})
    assert found["left_seconds"].value == 0
    assert "changes are lost" in found["left_seconds"].warning
    assert gauges(database, {"phase": "snapshot", "attempt": 1}) == {}
