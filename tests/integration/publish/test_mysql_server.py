"""MySqlCDC and what becomes of the server's log: purged, made anew, set otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mysql_kit import PATIENCE, Database, count, new_database, read, start, streaming
from trunkline.connectors.mysql import MySqlCDC
from trunkline.connectors.mysql.address import parse
from trunkline.connectors.mysql.preflight import Server, ask, require_same
from trunkline.connectors.mysql.session import connect
from trunkline.errors import ConfigurationError, SourceError


@pytest.fixture
def database(mariadb_url: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(mariadb_url, topic("cdc")) as made:
        made.run("CREATE TABLE t (id int PRIMARY KEY, a int)")
        yield made


def source_of(database: Database, **more: Any) -> MySqlCDC:
    return MySqlCDC(database.dsn, ["t"], **more)


def refused(database: Database, position: dict[str, Any] | None = None) -> str:
    source, stop = source_of(database), threading.Event()
    timer = threading.Timer(PATIENCE, stop.set)
    timer.start()
    try:
        with pytest.raises(ConfigurationError) as raised:
            list(source.read(position, stop))
    finally:
        timer.cancel()
        source.close()
    return str(raised.value)


def faults_of(database: Database) -> dict[str, str]:
    """What ``trunkline source check`` tells, and what mends it."""
    return {one.what: one.mend for one in source_of(database).check() if not one.warning}


def test_no_limit_of_the_server_cuts_a_snapshot_off(database: Database) -> None:
    database.run("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
    database.run("SET GLOBAL sql_select_limit = 1")
    try:
        records, _ = read(source_of(database), until=streaming)
    finally:
        database.run("SET GLOBAL sql_select_limit = DEFAULT")
    assert [record.key for record in records] == ["1", "2", "3"]


def purged_to_the_newest(database: Database) -> bool:
    """Whether only the newest file is left: the engines may need an older one for a moment."""
    ((newest, *_), *_) = database.run("SHOW MASTER STATUS")
    database.run("PURGE BINARY LOGS TO %s", newest)
    return len(database.run("SHOW BINARY LOGS")) == 1


def test_a_log_that_was_purged_is_said(database: Database) -> None:
    position = start(source_of(database))
    database.run("SET GLOBAL slave_connections_needed_for_purge = 0")
    database.run("INSERT INTO t VALUES (1, 1)")
    database.run("FLUSH BINARY LOGS")
    deadline = time.monotonic() + PATIENCE
    while not purged_to_the_newest(database):
        assert time.monotonic() < deadline, "the server does not purge"
        time.sleep(0.05)
    database.run("SET GLOBAL slave_connections_needed_for_purge = 1")
    assert "purged what comes after the stored position" in refused(database, position)


def test_a_log_that_was_made_anew_is_said(database: Database) -> None:
    database.run("INSERT INTO t VALUES (1, 1)")
    _, unfinished = read(source_of(database), until=lambda _, at: "left" in at)
    ahead = unfinished | {"at": unfinished["at"] + 10_000_000}
    assert "ahead of the server" in refused(database, ahead)
    _, position = read(source_of(database), unfinished, until=lambda _, at: "left" not in at)
    assert position["made"]
    older = position | {"made": position["made"] - 60}
    assert "was made anew" in refused(database, older)
    ahead = position | {"at": position["at"] + 10_000_000}
    assert "ahead of the server" in refused(database, ahead)
    other = position | {"server": "9/other", "gtids": {}}
    assert "is of server 9/other" in refused(database, other)
    number = position["server"].split("/")[0]
    moved = position | {"server": f"{number}/before"}  # a container with another network card
    assert "is of server" in refused(database, moved | {"gtids": {"0": "0-77-1"}})
    database.run("INSERT INTO t VALUES (2, 2)")
    assert read(source_of(database), moved, until=count(1))[1]["server"] == position["server"]


def test_a_second_connection_that_leads_to_another_server_is_refused(database: Database) -> None:
    session = connect(parse(database.dsn)[0], threading.Event())
    try:
        server = ask(session)
        require_same(session, server)
        other = Server({**server.variables, "server_uid": "other", "server_uuid": "other"})
        with pytest.raises(SourceError, match="let dsn name one server"):
            require_same(session, other)
    finally:
        session.close()


def test_a_new_file_and_a_restart_of_the_log_are_gone_through(database: Database) -> None:
    position = start(source_of(database))
    for number in range(4):
        database.run("INSERT INTO t VALUES (%s, 0)", number)
        database.run("FLUSH BINARY LOGS")
    records, position = read(source_of(database), position, until=count(4))
    assert [record.key for record in records] == ["0", "1", "2", "3"]
    database.run("INSERT INTO t VALUES (9, 0)")
    records, _ = read(source_of(database), position, until=count(1))
    assert records[0].key == "9"


SETTINGS = {
    "binlog_format": ("MIXED", "ROW"),
    "binlog_row_image": ("MINIMAL", "FULL"),
    "binlog_row_metadata": ("MINIMAL", "FULL"),
    "binlog_expire_logs_seconds": (3600, 0),
}


def test_settings_that_lose_changes_are_refused_all_at_once(database: Database) -> None:
    position = start(source_of(database))
    try:
        for name, (wrong, _) in SETTINGS.items():
            database.run(f"SET GLOBAL {name} = %s", wrong)
        for at in (None, position):
            said = refused(database, at)
            for name in SETTINGS:
                assert f"SET GLOBAL {name} = " in said
        statements = [part.split(";")[0] + ";" for part in said.split("run ")[1:]]
        assert faults_of(database) == dict(zip(said.split("\n"), statements, strict=True))
        for statement in statements:  # what the message says to run, as it stands
            database.run(statement)
        assert not faults_of(database)
        assert read(source_of(database), position, until=lambda *_: True)
    finally:
        for name, (_, right) in SETTINGS.items():
            database.run(f"SET GLOBAL {name} = %s", right)
