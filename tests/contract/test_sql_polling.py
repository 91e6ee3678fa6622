"""SqlPolling passes the acceptance suite in each of its modes, on SQLite, PostgreSQL, MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polling_kit import Polled, polled
from trunkline.connectors.contract import SourceContract
from trunkline.connectors.sql import FullComparison, Increasing, SqlPolling, Timestamp
from trunkline.connectors.sql.polling.modes import Mode
from trunkline.local.ports import free_port


class Place:
    database: Polled

    def create(self) -> None:
        raise NotImplementedError

    def nowhere(self) -> str:
        raise NotImplementedError


class OnSqlite(Place):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> Iterator[None]:
        with polled(f"sqlite:///{tmp_path}/erp.db") as self.database:
            self.create()
            yield

    def nowhere(self) -> str:
        return "sqlite:////nowhere/at/all.db"


class OnPostgres(Place):
    @pytest.fixture(autouse=True)
    def _place(self, postgres_dsn: str) -> Iterator[None]:
        with polled(postgres_dsn) as self.database:
            self.create()
            yield

    def nowhere(self) -> str:
        return f"postgresql://me:hunter2@127.0.0.1:{free_port()}/nowhere"


class OnMariaDB(Place):
    @pytest.fixture(autouse=True)
    def _place(self, mariadb_url: str) -> Iterator[None]:
        with polled(mariadb_url) as self.database:
            self.create()
            yield

    def nowhere(self) -> str:
        return f"mariadb://me:hunter2@127.0.0.1:{free_port()}/nowhere"


class Polls(SourceContract, Place):
    secrets = ("hunter2",)

    def mode(self) -> Mode:
        raise NotImplementedError

    def source(self) -> SqlPolling:
        database = self.database
        return SqlPolling(
            database.url, database.table, by=self.mode(), key="id", interval="50ms", batch=2
        )

    def unreachable_source(self) -> SqlPolling:
        return SqlPolling(self.nowhere(), "item", by=self.mode(), timeout="2s")


class ByNumber(Polls):
    """Each change is a row of a table that only grows."""

    deletes = False

    def create(self) -> None:
        number = {
            "sqlite": "integer PRIMARY KEY AUTOINCREMENT",
            "postgresql": "bigserial PRIMARY KEY",
            "mysql": "bigint AUTO_INCREMENT PRIMARY KEY",
        }[self.database.backend]
        self.database.run(
            f"CREATE TABLE {{t}} (number {number}, id varchar(20), revision bigint NOT NULL)"
        )

    def mode(self) -> Mode:
        return Increasing("number", lag="0s")

    def put(self, key: str, revision: int) -> None:
        self.database.run(
            "INSERT INTO {t} (id, revision) VALUES (:id, :revision)", id=key, revision=revision
        )


class ByTime(ByNumber):
    """The same table, read by the time of its rows."""

    def create(self) -> None:
        super().create()
        now = {
            "sqlite": "changed_at timestamp",
            "postgresql": "changed_at timestamptz DEFAULT clock_timestamp()",
            "mysql": "changed_at datetime(6) DEFAULT utc_timestamp(6)",
        }[self.database.backend]
        self.database.run(f"ALTER TABLE {{t}} ADD {now}")

    def mode(self) -> Mode:
        return Timestamp("changed_at", lag="0s")

    def put(self, key: str, revision: int) -> None:
        super().put(key, revision)
        if self.database.backend == "sqlite":
            self.database.run("UPDATE {t} SET changed_at = datetime() WHERE changed_at IS NULL")


class ByComparison(Polls):
    """Each entity is a row that is overwritten and deleted."""

    every_state = False

    def create(self) -> None:
        self.database.run("CREATE TABLE {t} (id varchar(20) PRIMARY KEY, revision bigint NOT NULL)")

    def mode(self) -> Mode:
        return FullComparison()

    def put(self, key: str, revision: int) -> None:
        statement = "UPDATE {t} SET revision = :revision WHERE id = :id"
        if not self.database.run("SELECT 1 FROM {t} WHERE id = :id", id=key):
            statement = "INSERT INTO {t} (id, revision) VALUES (:id, :revision)"
        self.database.run(statement, id=key, revision=revision)

    def remove(self, key: str) -> None:
        self.database.run("DELETE FROM {t} WHERE id = :id", id=key)


class TestByNumberOnSqlite(ByNumber, OnSqlite):
    pass


class TestByNumberOnMariaDB(ByNumber, OnMariaDB):
    pass


class TestByTimeOnPostgres(ByTime, OnPostgres):
    pass


class TestByTimeOnMariaDB(ByTime, OnMariaDB):
    pass


class TestByComparisonOnSqlite(ByComparison, OnSqlite):
    pass


class TestByComparisonOnPostgres(ByComparison, OnPostgres):
    pass
