"""Outbox passes the acceptance suite: polled on SQLite and MariaDB, and through PostgresCDC."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pg_kit import Database, new_database
from polling_kit import Polled, polled
from trunkline.connectors.contract import SourceContract
from trunkline.connectors.outbox import Outbox
from trunkline.connectors.postgres import PostgresCDC
from trunkline.local.ports import free_port

COLUMNS = "aggregatetype varchar(40), aggregateid varchar(40), type varchar(40), payload text"
INSERT = "INSERT INTO {t} (aggregatetype, aggregateid, type, payload) VALUES "


class TestOutboxPolled(SourceContract):
    deletes = False
    secrets = ("hunter2",)
    database: Polled

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> Iterator[None]:
        with polled(f"sqlite:///{tmp_path}/shop.db") as self.database:
            number = "integer PRIMARY KEY AUTOINCREMENT"
            self.database.run(f"CREATE TABLE {{t}} (id {number}, {COLUMNS})")
            yield

    def source(self) -> Outbox:
        return Outbox(self.database.url, self.database.table, interval="50ms", batch=2)

    def put(self, key: str, revision: int) -> None:
        payload = json.dumps({"revision": revision})
        values: dict[str, Any] = {"key": key, "payload": payload}
        self.database.run(INSERT + "('order', :key, 'changed', :payload)", **values)

    def unreachable_source(self) -> Outbox:
        return Outbox("sqlite:////nowhere/at/all.db")


class TestOutboxPolledOnMariaDB(TestOutboxPolled):
    @pytest.fixture(autouse=True)
    def _place(self, mariadb_url: str) -> Iterator[None]:
        with polled(mariadb_url) as self.database:
            number = "bigint AUTO_INCREMENT PRIMARY KEY"
            self.database.run(f"CREATE TABLE {{t}} (id {number}, {COLUMNS}, published_at datetime)")
            yield

    def source(self) -> Outbox:
        database = self.database
        return Outbox(database.url, database.table, after="mark", interval="50ms", batch=2)

    def unreachable_source(self) -> Outbox:
        return Outbox(f"mariadb://me:hunter2@127.0.0.1:{free_port()}/nowhere", timeout="2s")


class TestOutboxThroughPostgresCDC(SourceContract):
    """Debezium's table, read from the log, its rows deleted."""

    deletes = False
    secrets = ("hunter2",)
    database: Database

    @pytest.fixture(autouse=True)
    def _place(self, postgres_dsn: str) -> Iterator[None]:
        with new_database(postgres_dsn, f"outbox_{uuid.uuid4().hex[:12]}") as self.database:
            self.database.run(
                "CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "
                "aggregatetype text, aggregateid text, type text, payload jsonb)"
            )
            server = postgres_dsn.rpartition("/")[0]
            self.url = f"{server}/{self.database.name}"
            yield

    def source(self) -> Outbox:
        through = PostgresCDC(self.database.dsn, ["public.outbox"], batch=2)
        return Outbox(self.url, "public.outbox", through=through)

    def put(self, key: str, revision: int) -> None:
        self.database.run(
            INSERT.format(t="outbox") + "('order', %s, 'changed', %s)",
            key,
            json.dumps({"revision": revision}),
        )

    def unreachable_source(self) -> Outbox:
        url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/nowhere"
        return Outbox(url, "public.outbox", through=PostgresCDC(url, ["public.outbox"]))
