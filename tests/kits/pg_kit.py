"""What the tests of PostgresCDC share: a database of their own, and reading as the engine does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from trunkline.connectors.base import Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import SourceError
from trunkline.event import Record

Until = Callable[[list[Record], Position], bool]
PATIENCE = 30.0
"""Seconds after which a test that still waits has failed."""


class Database:
    """A database that one test has to itself."""

    def __init__(self, server: str, name: str) -> None:
        self.name = name
        self.server = server
        self.dsn = make_dsn(server, dbname=name)

    def run(self, statements: str, *values: Any) -> list[tuple[Any, ...]]:
        """One or more statements, in one transaction; the rows of the last."""
        with closing(connected(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(statements, values or None)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows

    def each(self, *statements: str) -> None:
        """Statements that run by themselves alone, as CHECKPOINT and ALTER SYSTEM do."""
        with closing(connected(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for statement in statements:
                cursor.execute(statement)

    def slots(self) -> list[str]:
        query = "SELECT slot_name FROM pg_replication_slots WHERE database = %s"
        return [name for (name,) in self.run(query, self.name)]

    def confirmed(self, slot: str) -> int:
        """The slot's confirmed_flush_lsn."""
        query = (
            "SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots "
            "WHERE slot_name = %s"
        )
        ((lsn,),) = self.run(query, slot)
        return int(lsn)

    def senders(self) -> list[int]:
        """The server's processes that stream this database's changes."""
        query = (
            "SELECT active_pid FROM pg_replication_slots "
            "WHERE database = %s AND active_pid IS NOT NULL"
        )
        return [pid for (pid,) in self.run(query, self.name)]


def connected(dsn: str) -> Connection:
    """A connection; a server that recovers from a crash is waited for."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return psycopg2.connect(dsn)
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline, "the server does not come back"
            time.sleep(0.05)


@contextmanager
def new_database(server: str, name: str) -> Iterator[Database]:
    with closing(connected(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
            database = Database(server, name)
            try:
                yield database
            finally:
                drop_database(server, database)


def drop_database(server: str, database: Database) -> None:
    """With its slots, whose readers may have gone only a moment ago. One that a failed test has
    left is ended, or all tests behind it would find the slots in use, too."""
    with closing(connected(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for slot in database.slots():
                try:
                    until(lambda: not database.senders(), "the slots' readers to go", 5)
                except AssertionError:
                    for pid in database.senders():
                        cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    until(lambda: not database.senders(), "the slots' readers to end")
                cursor.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            cursor.execute(f'DROP DATABASE "{database.name}" WITH (FORCE)')


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Returns when ``condition`` holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def let_go(database: Database) -> None:
    """Returns when no process reads from a slot: the server hears of a reader's end a bit later."""
    active = "SELECT 1 FROM pg_replication_slots WHERE active"
    until(lambda: not database.run(active), "the server lets go of its slots")


def read(
    source: PostgresCDC,
    position: Position | None = None,
    *,
    until: Until,
    acknowledge: bool = True,
    closes: bool = True,
) -> tuple[list[Record], Position]:
    """Reads and acknowledges as the engine does until ``until(all records, position)`` holds."""
    records: list[Record] = []
    stop = threading.Event()
    timer = threading.Timer(PATIENCE, stop.set)
    timer.start()
    batches = source.read(position, stop)
    try:
        for batch in batches:
            records += batch.records
            if acknowledge:
                source.acknowledge(batch.position)
            if until(records, batch.position):
                return records, batch.position
        raise AssertionError(f"the source ended after {len(records)} records: {records[-3:]}")
    finally:
        timer.cancel()
        batches.close()  # type: ignore[attr-defined]
        if closes:
            source.close()


def count(number: int) -> Until:
    return lambda records, _: len(records) >= number


def streaming(records: list[Record], position: Position) -> bool:
    """The snapshot is over."""
    del records
    return bool(position["phase"] == "stream")


def key(wanted: str) -> Until:
    return lambda records, _: bool(records) and records[-1].key == wanted


def start(source: PostgresCDC) -> Position:
    """Takes the snapshot; returns where the changes begin."""
    _, position = read(source, until=streaming)
    return position


def retried(read_once: Callable[[], Any]) -> Any:
    """As the engine: again and again while the system cannot be read."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return read_once()
        except SourceError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
