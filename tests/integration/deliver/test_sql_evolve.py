"""A type that grows, and SqlSink's table on real databases: the ALTER, and ``evolve_table``."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any, TypedDict

import pytest

from sql_items import Database
from trunkline.connectors.contract import make_event
from trunkline.errors import ConfigurationError
from trunkline.schemas.types import avro_type

NEW: list[dict[str, Any]] = [
    {"name": "channel", "type": "string", "default": 'it\'s \\ 100% "web"'},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "count", "type": "long", "default": 7},
    {"name": "ratio", "type": "double", "default": 0.5},
    {"name": "active", "type": "boolean", "default": True},
    {
        "name": "color",
        "type": {"type": "enum", "name": "Tone", "symbols": ["red", "green"]},
        "default": "green",
    },
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0},
    {"name": "required", "type": "string"},
]
DEFAULTS = ('it\'s \\ 100% "web"', None, 7, 0.5, 1, "green", None, None, None)
NAMES = ", ".join(field["name"] for field in NEW)


def version(*added: dict[str, Any]) -> type:
    """The type with these fields more."""

    class Order(TypedDict):
        id: str

    name = f"Order{uuid.uuid4().hex[:8]}"
    fields = [{"name": "id", "type": "string"}, *added]
    avro_type(Order, json.dumps({"type": "record", "name": name, "fields": fields}))
    return Order


def order(key: str, offset: int, **more: Any) -> Any:
    return make_event(key, {"id": key, **more}, offset=offset)


VALUES = {
    **{"channel": "shop", "note": "n", "count": 1, "ratio": 1.5, "active": False, "color": "red"},
    **{"tags": ["a"], "at": None, "required": "r"},
}


def test_what_is_needed_is_the_alter_that_rows_and_old_workers_survive(db: Database) -> None:
    old, new = version(), version(*NEW)
    db.deliver([order("a", 1)], type=old)
    with pytest.raises(ConfigurationError, match="lacks column") as caught:
        db.deliver(type=new)
    said, _, mend = str(caught.value).partition("\n\n")
    assert "evolve_table=True" in said
    assert "create_table" not in said
    assert "CREATE TABLE" not in mend
    statements = [part.strip() for part in mend.split(";\n\n")]
    assert [s.startswith("ALTER TABLE") and " ADD COLUMN " in s for s in statements] == [True] * 9
    for statement in statements:
        with db.engine.begin() as connection:
            doubled = "%" if db.kind == "sqlite" else "%%"  # the other drivers' own
            connection.exec_driver_sql(statement.rstrip(";").replace("%", doubled))
    db.deliver([order("b", 2)], type=old)
    assert db.rows(NAMES) == [DEFAULTS, DEFAULTS]
    db.deliver([order("a", 3, **VALUES)], type=new)
    assert len(db.rows(NAMES)) == 2


def test_evolve_table_adds_what_is_missing(db: Database) -> None:
    old, new = version(), version(*NEW)
    db.deliver([order("a", 1)], type=old)
    db.deliver([order("c", 2, **VALUES)], type=new, evolve_table=True)
    db.deliver([order("b", 3)], type=old, create_table=False)
    assert [row[0] for row in db.rows("id")] == ["a", "b", "c"]
    assert DEFAULTS in db.rows(NAMES)


def test_several_workers_evolve_the_table_at_once(db: Database) -> None:
    db.deliver([order("a", 1)], type=version())
    new = version(*NEW)

    async def run() -> None:
        sinks = [db.sink(new, evolve_table=True) for _ in range(4)]
        await asyncio.gather(*(sink.open() for sink in sinks))
        for sink in sinks:
            await sink.close()

    asyncio.run(run())
    assert DEFAULTS in db.rows(NAMES)


def test_a_table_that_may_not_be_altered_is_told_with_the_statement(postgres: Database) -> None:
    postgres.deliver([order("a", 1)], type=version())
    role = f"poor_{postgres.table}"
    postgres.run(f"CREATE ROLE {role} LOGIN")
    postgres.run(f"GRANT ALL ON {{table}}, {{table}}_tl_pos TO {role}")
    poor = Database(str(postgres.engine.url.set(username=role)))
    try:
        with pytest.raises(ConfigurationError, match=r"ALTER TABLE .* ADD COLUMN note"):
            poor.deliver(table=postgres.table, type=version(NEW[1]), evolve_table=True)
    finally:
        poor.close()
        postgres.run(f"DROP OWNED BY {role}")
        postgres.run(f"DROP ROLE {role}")


# Names that a driver or a dialect takes for something else.

ODD = ["se%q", "100%", "%s", "%(x)s", "a:b", "a.b", "a b", "a(b)", "a)", 'qu"ote', "back`tick"]
ODD += ["?", "Ünï", "select", "it's", "VALUES (", "back\\slash"]


@pytest.mark.parametrize("name", ODD)
def test_a_column_may_have_any_name(db: Database, name: str) -> None:
    columns = {"id": "id", "v": name}
    kind = version({"name": "v", "type": ["null", "long"], "default": None})
    db.deliver([order("a", 1)], type=version())
    some: dict[str, Any] = {"type": kind, "columns": columns, "evolve_table": True}
    batch = [order(key, n, v=n) for n, key in enumerate(["a", "b", "c"], 2)]
    db.deliver(batch, [order("b", 9, v=9)], **some)
    assert db.rows() == [("a", 2), ("b", 9), ("c", 4)]


@pytest.mark.parametrize("name", ODD)
def test_a_key_may_have_any_name(db: Database, name: str) -> None:
    kind = version({"name": "v", "type": "long"})
    batch = [order(key, n, v=n) for n, key in enumerate(["a", "b", "c"], 2)]
    gone = make_event("b", change="delete", offset=9)
    db.deliver(batch, [gone], type=kind, columns={"id": name, "v": "v"}, key=name)
    assert db.rows() == [("a", 2), ("c", 4)]
