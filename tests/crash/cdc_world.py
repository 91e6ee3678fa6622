"""A PostgreSQL on which anything happens by script, a source of it that is killed, and what a
consumer has who takes each record as it comes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psycopg2

from capturing_child import PROGRAM, STOPPED, Published
from pg_kit import Database, until
from standby_kit import SLOT, standby_of
from trunkline.connectors.base import Position
from trunkline.connectors.postgres import PostgresCDC
from trunkline.event import Record
from trunkline.local.ports import free_port
from trunkline.local.postgres import Postgres
from trunkline.local.process import Child

TABLES = ("a", "b", "c")
ROWS = 2_000
ASK = 1.0
"""Seconds until the source asks whether all is still the same; for real it is a minute."""
PATIENCE = 60.0


class World:
    """``step`` does one thing at random; ``settle`` looks whether the consumer has what the tables
    have, or the source has stopped and said why, as it may after what was done since."""

    def __init__(self, server: Postgres, home: Path, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self._server, self._home = server, home
        self._dice = random.Random(seed)
        self._running = self._serve()
        self._database = Database(server.address, "postgres")
        self._grave = ""  # what was done since the last look that may lose changes
        self._lives = self._standbys = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._state: dict[str, dict[str, Any]] = {}
        for table in TABLES:
            self._run(f"CREATE TABLE {table} (id int PRIMARY KEY, n int, note text)")
            self._run(f"INSERT INTO {table} SELECT i, 0, 'old' FROM generate_series(1, {ROWS}) i")
        self._run(f"ALTER TABLE {TABLES[1]} REPLICA IDENTITY FULL")
        self._begin(None)

    def close(self) -> None:
        """End source and server."""
        self._kill_source()
        self._running.stop()

    # What happens.

    def step(self) -> None:
        """One transaction, or, more seldom, something worse."""
        kinds = {
            self._write: 800,
            self._kill_source: 40,
            self._truncate: 10,
            self._rewrite: 12,
            self._alter: 25,
            self._rename_and_back: 10,
            self._kill_server: 8,
            self._swap: 4,
            self._take_out: 5,
            self._new_slot: 5,
            self._new_publication: 4,
            self._fail_over: 6,
        }
        kind = self._dice.choices(list(kinds), list(kinds.values()))[0]
        self.done[kind.__name__.lstrip("_")] += 1
        kind()
        if self._child is None or self._child.poll() not in (None, STOPPED):
            self._start_source()

    def _write(self) -> None:
        statements = []
        for _ in range(self._dice.randrange(1, 6)):
            table, id = self._dice.choice(TABLES), self._dice.randrange(1, ROWS + 200)
            statements.append(
                self._dice.choice(
                    (
                        f"UPDATE {table} SET n = n + 1, note = 'n{id}' WHERE id = {id}",
                        f"DELETE FROM {table} WHERE id = {id}",
                        f"INSERT INTO {table} (id, n, note) VALUES ({id}, 1, 'new') "
                        "ON CONFLICT (id) DO UPDATE SET n = 0",
                        f"UPDATE {table} SET id = id + 10000 WHERE id = {id} AND NOT EXISTS "
                        f"(SELECT FROM {table} WHERE id = {id + 10000})",
                        f"UPDATE {table} SET n = n + 1 WHERE id % 500 = {id % 500}",
                    )
                )
            )
        end = "ROLLBACK" if self._dice.random() < 0.1 else "COMMIT"
        self._run(f"BEGIN; {'; '.join(statements)}; {end}")

    def _truncate(self) -> None:
        table = self._dice.choice(TABLES)
        self._run(f"TRUNCATE {table}; INSERT INTO {table} (id, n) SELECT generate_series(1, 50), 0")

    def _rewrite(self) -> None:
        self._database.each(f"VACUUM FULL {self._dice.choice(TABLES)}")

    def _alter(self) -> None:
        table = self._dice.choice(TABLES)
        self._run(
            self._dice.choice(
                (
                    f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS more int",
                    f"ALTER TABLE {table} DROP COLUMN IF EXISTS more",
                    f"ALTER TABLE {table} ALTER n TYPE bigint",
                    f"ALTER TABLE {table} ALTER note TYPE varchar(50)",
                    f"ALTER TABLE {table} REPLICA IDENTITY FULL",
                    f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT",
                )
            )
        )

    def _rename_and_back(self) -> None:
        table = self._dice.choice(TABLES)
        self._grave = self._grave or "a table was renamed for a while"
        self._run(f"UPDATE {table} SET n = n + 1 WHERE id < 9; ALTER TABLE {table} RENAME TO away")
        self._run("UPDATE away SET n = n + 1 WHERE id < 9")
        self._run(f"ALTER TABLE away RENAME TO {table}")

    def _swap(self) -> None:
        one, other = self._dice.sample(TABLES, 2)
        self._grave = "tables were swapped"
        self._run(
            f"ALTER TABLE {one} RENAME TO away; ALTER TABLE {other} RENAME TO {one}; "
            f"ALTER TABLE away RENAME TO {other}"
        )

    def _take_out(self) -> None:
        table = self._dice.choice(TABLES)
        self._grave = "a table was taken out of the publication for a while"
        with suppress(psycopg2.errors.UndefinedObject):  # the source has not made it yet
            self._run(f"ALTER PUBLICATION soak DROP TABLE {table}")
            self._write()
            self._run(f"ALTER PUBLICATION soak ADD TABLE {table}")

    def _new_publication(self) -> None:
        self._grave = "the publication was made again"
        self._run("DROP PUBLICATION IF EXISTS soak")
        self._write()
        with suppress(psycopg2.errors.DuplicateObject):  # the source was faster
            listed = ", ".join(TABLES)
            self._run(
                f"CREATE PUBLICATION soak FOR TABLE {listed} "
                "WITH (publish_via_partition_root = true)"
            )

    def _new_slot(self) -> None:
        self._grave = "the slot was made again"
        self._kill_source()
        until(lambda: not self._database.senders(), "the server to notice", PATIENCE)
        self._run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        self._write()
        if self._dice.random() < 0.7:
            self._run("SELECT pg_create_logical_replication_slot('soak', 'pgoutput')")

    def _kill_source(self) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    def _kill_server(self) -> None:
        os.killpg(self._running.pid, signal.SIGKILL)
        self._running.stop()
        self._running = self._serve()

    def _fail_over(self) -> None:
        """A standby takes over: one that has all, and a copy of the slot, or one that lags."""
        self._grave = "a standby was promoted"
        self._standbys += 1
        home = self._server.home.parent / f"{self._server.home.name}-{self._standbys}"
        self._run(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            f"WHERE slot_name = '{SLOT}' AND NOT active"
        )
        standby = standby_of(self._server, home, free_port())
        child = Child(standby.command())
        child.wait_ready()
        copy = Database(standby.address, "postgres")
        if self._dice.random() < 0.7:
            with suppress(AssertionError):  # the source may have stopped, or have no slot
                until(lambda: _has_copy(copy), "the copy of the slot", 10.0)
        if lags := self._dice.random() < 0.5:
            copy.each("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        for _ in range(self._dice.randrange(20)):
            self._write()
        if not lags:
            ((end,),) = self._database.run("SELECT pg_current_wal_flush_lsn()::text")
            caught_up = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            until(lambda: copy.run(caught_up, end) == [(True,)], "the standby", PATIENCE)
        self._kill_source()
        os.killpg(self._running.pid, signal.SIGKILL)
        self._running.stop()
        shutil.rmtree(self._server.home)
        copy.run("SELECT pg_promote()")
        self._server, self._running, self._database = standby, child, copy
        self.done["lagged" if lags else "followed"] += 1

    # What comes of it.

    def settle(self) -> None:
        """Fails where the consumer has something else, and nobody says so."""
        mark = self._dice.randrange(1 << 30)
        for table in TABLES:
            self._run(
                f"INSERT INTO {table} (id, n) VALUES (-1, {mark}) "
                f"ON CONFLICT (id) DO UPDATE SET n = {mark}"
            )
        self._start_source()
        until(lambda: self._has_ended() or self._has(mark), "changes, or an end", PATIENCE)
        if not self._has_ended() and self._differs():
            # It may not have asked yet whether all is still the same.
            until(lambda: self._has_ended() or not self._differs(), "a word of it", 10 * ASK)
        if self._has_ended():
            self._mend()
        self.done["settled"] += 1
        self._grave = self._grave if self._has_ended() else ""

    def _mend(self) -> None:
        """As an operator: a table may have its name again; else a new snapshot."""
        assert self._child is not None
        said = (self._home / f"said-{self._lives}").read_text().strip()
        last = said.splitlines()[-1] if said else ""
        if self._child.poll() != STOPPED or not said:
            self._fail(f"the source has ended with {self._child.poll()}: {said[-2000:]}")
        if not self._grave:
            self._fail(f"it has stopped, and nothing was done that it may stop for: {said[-2000:]}")
        self.ends[f"{self._grave}: {last[:70]}"] += 1
        self._child = None
        if "renamed" in said and self._grave.endswith("renamed for a while"):
            self._start_source()
            self._grave = ""
            self.settle()
            return
        position = self._published.position
        anew = None if position is None else self._source().anew(position)
        self._begin(anew)
        self._grave = ""
        self.settle()

    def _differs(self) -> str:
        """What the consumer has otherwise than the tables; "" for nothing."""
        self._take()
        for table in TABLES:
            rows = self._database.run(f"SELECT id::text, n, note FROM {table}")
            wanted = {key: (n, note) for key, n, note in rows}
            known = self._state.get(f"public.{table}", {})
            found = {key: (row.get("n"), row.get("note")) for key, row in known.items()}
            if found != wanted:
                keys = [k for k in {*found, *wanted} if found.get(k) != wanted.get(k)][:5]
                return f"{table}: " + ", ".join(
                    f"{key}: {found.get(key)} and not {wanted.get(key)}" for key in keys
                )
        return ""

    def verify(self) -> None:
        """After ``settle``: both have the same."""
        if told := self._differs():
            self._fail(told)

    def _fail(self, told: str) -> NoReturn:
        raise AssertionError(f"{told}\nafter {self._grave!r}, {dict(self.done)}")

    def _has(self, mark: int) -> bool:
        self._take()
        return all(
            self._state.get(f"public.{table}", {}).get("-1", {}).get("n") == mark
            for table in TABLES
        )

    def _take(self) -> None:
        for record in self._published.look():
            self._fold(record)

    def _fold(self, record: Record) -> None:
        rows = self._state.setdefault(record.stream, {})
        if record.change == "truncate":
            rows.clear()
        elif record.change == "delete":
            rows.pop(record.key, None)
        else:
            before = rows.get(record.key, {})
            # A large value that an update left alone would be a dead letter; there are none here.
            rows[record.key] = before | record.data

    # Its parts.

    def _begin(self, position: Position | None) -> None:
        """A new life: nothing is published yet."""
        self._lives += 1
        file = self._home / f"published-{self._lives}"
        line = {"records": [], "position": position}
        file.write_text("" if position is None else json.dumps(line) + "\n")
        self._published, self._state = Published(file), {}
        self._start_source()

    def _has_ended(self) -> bool:
        return self._child is not None and self._child.poll() is not None

    def _arguments(self) -> dict[str, Any]:
        more: dict[str, Any] = {"slot": "soak", "publication": "soak", "batch": 300, "readers": 2}
        more["failover"] = True
        return {"dsn": self._server.address, "tables": list(TABLES)} | more

    def _source(self) -> PostgresCDC:
        return PostgresCDC(**self._arguments())

    def _start_source(self) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        if self._child is not None and self._child.poll() == STOPPED:
            return  # ``settle`` sees to it
        arguments = json.dumps(self._arguments() | {"ask": ASK})
        with (self._home / f"said-{self._lives}").open("ab") as said:
            self._child = subprocess.Popen(
                [*PROGRAM, str(self._published.file), arguments],
                stderr=said,
            )

    def _serve(self) -> Child:
        child = Child(self._server.command())
        child.wait_ready()
        return child

    def _run(self, statements: str) -> None:
        self._database.run(statements)


def _has_copy(standby: Database) -> bool:
    query = (
        "SELECT FROM pg_replication_slots WHERE slot_name = 'soak' AND synced AND NOT temporary "
        "AND invalidation_reason IS NULL"
    )
    return standby.run(query) != []
