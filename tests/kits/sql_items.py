"""For the SQL sink's tests: a type with every kind of Avro field, its events, and databases."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import text

from trunkline.connectors.contract import make_event
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.sql.engine import sql_engine
from trunkline.event import Event
from trunkline.schemas.types import avro_type


class Rich(TypedDict):
    id: str
    count: int | None
    big: int
    ratio: float
    small: float
    active: bool
    raw: bytes
    color: str
    price: Decimal
    day: date
    clock: time
    at: datetime
    local: datetime
    uuid: UUID
    tags: list[str]
    address: dict[str, Any] | None


def _logical(type: str, name: str, **more: int) -> dict[str, Any]:
    return {"type": type, "logicalType": name, **more}


TYPES: dict[str, Any] = {
    "id": "string",
    "count": ["null", "int"],
    "big": "long",
    "ratio": "double",
    "small": "float",
    "active": "boolean",
    "raw": "bytes",
    "color": {"type": "enum", "name": "Color", "symbols": ["red", "green"]},
    "price": _logical("bytes", "decimal", precision=12, scale=2),
    "day": _logical("int", "date"),
    "clock": _logical("long", "time-micros"),
    "at": _logical("long", "timestamp-micros"),
    "local": _logical("long", "local-timestamp-micros"),
    "uuid": _logical("string", "uuid"),
    "tags": {"type": "array", "items": "string"},
    "address": [
        "null",
        {"type": "record", "name": "Address", "fields": [{"name": "zip", "type": "string"}]},
    ],
}


class Line(TypedDict):
    order: str
    number: int
    day: date
    amount: int


def described(cls: type, **types: Any) -> None:
    fields = [{"name": name, "type": type} for name, type in types.items()]
    avro_type(
        cls,
        json.dumps(
            {"type": "record", "name": cls.__name__, "namespace": "tests", "fields": fields}
        ),
    )


described(Rich, **TYPES)
described(Line, order="string", number="long", day=_logical("int", "date"), amount="int")


def rich(id: str, **changed: Any) -> Rich:
    value: Any = {
        "id": id,
        "count": 1,
        "big": 2**62,
        "ratio": 0.1,
        "small": 0.5,
        "active": True,
        "raw": b"\x00\xff",
        "color": "red",
        "price": Decimal("1234.50"),
        "day": date(2024, 2, 29),
        "clock": time(12, 30, 0, 250_000),
        "at": datetime(2024, 2, 29, 12, 30, 0, 123_456, tzinfo=UTC),
        "local": datetime(2024, 2, 29, 12, 30, 0, 123_456),
        "uuid": UUID("12345678-1234-5678-1234-567812345678"),
        "tags": ["a", "é"],
        "address": {"zip": "00100"},
    }
    return value | changed  # type: ignore[no-any-return]


def put(key: str, offset: int, count: int = 1, **place: Any) -> Event[Any]:
    """An update; ``place``: its topic and partition."""
    return make_event(key, rich(key, count=count), offset=offset, **place)


def gone(key: str, offset: int, **place: Any) -> Event[Any]:
    """A delete."""
    return make_event(key, change="delete", offset=offset, **place)


class Database:
    """A database of any kind, and a table in it that no other test has."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.table = f"t_{uuid.uuid4().hex[:12]}"
        self.engine = sql_engine(url, timeout=5, connections=4)
        self.kind = self.engine.dialect.name

    def run(self, statement: str) -> None:
        """Execute a statement about ``{table}``; ``{key}`` is a text type that tells keys apart."""
        key = "VARCHAR(50)" + (" COLLATE utf8mb4_bin" if self.kind == "mysql" else "")
        with self.engine.begin() as connection:
            connection.execute(text(statement.replace("{table}", self.table).replace("{key}", key)))

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        """The table's rows in their order."""
        with self.engine.connect() as connection:
            found = connection.execute(text(f"SELECT {columns} FROM {self.table}"))
            return sorted(tuple(row) for row in found)

    def sink(self, type: type = Rich, **options: Any) -> SqlSink[Any]:
        options = {"table": self.table, "create_table": True, **options}
        return SqlSink(self.url, type, **options)

    def deliver(self, *batches: Sequence[Event[Any]], type: type = Rich, **options: Any) -> None:
        """Deliver the batches with one sink. Raises what the sink raises."""

        async def run() -> None:
            sink = self.sink(type, **options)
            try:
                await sink.open()
                for batch in batches:
                    await sink.deliver(batch)
            finally:
                await sink.close()

        asyncio.run(run())

    def close(self) -> None:
        self.run("DROP TABLE IF EXISTS {table}")
        self.run("DROP TABLE IF EXISTS {table}_tl_pos")
        self.engine.dispose()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database for one test; its table is dropped afterwards."""
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def counts(db: Database) -> dict[str, int]:
    """The ``count`` of each row by its key."""
    return dict(db.rows("id, count"))
