"""MySqlCDC passes the acceptance suite, on a real MariaDB."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from mysql_kit import Database, new_database
from trunkline.connectors.contract import SourceContract
from trunkline.connectors.mysql import MySqlCDC
from trunkline.local.ports import free_port


class TestMySqlCDC(SourceContract):
    secrets = ("hunter2",)
    database: Database

    @pytest.fixture(autouse=True)
    def _place(self, mariadb_url: str) -> Iterator[None]:
        with new_database(mariadb_url, f"cdc_{uuid.uuid4().hex[:12]}") as self.database:
            self.database.run(
                "CREATE TABLE item (id varchar(20) PRIMARY KEY, revision bigint NOT NULL)"
            )
            yield

    def source(self) -> MySqlCDC:
        return MySqlCDC(self.database.dsn, ["item"], batch=2)

    def put(self, key: str, revision: int) -> None:
        self.database.run(
            "INSERT INTO item VALUES (%s, %s) ON DUPLICATE KEY UPDATE revision = %s",
            key,
            revision,
            revision,
        )

    def remove(self, key: str) -> None:
        self.database.run("DELETE FROM item WHERE id = %s", key)

    def unreachable_source(self) -> MySqlCDC:
        return MySqlCDC(f"mysql://me:hunter2@127.0.0.1:{free_port()}/nowhere", ["item"])
