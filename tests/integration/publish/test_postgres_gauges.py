"""What PostgreSQL tells of a slot, before it is too late: a server of its own, with limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pg_kit import Database, let_go, new_database, start
from trunkline.connectors.base import Gauge, Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import SourceError
from trunkline.local.ports import free_port
from trunkline.local.postgres import Postgres
from trunkline.local.process import Child

LIMITS = ("--max_slot_wal_keep_size=256MB", "--idle_replication_slot_timeout=10min")


@pytest.fixture(scope="module")
def limited(server_home: Path) -> Iterator[Database]:
    """A server that ends slots: by the WAL that they keep back, and by the time nobody reads."""
    server = Postgres(server_home / "postgres-limited", free_port())
    server.home.mkdir()
    server.prepare()
    command = server.command()
    child = Child(replace(command, arguments=(*command.arguments, *LIMITS)))
    try:
        child.wait_ready()
        yield Database(server.address, "postgres")
    finally:
        child.stop()


def gauges(source: PostgresCDC, position: Position) -> dict[str, Gauge]:
    return {one.name: one for one in source.gauges(position, threading.Event())}


def warned(found: dict[str, Gauge]) -> list[str]:
    return [name for name, one in found.items() if one.warning]


def a_segment_more(database: Database) -> None:
    """16 MB of WAL, for which only a few bytes are written."""
    database.each(
        "INSERT INTO orders SELECT 1 + coalesce(max(id), 0) FROM orders", "SELECT pg_switch_wal()"
    )


def test_a_slot_that_is_about_to_be_lost_is_said_before_it_is(limited: Database) -> None:
    limited.run("CREATE TABLE orders (id int PRIMARY KEY)")
    source = PostgresCDC(limited.dsn, ["orders"])
    position = start(PostgresCDC(limited.dsn, ["orders"]))
    found = gauges(source, position)
    assert found["slot_state"] == Gauge("slot_state", 0.0, "reserved")
    assert found["kept_bytes"].value < 16e6
    assert 240e6 < found["left_bytes"].value <= 290e6
    assert 500 < found["left_seconds"].value <= 600
    assert warned(found) == []

    seen: list[tuple[str, list[str]]] = []
    while not seen or seen[-1][0] != "unreserved":
        a_segment_more(limited)
        found = gauges(source, position)
        seen.append((found["slot_state"].words, warned(found)))
        assert len(seen) < 30, seen
    assert (seen[0][1], seen[-2][1]) == ([], ["left_bytes"]), "with a fifth of the limit left"
    assert "slot_state" in seen[-1][1]
    assert found["kept_bytes"].value > 256e6
    (told,) = (one for one in source.check() if "about to be lost" in one.what)
    assert told.warning

    limited.each("CHECKPOINT")
    found = gauges(source, position)
    assert (found["slot_state"].value, warned(found)) == (3.0, ["slot_state"])
    let_go(limited)
    source.drop()
    assert gauges(source, position) == {}


def test_a_slot_that_nobody_reads_is_said_before_its_time_is_over(
    limited: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited.run("CREATE TABLE items (id int PRIMARY KEY)")
    source = PostgresCDC(limited.dsn, ["items"])
    position = start(PostgresCDC(limited.dsn, ["items"]))
    assert warned(gauges(source, position)) == []
    monkeypatch.setattr("trunkline.connectors.postgres.gauges._LITTLE", 1.0)
    found = gauges(source, position)
    assert "left_seconds" in warned(found)
    assert "idle_replication_slot_timeout" in found["left_seconds"].warning
    source.drop()


def test_without_a_limit_of_the_server_ours_protects_its_disk(
    postgres_dsn: str, topic: Callable[[str], str]
) -> None:
    with new_database(postgres_dsn, topic("kept")) as database:
        database.run("CREATE TABLE orders (id int PRIMARY KEY)")
        slot = database.name.replace("-", "_")
        position = start(PostgresCDC(database.dsn, ["orders"], slot=slot))
        assert warned(gauges(PostgresCDC(database.dsn, ["orders"], slot=slot), position)) == []
        database.run("INSERT INTO orders SELECT generate_series(1, 1000)")
        careful = PostgresCDC(database.dsn, ["orders"], slot=slot, most_kept=1000)
        found = gauges(careful, position)
        assert warned(found) == ["kept_bytes"]
        assert "max_slot_wal_keep_size" in found["kept_bytes"].warning
        assert found["behind_bytes"].value > 1000
        assert "left_bytes" not in found
        let_go(database)


def test_a_server_that_does_not_answer_is_a_source_error_and_a_stop_ends_the_question() -> None:
    source = PostgresCDC(f"postgresql://nobody@127.0.0.1:{free_port()}/none", ["orders"])
    with pytest.raises(SourceError):
        source.gauges({"phase": "stream", "slot": source.slot}, threading.Event())
