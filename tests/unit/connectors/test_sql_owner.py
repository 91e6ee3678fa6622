"""The arguments of SqlSink with an owner, and the columns that it makes of a whole's type."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from sql_items import described
from sql_wholes import WHOLE, Whole
from trunkline.connectors.sql import SqlSink
from trunkline.errors import ConfigurationError


class Bare(TypedDict):
    id: str
    lines: list[dict[str, Any]]
    more: list[dict[str, Any]] | None


COLOR = {"type": "enum", "name": "Tint", "symbols": ["red"]}
LINE = {
    "type": "record",
    "name": "BareLine",
    "fields": [{"name": "number", "type": "int"}, {"name": "tint", "type": "Tint"}],
}
described(
    Bare,
    id="string",
    tint=COLOR,
    lines={"type": "array", "items": LINE},
    more=["null", {"type": "array", "items": "BareLine"}],
)


def sink(type: type, **options: Any) -> SqlSink[Any]:
    return SqlSink("sqlite:///nowhere.db", type, table="lines", **options)


def columns(made: SqlSink[Any]) -> dict[str, str]:
    return {column.name: str(column.type) for column in made._table.columns}


def test_the_owner_comes_first_so_that_its_index_finds_the_rows() -> None:
    made = sink(Whole, key=["number", "order"], owner="order")
    assert [column.name for column in made._table.primary_key] == ["order", "number"]
    assert list(columns(made)) == ["order", "number", "price", "note"]


def test_rows_that_lack_the_owner_have_it_of_the_whole() -> None:
    names = {"id": "order_id", "number": "number", "tint": "tint"}
    made = sink(Bare, rows="more", owner="order_id", key=["order_id", "number"], columns=names)
    assert columns(made) == {"order_id": "TEXT", "number": "INTEGER", "tint": "TEXT"}


def test_a_type_that_the_whole_defines_is_known_in_its_rows() -> None:
    made = sink(Bare, rows="lines", owner="id", key=["id", "number"])
    assert columns(made) == {"id": "TEXT", "number": "INTEGER", "tint": "TEXT"}


@pytest.mark.parametrize(
    ("type", "options", "what"),
    [
        (Whole, WHOLE | {"key": "number"}, "owner order is not in the key"),
        (Whole, WHOLE | {"key": "order"}, "owner= is all of the key"),
        (Whole, WHOLE | {"positions": None}, "needs the table of positions"),
        (Whole, WHOLE | {"rows": "line"}, "rows='line' is no field of tests.Whole that lists"),
        (Whole, WHOLE | {"columns": {"order": "order", "nr": "nr"}}, "columns= names nr"),
        (Whole, {"key": ["x", "number"], "owner": "x"}, "owner x is no column"),
        (Whole, {"key": ["order", "x"], "owner": "order"}, "key x is no column"),
        (Whole, {"key": "order", "rows": "lines"}, "rows='lines' needs owner="),
        (Bare, {"key": ["id", "number"], "owner": "id"}, r"has several \(lines, more\): name it"),
    ],
)
def test_arguments_that_cannot_be_are_told(type: Any, options: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        sink(type, **options)


def test_a_type_without_rows_is_told() -> None:
    described(Plain := TypedDict("Plain", {"id": str}), id="string")
    with pytest.raises(ConfigurationError, match="owner= needs a field that lists rows"):
        sink(Plain, key=["id", "n"], owner="id")
