"""What the tests of SqlPolling and Outbox share: databases, and reading as the engine does."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url

from trunkline.connectors.base import Batch, Position, Source
from trunkline.connectors.sql.engine import sql_engine

PATIENCE = 20.0
"""Seconds after which a test that still waits has failed."""


class Polled:
    """A database and a table name of a test's own, on a server that is shared or in a file."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.table = f"item_{uuid.uuid4().hex[:12]}"
        self.engine = sql_engine(url, timeout=10, connections=2)
        self.backend = make_url(url).get_backend_name().replace("mariadb", "mysql")

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """One statement, with ``{t}`` for the table, in a transaction; the rows that it gives."""
        with self.engine.begin() as connection:
            found = connection.execute(text(statement.replace("{t}", self.table)), values)
            return [tuple(row) for row in found] if found.returns_rows else []


@contextmanager
def polled(url: str) -> Iterator[Polled]:
    database = Polled(url)
    try:
        yield database
    finally:
        database.run("DROP TABLE IF EXISTS {t}")
        database.engine.dispose()


def looks(
    source: Source, position: Position | None = None, *, until: Callable[[list[Batch]], bool]
) -> list[Batch]:
    """The batches from a position on, acknowledged as the engine does, until they are enough."""
    stop, batches = threading.Event(), list[Batch]()
    timer = threading.Timer(PATIENCE, stop.set)
    timer.start()
    try:
        for batch in source.read(position, stop):
            batch.position = json.loads(json.dumps(batch.position))
            batches.append(batch)
            source.acknowledge(batch.position)
            if until(batches):
                stop.set()
    finally:
        timer.cancel()
        timer.join()
        source.close()
    assert until(batches), f"after {PATIENCE:.0f} s there are only {batches}"
    return batches


def once(source: Source, position: Position | None = None) -> list[Batch]:
    """The batches of one look, up to the first that is current."""
    return looks(source, position, until=lambda batches: batches[-1].current)


def changes(batches: list[Batch]) -> list[tuple[str, str]]:
    """What was told: change and key."""
    return [(r.change, r.key) for batch in batches for r in batch.records]


def keys(batches: list[Batch]) -> list[str]:
    """Of the changes in batches, in their order."""
    return [key for _, key in changes(batches)]
