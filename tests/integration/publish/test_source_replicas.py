"""Several workers of the same sources: one reads each; ``kill -9`` loses and repeats nothing, also
in the middle of a snapshot on demand."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pg_kit import Database, connected, new_database, until
from trunkline.admin.sources import request_snapshot, source_status
from trunkline.admin.targets import Target
from trunkline.params import Backbone
from worker_kit import WorkerProcess, Workers, environ_of, eventually, header, read

FLOW = Path(__file__).parent / "replicas_flow.py"
TABLES = {"orders": "shop", "returned": "returns"}
OLD = 2500
"""Rows of the first table that nobody changes."""
SLOWLY = "pg_sleep(0.001) IS NOT NULL"
"""A condition that all rows fulfil: a chunk of 500 takes half a second."""
TAKEOVER = 40.0
"""Seconds in which another worker reads on. Kafka waits 10 for the one that is gone; the rest is
for a machine that is busy with other tests."""


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[Database]:
    with new_database(postgres_dsn, f"replicas-{uuid.uuid4().hex[:8]}") as made:
        for table in TABLES:
            made.run(f"CREATE TABLE {table} (id int PRIMARY KEY, status text, cents int)")
            made.run(f"INSERT INTO {table} VALUES (0, 'new', 0)")
        made.run(
            f"INSERT INTO orders SELECT i, 'old', 0 FROM generate_series(1001, {1000 + OLD}) i"
        )
        yield made


class Shop(threading.Thread):
    """Writes to both tables until it is told to stop: each row again and again, one higher."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.written = 0
        self._database, self._enough = database, threading.Event()

    def run(self) -> None:
        with closing(connected(self._database.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not self._enough.wait(0.005):
                self.written += 1
                for table in TABLES:
                    cursor.execute(
                        f"INSERT INTO {table} VALUES (%s, 'new', %s) ON CONFLICT (id) DO UPDATE "
                        "SET cents = excluded.cents",
                        (self.written % 7, self.written),
                    )

    def stop(self) -> None:
        self._enough.set()
        self.join()


def rows_of_snapshot(backbone: Backbone, target: Target) -> int:
    """How many rows of a snapshot on demand are published, which is not done."""
    return max((one.rows for one in source_status(backbone, target).snapshots), default=0)


def changes_of(backbone: Backbone, topic: str) -> list[str]:
    """The ids of all changes. Not of the snapshot: while workers join, it may begin anew."""
    events = read(backbone, topic)
    return [header(e, "ce_id") for e in events if not header(e, "ce_type").endswith(".snapshot")]


def test_one_reads_the_others_stand_by_and_a_kill_loses_and_repeats_nothing(
    bootstrap: str, registry_url: str, database: Database, tmp_path: Path
) -> None:
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    environ = environ_of(backbone, flow=database.name, dsn=database.dsn)
    shop, takeovers, asked = Shop(database), [], []
    target = Target.parse(f"{database.name}.shop")
    with Workers(FLOW, tmp_path, environ) as workers:

        def reader(source: str) -> WorkerProcess | None:
            """Who says that it reads the source, of the workers that are alive."""
            found = source_status(backbone, Target.parse(f"{database.name}.{source}")).status
            pid = (found.worker if found is not None else "").rpartition("-")[2]
            return next((one for one in workers.running if str(one.process.pid) == pid), None)

        workers.started("source", "source", "source")
        until(lambda: len(database.senders()) == len(TABLES), "both sources to stream")
        shop.start()
        try:
            for _ in range(2):
                eventually(lambda: all(map(reader, TABLES.values())), "both say who reads")
                victim = reader("shop")
                assert victim is not None
                asked.append(request_snapshot(backbone, target, "orders", where=SLOWLY))
                eventually(lambda: rows_of_snapshot(backbone, target) > 0, "a chunk is published")
                written, killed = shop.written, time.monotonic()
                workers.kill(victim)
                # What was written before it was killed may have been published by it.
                eventually(
                    lambda n=written: len(changes_of(backbone, f"{database.name}.orders")) > n,
                    "another one goes on",
                )
                takeovers.append(time.monotonic() - killed)
                assert takeovers[-1] < TAKEOVER
                eventually(lambda: reader("shop") is not None, "another one reads it")
        finally:
            shop.stop()
        for table in TABLES:
            eventually(
                lambda t=table: (
                    len(set(changes_of(backbone, f"{database.name}.{t}"))) >= shop.written
                ),
                "all is published",
            )
            ids = changes_of(backbone, f"{database.name}.{table}")
            assert len(set(ids)) == len(ids) == shop.written, "each change once"
        eventually(lambda: not source_status(backbone, target).snapshots, "the snapshots are done")
        every = [header(event, "ce_id") for event in read(backbone, f"{database.name}.orders")]
        for id in asked:
            begin = f"{id}-public.orders-"
            old = [int(one.removeprefix(begin)) for one in every if one.startswith(begin)]
            assert sorted(key for key in old if key > 1000) == list(range(1001, 1001 + OLD)), (
                "it went on behind its last chunk: no row is missing, none comes twice"
            )
        workers.stop()
    print(f"taken over after {', '.join(f'{seconds:.1f}' for seconds in takeovers)} s")
