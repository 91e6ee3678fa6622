"""The table of a destination of SqlSink, which goes and comes as in a migration."""

from __future__ import annotations

import asyncio
from contextlib import closing

import psycopg2
from psycopg2.errors import LockNotAvailable

from trunkline.connectors.sql import SqlSink
from trunkline.schemas.commerce import Order

TIMEOUT = 60.0
"""Seconds, half of which the sink waits for a lock: a worker that is frozen in the middle of its
transaction keeps its rows locked until it wakes, and that shall use up no attempts."""


def table_sink(dsn: str, table: str, *, create_table: bool = False) -> SqlSink[Order]:
    """A sink that keeps orders in ``table``."""
    positions = f"{table}_positions"
    return SqlSink(
        dsn, Order, table=table, positions=positions, create_table=create_table, timeout=TIMEOUT
    )


class StoredTable:
    """A table of orders in the database ``dsn``."""

    def __init__(self, dsn: str, name: str) -> None:
        self._dsn = dsn
        self.name = name

    def create(self) -> None:
        """Make it, empty."""
        asyncio.run(self._create())

    async def _create(self) -> None:
        sink = table_sink(self._dsn, self.name, create_table=True)
        await sink.open()
        await sink.close()

    def hide(self) -> bool:
        """Take the table away; returns whether it could be: not while somebody writes to it."""
        return self._rename(self.name, f"{self.name}_away")

    def show(self) -> None:
        """Bring it back, with its rows."""
        assert self._rename(f"{self.name}_away", self.name)

    def _rename(self, name: str, to: str) -> bool:
        with closing(psycopg2.connect(self._dsn, options="-c lock_timeout=500")) as connection:
            try:
                connection.cursor().execute(f"ALTER TABLE {name} RENAME TO {to}")
            except LockNotAvailable:
                return False
            connection.commit()
            return True

    def rows(self) -> dict[str, int]:
        """The number of each key."""
        with closing(psycopg2.connect(self._dsn)) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT id, total_cents FROM {self.name}")
            return dict(cursor.fetchall())
