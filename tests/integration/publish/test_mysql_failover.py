"""MySqlCDC and a replica that takes over: its log is another one, and GTIDs prove whether it has
all that was read, and all that came after. Two MariaDB servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mysql_kit import PATIENCE, Database, count, read, refused, running, start, streaming
from reading_kit import folded, snapshot_keys
from trunkline.connectors.mysql import MySqlCDC
from worker_kit import eventually

Pair = tuple[Database, Database]


@pytest.fixture(scope="module")
def servers(server_home: Path) -> Iterator[tuple[str, str]]:
    settings = ("--log-slave-updates", "--slave-connections-needed-for-purge=0")
    with (
        running(server_home / "mariadb-primary", *settings) as primary,
        running(server_home / "mariadb-replica", *settings, "--server-id=2") as replica,
    ):
        yield primary, replica


@pytest.fixture
def pair(servers: tuple[str, str], topic: Any) -> Iterator[Pair]:
    """The database on the primary, and its copy, which follows; both logs begin."""
    name = topic("failover")
    primary, replica = (Database(server, name) for server in servers)
    root, copy = (Database(server, "mysql") for server in servers)
    for server in (copy, root):
        server.run("RESET MASTER")
    copy.run("SET GLOBAL gtid_slave_pos = ''")
    root.run(f"CREATE DATABASE `{name}`")
    copy.run(
        "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = 'root', "
        "MASTER_SSL = 0, MASTER_USE_GTID = slave_pos",
        primary.host,
        primary.port,
    )
    copy.run("START SLAVE")
    primary.run("CREATE TABLE t (id int PRIMARY KEY, a int)")
    primary.run("INSERT INTO t VALUES (1, 1)")
    copied(primary, copy)
    try:
        yield primary, replica
    finally:
        copy.run("STOP SLAVE")
        copy.run("RESET SLAVE ALL")
        for server in (root, copy):
            server.run(f"DROP DATABASE `{name}`")


def copied(primary: Database, replica: Database) -> None:
    """Returns when the replica has all that the primary has."""
    ((state,),) = primary.run("SELECT @@gtid_binlog_pos")
    assert replica.run("SELECT MASTER_GTID_WAIT(%s, %s)", state, PATIENCE) == [(0,)]


def source_of(database: Database, **more: Any) -> MySqlCDC:
    return MySqlCDC(database.dsn, ["t"], **more)


def test_a_server_that_has_all_is_followed(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """The position is in the middle of the former one's log; what followed there, and what was
    written since, comes from the new one. Then it is an ordinary position of that."""
    primary, replica = pair
    position = start(source_of(primary))
    primary.run("INSERT INTO t VALUES (2, 2)")
    records, position = read(source_of(primary), position, until=count(1))
    primary.run("INSERT INTO t VALUES (3, 3)")
    copied(primary, replica)
    replica.run("FLUSH BINARY LOGS")
    replica.run("STOP SLAVE")
    replica.run("INSERT INTO t VALUES (4, 4)")
    records, position = read(source_of(replica), position, until=count(2))
    assert [record.key for record in records] == ["3", "4"]
    assert "has taken over" in caplog.text
    assert position["server"].startswith("2/")
    replica.run("DELETE FROM t WHERE id = 1")
    records, _ = read(source_of(replica), position, until=count(1))
    assert [(record.change, record.key) for record in records] == [("delete", "1")]


def test_one_that_has_nothing_new_is_followed_from_its_end(pair: Pair) -> None:
    primary, replica = pair
    position = start(source_of(primary))
    replica.run("STOP SLAVE")
    _, position = read(source_of(replica), position, until=lambda *_: True)
    replica.run("INSERT INTO t VALUES (2, 2)")
    records, _ = read(source_of(replica), position, until=count(1))
    assert [record.key for record in records] == ["2"]


def test_and_back_again(pair: Pair) -> None:
    """The former primary knows its own transactions and those of the one that was it meanwhile."""
    primary, replica = pair
    position = start(source_of(primary))
    replica.run("STOP SLAVE")
    replica.run("INSERT INTO t VALUES (2, 2)")
    _, position = read(source_of(replica), position, until=count(1))
    primary.run(
        "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = 'root', "
        "MASTER_SSL = 0, MASTER_USE_GTID = current_pos",
        replica.host,
        replica.port,
    )
    primary.run("START SLAVE")
    try:
        eventually(lambda: primary.run("SELECT 1 FROM t WHERE id = 2"), "the copy", PATIENCE)
    finally:
        primary.run("STOP SLAVE")
        primary.run("RESET SLAVE ALL")
    primary.run("INSERT INTO t VALUES (3, 3)")
    records, _ = read(source_of(primary), position, until=count(1))
    assert [record.key for record in records] == ["3"]


def test_a_transaction_in_part_is_given_out_again(pair: Pair) -> None:
    primary, replica = pair
    position = start(source_of(primary))
    primary.transaction(*(f"INSERT INTO t VALUES ({id}, 0)" for id in range(10, 20)))
    copied(primary, replica)
    part, position = read(source_of(primary, batch=3), position, until=count(3))
    assert position["events"]
    records, _ = read(source_of(replica), position, until=count(10))
    assert [record.key for record in records] == [str(id) for id in range(10, 20)]
    assert [record.id for record in part] == [record.id for record in records[: len(part)]]


def test_a_snapshot_goes_on_at_the_one_that_took_over(pair: Pair) -> None:
    primary, replica = pair
    primary.run("INSERT INTO t SELECT seq, 0 FROM seq_10_to_5000")
    first, position = read(source_of(primary, batch=500), until=count(1_000))
    primary.run("DELETE FROM t WHERE id = 1")
    copied(primary, replica)
    rest, _ = read(source_of(replica, batch=500), position, until=streaming)
    keys = snapshot_keys(first + rest)
    assert len(keys) == len(set(keys)) == 4_992
    assert set(folded(first + rest)) == {str(id) for id in range(10, 5_001)}


def test_what_was_read_and_not_replicated_is_said(pair: Pair) -> None:
    primary, replica = pair
    position = start(source_of(primary))
    replica.run("STOP SLAVE")
    primary.run("INSERT INTO t VALUES (2, 2)")
    _, position = read(source_of(primary), position, until=count(1))
    assert "were not replicated" in refused(source_of(replica), position)
    replica.run("INSERT INTO t VALUES (3, 3)")
    replica.run("INSERT INTO t VALUES (4, 4)")
    assert "were not replicated" in refused(source_of(replica), position)


def test_what_was_purged_there_is_said(pair: Pair) -> None:
    primary, replica = pair
    position = start(source_of(primary))
    primary.run("INSERT INTO t VALUES (2, 2)")
    copied(primary, replica)
    replica.run("STOP SLAVE")
    replica.run("FLUSH BINARY LOGS")

    def purged() -> bool:
        ((newest, *_), *_) = replica.run("SHOW MASTER STATUS")
        replica.run("PURGE BINARY LOGS TO %s", newest)
        return len(replica.run("SHOW BINARY LOGS")) == 1

    eventually(purged, "the server purges", PATIENCE)
    assert "has purged what comes after" in refused(source_of(replica), position)


@pytest.mark.parametrize(
    ("domain", "said"), [(0, "has 0-2-"), (1, "transactions that the former server did not have")]
)
def test_what_was_written_into_the_replica_is_said(pair: Pair, domain: int, said: str) -> None:
    """Before the position: what follows is all there, and this would never be told."""
    primary, replica = pair
    with closing(replica.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION gtid_domain_id = %s", (domain,))
        cursor.execute("INSERT INTO t VALUES (99, 99)")
    position = start(source_of(primary))
    for id in range(2, 5):
        primary.run("INSERT INTO t VALUES (%s, 0)", id)
    _, position = read(source_of(primary), position, until=count(3))
    copied(primary, replica)
    told = refused(source_of(replica), position)
    assert said in told
    assert "is of server 1/" in told
