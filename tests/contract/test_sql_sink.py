"""SqlSink passes the acceptance suite on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
from sqlalchemy import text

from trunkline.connectors.contract import SinkContract
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.sql.engine import sql_engine
from trunkline.event import Event
from trunkline.schemas.types import avro_type


class Item(TypedDict):
    id: str
    revision: int


avro_type(
    Item,
    json.dumps(
        {
            "type": "record",
            "name": "ContractItem",
            "fields": [{"name": "id", "type": "string"}, {"name": "revision", "type": "long"}],
        }
    ),
)


class Line(TypedDict):
    id: str
    number: int
    revision: int


class Order(TypedDict):
    lines: list[Line]


FIELDS = [("id", "string"), ("number", "long"), ("revision", "long")]
LINE = {
    "type": "record",
    "name": "ContractLine",
    "fields": [{"name": name, "type": kind} for name, kind in FIELDS],
}
LINES = {"name": "lines", "type": {"type": "array", "items": LINE}}
avro_type(Order, json.dumps({"type": "record", "name": "ContractOrder", "fields": [LINES]}))


class OnSql(SinkContract):
    effectively_once = True
    secrets = ("hunter2",)
    url: str
    table: str

    def sink(self) -> SqlSink[Item]:
        return SqlSink(self.url, Item, table=self.table, create_table=True, concurrency=2)

    def contents(self) -> dict[str, int]:
        engine = sql_engine(self.url, timeout=5, connections=1)
        with engine.connect() as connection:
            rows = connection.execute(text(f"SELECT id, revision FROM {self.table}"))
            found = {row.id: row.revision for row in rows}
        engine.dispose()
        return found

    def unacceptable(self, key: str) -> Event[Any]:
        event = self.event(key, 0)
        event.data["revision"] = None  # NOT NULL
        return event


class OnServer(OnSql):
    backend: str

    def unreachable_sink(self) -> SqlSink[Item]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        url = f"{self.backend}://me:hunter2@127.0.0.1:{port}/nowhere"
        return SqlSink(url, Item, table=self.table)


def fresh_table() -> str:
    return f"item_{uuid.uuid4().hex[:12]}"


class TestSqlite(OnSql):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path}/mart.db"
        self.table = "item"

    def unreachable_sink(self) -> SqlSink[Item]:
        return SqlSink("sqlite:////nowhere/at/all.db", Item, table="item")


class TestPostgres(OnServer):
    backend = "postgresql"

    @pytest.fixture(autouse=True)
    def _place(self, postgres_dsn: str) -> Iterator[None]:
        self.url, self.table = postgres_dsn, fresh_table()
        yield
        drop(self.url, self.table)


class TestMariaDB(OnServer):
    backend = "mariadb"

    @pytest.fixture(autouse=True)
    def _place(self, mariadb_url: str) -> Iterator[None]:
        self.url, self.table = mariadb_url, fresh_table()
        yield
        drop(self.url, self.table)


class HoldsWholes(OnSql):
    """With ``owner=``: an event is all lines of an entity, fewer or more of them each time."""

    def sink(self) -> SqlSink[Order]:
        given: Any = {"key": ["id", "number"], "owner": "id", "create_table": True}
        return SqlSink(self.url, Order, table=self.table, concurrency=2, **given)

    def data(self, key: str, revision: int) -> Order:
        numbers = range(1 + revision % 3)
        return Order(lines=[Line(id=key, number=n, revision=revision) for n in numbers])

    def contents(self) -> dict[str, int]:
        engine = sql_engine(self.url, timeout=5, connections=1)
        with engine.connect() as connection:
            rows = connection.execute(text(f"SELECT id, number, revision FROM {self.table}"))
            found = sorted((row.id, row.number, row.revision) for row in rows)
        engine.dispose()
        newest = {id: revision for id, _, revision in found}
        lines = (line for item in newest.items() for line in self.data(*item)["lines"])
        whole = [(line["id"], line["number"], line["revision"]) for line in lines]
        assert found == whole, "lines of an older whole, or not all of the newest"
        return newest

    def unacceptable(self, key: str) -> Event[Any]:
        event = self.event(key, 0)
        event.data["lines"][-1]["revision"] = None  # NOT NULL
        return event


class TestWholesOnSqlite(HoldsWholes, TestSqlite):
    pass


class TestWholesOnPostgres(HoldsWholes, TestPostgres):
    pass


class TestWholesOnMariaDB(HoldsWholes, TestMariaDB):
    pass


def drop(url: str, table: str) -> None:
    engine = sql_engine(url, timeout=5, connections=1)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        connection.execute(text(f"DROP TABLE IF EXISTS {table}_tl_pos"))
    engine.dispose()
