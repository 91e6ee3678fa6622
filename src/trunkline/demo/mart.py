"""The data mart's database, and a witness in it.

A trigger notes every write to the mart's table when it is committed: so the order of the writes
and their moments are told by PostgreSQL, and not by who writes. The table itself is made by the
sink; an event trigger puts the witness on it at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import psycopg2

_WITNESS = """
CREATE SCHEMA witness;
CREATE TABLE witness.writes (
    number bigserial PRIMARY KEY,
    moment timestamptz NOT NULL,
    id text NOT NULL,
    row jsonb
);
CREATE FUNCTION witness.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness.writes (moment, id, row)
    VALUES (clock_timestamp(), coalesce(NEW.id, OLD.id), to_jsonb(NEW));
    RETURN NULL;
END $$;
CREATE FUNCTION witness.attach() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
               WHERE command_tag = 'CREATE TABLE' AND object_identity = 'public.flights') THEN
        CREATE CONSTRAINT TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON public.flights
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION witness.note();
    END IF;
END $$;
CREATE EVENT TRIGGER witness ON ddl_command_end
WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION witness.attach();
"""
_COUNT = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM witness.writes_number_seq"
_WRITES = "SELECT id, extract(epoch FROM moment)::float8, row FROM witness.writes ORDER BY number"

MART_ROWS = """
SELECT id, carrier, flight_number, tail_number, origin, destination, scheduled_departure,
       scheduled_arrival, departure_delay_minutes, arrival_delay_minutes, status,
       distance_miles::integer, air_time_minutes
FROM flights
"""
AIRPORT_ROWS = """
SELECT id, carrier, flight, tailnum, origin, dest, sched_dep, sched_arr, dep_delay, arr_delay,
       CASE state WHEN 'S' THEN 'scheduled' WHEN 'D' THEN 'departed'
                  WHEN 'A' THEN 'arrived' WHEN 'X' THEN 'cancelled' END,
       distance, air_time
FROM flights
"""
_DIGEST = "SELECT count(*), sum(hashtextextended(r::text, 0)) FROM ({}) AS r"

Rows = dict[str, tuple[Any, ...]]


class Table:
    """A table of flights in the mart's form, read by ``query``; a context manager."""

    def __init__(self, dsn: str, query: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self._query = query

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def rows(self) -> Rows:
        """All rows by their id."""
        return {row[0]: row for row in self._all(self._query)}

    def digest(self) -> tuple[Any, ...]:
        """The same for two tables with the same rows: their number, and a sum of hashes."""
        return next(self._all(_DIGEST.format(self._query)))

    def _all(self, query: str) -> Iterator[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            yield from cursor.fetchall()


class Mart(Table):
    """The mart, with what its witness saw."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, MART_ROWS)

    def watch(self) -> None:
        """Put the witness into a database without tables."""
        with self._connection.cursor() as cursor:
            cursor.execute(_WITNESS)

    def count(self) -> int:
        """How many rows have been written, changed or deleted so far."""
        return int(next(self._all(_COUNT))[0])

    def writes(self) -> Iterator[tuple[str, float, dict[str, Any] | None]]:
        """Every write in its order: the row's id, the moment of its commit, the row after it."""
        return self._all(_WRITES)
