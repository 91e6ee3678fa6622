"""PostgresCDC passes the acceptance suite, on a real PostgreSQL."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator

import psycopg2
import pytest

from trunkline.connectors.contract import SourceContract
from trunkline.connectors.postgres import PostgresCDC


class TestPostgresCDC(SourceContract):
    secrets = ("hunter2",)

    @pytest.fixture(autouse=True)
    def _place(self, postgres_dsn: str) -> Iterator[None]:
        self.admin = postgres_dsn
        self.database = f"cdc_{uuid.uuid4().hex[:12]}"
        self._admin(f"CREATE DATABASE {self.database}")
        self.dsn = postgres_dsn.rpartition("/")[0] + f"/{self.database}"
        self.connection = psycopg2.connect(self.dsn)
        self.connection.autocommit = True
        self._run("CREATE TABLE item (id text PRIMARY KEY, revision bigint NOT NULL)")
        yield
        self._drop_slot()
        self.connection.close()
        self._admin(f"DROP DATABASE {self.database} WITH (FORCE)")

    def _admin(self, statement: str) -> None:
        connection = psycopg2.connect(self.admin)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def _drop_slot(self) -> None:
        """The server needs a moment to see that a reader has gone."""
        deadline = time.monotonic() + 10
        while True:
            try:
                self._run(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                    "WHERE slot_name = %s",
                    self.database,
                )
                return
            except psycopg2.errors.ObjectInUse:
                assert time.monotonic() < deadline, "a reader is still there"
                time.sleep(0.05)

    def _run(self, statement: str, *values: object) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)

    def source(self) -> PostgresCDC:
        return PostgresCDC(self.dsn, ["public.item"], slot=self.database, batch=2)

    def put(self, key: str, revision: int) -> None:
        self._run(
            "INSERT INTO item VALUES (%s, %s) "
            "ON CONFLICT (id) DO UPDATE SET revision = excluded.revision",
            key,
            revision,
        )

    def remove(self, key: str) -> None:
        self._run("DELETE FROM item WHERE id = %s", key)

    def unreachable_source(self) -> PostgresCDC:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        return PostgresCDC(f"postgresql://me:hunter2@127.0.0.1:{port}/nowhere", ["item"])


class TestPostgresCDC15(TestPostgresCDC):
    """The same on PostgreSQL 15."""

    @pytest.fixture
    def postgres_dsn(self, postgres15_dsn: str) -> str:
        return postgres15_dsn
