"""The airport's own system: a PostgreSQL table that knows nothing of Trunkline."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extras import execute_values
from psycopg2.sql import SQL, Identifier

from trunkline.demo.records import Flight
from trunkline.demo.timeline import Change

_TABLE = """
CREATE TABLE flights (
    id text PRIMARY KEY,
    carrier text NOT NULL,
    flight integer NOT NULL,
    tailnum text,
    origin text NOT NULL,
    dest text NOT NULL,
    sched_dep timestamptz NOT NULL,
    sched_arr timestamptz NOT NULL,
    dep_delay integer,
    arr_delay integer,
    state char(1) NOT NULL,
    distance integer NOT NULL,
    air_time integer
)
"""
_INSERT = "INSERT INTO flights VALUES %s"
_UPDATE = """
UPDATE flights AS f
SET tailnum = v.tailnum, dep_delay = v.dep_delay, arr_delay = v.arr_delay, state = v.state,
    air_time = v.air_time
FROM (VALUES %s) AS v (id, tailnum, dep_delay, arr_delay, state, air_time)
WHERE f.id = v.id
"""
_UPDATED = "(%s, %s, %s::integer, %s::integer, %s, %s::integer)"
_DELETE = "DELETE FROM flights WHERE id = ANY(%s)"


def make_database(server: str, name: str) -> str:
    """Make an empty database on a server; returns its address."""
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return f"{server.rpartition('/')[0]}/{name}"


class Airport:
    """Writes flights as the airport does; a context manager.

    ``present``: the ids of the flights that are in the table now.
    """

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self.present: set[str] = set()

    def __enter__(self) -> Airport:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def make(self, rows: Sequence[Flight]) -> None:
        """Make the table with these rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(_TABLE)
            execute_values(cursor, _INSERT, rows, page_size=1000)
        self._connection.commit()
        self.present.update(row.id for row in rows)

    def commit(self, changes: Sequence[Change]) -> float:
        """Make these changes, of a flight one at the most, in one transaction; returns the moment
        just before the commit, as ``time.time()``."""
        with self._connection.cursor() as cursor:
            self._write(cursor, changes)
        moment = time.time()
        self._connection.commit()
        return moment

    def _write(self, cursor: Any, changes: Sequence[Change]) -> None:
        gone = [change.id for change in changes if change.row is None]
        rows = [change.row for change in changes if change.row is not None]
        new = [row for row in rows if row.id not in self.present]
        known = [row for row in rows if row.id in self.present]
        if new:
            execute_values(cursor, _INSERT, new, page_size=1000)
        if known:
            values = [
                (r.id, r.tailnum, r.dep_delay, r.arr_delay, r.state, r.air_time) for r in known
            ]
            execute_values(cursor, _UPDATE, values, template=_UPDATED, page_size=1000)
        if gone:
            cursor.execute(_DELETE, (gone,))
        self.present.difference_update(gone)
        self.present.update(row.id for row in new)


def transactions(changes: Iterable[Change], size: int) -> Iterator[list[Change]]:
    """Groups changes into transactions, in their order: up to ``size`` in each, and of a flight
    one at the most, as ``Airport.commit`` writes each flight once."""
    group: dict[str, Change] = {}
    for change in changes:
        if len(group) == size or change.id in group:
            yield list(group.values())
            group = {}
        group[change.id] = change
    if group:
        yield list(group.values())
