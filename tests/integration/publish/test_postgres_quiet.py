"""A quiet table in a busy server keeps no WAL back, in 18 and in 15, and needs no heartbeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pg_kit import Database, let_go, new_database, start, until
from reading_kit import Reading
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.postgres.decoder import lsn_number


@pytest.fixture(params=["postgres_dsn", "postgres15_dsn"])
def server(request: pytest.FixtureRequest) -> str:
    dsn: str = request.getfixturevalue(request.param)
    return dsn


@pytest.fixture
def quiet(server: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(server, topic("quiet")) as database:
        database.run("CREATE TABLE orders (id int PRIMARY KEY)")
        yield database


@pytest.fixture(params=["of the same database", "of another database"])
def busy(
    request: pytest.FixtureRequest, quiet: Database, server: str, topic: Callable[[str], str]
) -> Iterator[Database]:
    """The database where somebody writes."""
    if request.param == "of the same database":
        yield quiet
        return
    with new_database(server, topic("busy")) as database:
        yield database


def kept_from(database: Database, slot: str) -> int:
    """The oldest LSN whose WAL the server keeps for the slot."""
    query = "SELECT (restart_lsn - '0/0')::int8 FROM pg_replication_slots WHERE slot_name = %s"
    ((lsn,),) = database.run(query, slot)
    return int(lsn)


def test_what_others_write_is_let_go_of_though_nothing_of_ours_changes(
    quiet: Database, busy: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.connectors.postgres.changes._LATER", 0.1)
    slot = quiet.name.replace("-", "_")
    source = PostgresCDC(quiet.dsn, ["orders"], slot=slot)
    reading = Reading(PostgresCDC(quiet.dsn, ["orders"], slot=slot), start(source))
    busy.run("CREATE TABLE other AS SELECT i, repeat('x', 500) FROM generate_series(1, 40000) i")
    ((written,),) = quiet.run("SELECT (pg_current_wal_lsn() - '0/0')::int8")
    assert written - kept_from(quiet, slot) > 16_000_000
    until(lambda: quiet.confirmed(slot) >= written, "the server to hear that all is published")
    assert reading.position is not None
    assert lsn_number(reading.position["lsn"]) >= quiet.confirmed(slot), "it is stored before"

    def goes_on() -> bool:
        # What PostgreSQL does every 15 s by itself where something is written: it writes down which
        # transactions run, and from there on a slot can be read.
        quiet.each("CHECKPOINT")
        return kept_from(quiet, slot) >= written

    until(goes_on, "the server to remove the WAL")
    assert reading.records == []
    reading.stopped_after()
    let_go(quiet)
