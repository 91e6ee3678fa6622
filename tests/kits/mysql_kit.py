"""What the tests of MySqlCDC share: a database of their own, and reading as the engine does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest

from reading_kit import Reading
from trunkline.connectors.base import Position
from trunkline.connectors.mysql import MySqlCDC
from trunkline.errors import ConfigurationError
from trunkline.event import Record
from trunkline.local import artifacts
from trunkline.local.mariadb import MariaDB
from trunkline.local.ports import free_port
from trunkline.local.process import Child

Until = Callable[[list[Record], Position], bool]
PATIENCE = 30.0
"""Seconds after which a test that still waits has failed."""


@contextmanager
def running(home: Path, *settings: str) -> Iterator[str]:
    """The address of a MariaDB of its own, with more settings. Skips where it is not to be had."""
    server = MariaDB(home, free_port())
    try:
        artifacts.fetch(server.bundle)
    except artifacts.ArtifactError as error:
        pytest.skip(f"no MariaDB: {error}")
    server.home.mkdir()
    server.prepare()
    command = server.command()
    child = Child(replace(command, arguments=(*command.arguments, *settings)))
    try:
        child.wait_ready()
        yield server.address
    finally:
        child.stop()


class Database:
    """A database that one test has to itself, on a server that is shared."""

    def __init__(self, server: str, name: str) -> None:
        self.name = name
        self.host, self.port = urlsplit(server).hostname or "", urlsplit(server).port or 0
        self.dsn = f"mysql://root@{self.host}:{self.port}/{name}"

    def connect(self, database: str | None = None) -> Any:
        """A connection in autocommit mode."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user="root",
            ssl_disabled=True,
            database=database or self.name,
            autocommit=True,
        )

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement; the rows that it gives."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def transaction(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            for statement in statements:
                cursor.execute(statement)
            connection.commit()


@contextmanager
def new_database(server: str, name: str) -> Iterator[Database]:
    database = Database(server, name)
    with closing(database.connect("mysql")) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE `{name}`")
        try:
            yield database
        finally:
            cursor.execute(f"DROP DATABASE `{name}`")


def read(
    source: MySqlCDC, position: Position | None = None, *, until: Until
) -> tuple[list[Record], Position]:
    """Reads as the engine does until ``until(all records, position)`` holds."""
    records: list[Record] = []
    stop = threading.Event()
    timer = threading.Timer(PATIENCE, stop.set)
    timer.start()
    batches = source.read(position, stop)
    try:
        for batch in batches:
            records += batch.records
            if until(records, batch.position):
                return records, batch.position
        raise AssertionError(f"the source ended after {len(records)} records: {records[-3:]}")
    finally:
        timer.cancel()
        batches.close()  # type: ignore[attr-defined]
        source.close()


def refused(source: MySqlCDC, position: Position | None = None) -> str:
    """The ConfigurationError that a source raises."""
    reading = Reading(source, position)
    error = reading.ended()
    assert isinstance(error, ConfigurationError), error
    return str(error)


def count(number: int) -> Until:
    return lambda records, _: len(records) >= number


def streaming(records: list[Record], position: Position) -> bool:
    """The snapshot is over."""
    del records
    return bool(position["phase"] == "stream")


def start(source: MySqlCDC) -> Position:
    """Takes the snapshot; returns where the changes begin."""
    _, position = read(source, until=streaming)
    return position
