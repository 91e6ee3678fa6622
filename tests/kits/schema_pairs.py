"""Pairs of schemas: what is written, what reads it, and whether that goes well."""

from __future__ import annotations

from typing import Any, NamedTuple


class Pair(NamedTuple):
    """``why``: what a finding says; "" where there is none."""

    name: str
    writer: Any
    reader: Any
    why: str = ""


def record(*fields: Any, name: str = "Order", **more: Any) -> dict[str, Any]:
    """A record of these fields; a pair is a name and a type, a triple has a default, too."""
    made = [dict(zip(("name", "type", "default"), field, strict=False)) for field in fields]
    return {"type": "record", "name": name, "namespace": "shop", "fields": made, **more}


def enum(*symbols: str, name: str = "Status", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "Hash", "size": size}


ID = ("id", "string")
ARRAY, MAP = {"type": "array", "items": "int"}, {"type": "map", "values": "int"}
LINE = record(("sku", "string"), name="Line")
LONGER = record(("sku", "string"), ("count", "int"), name="Line")
NODE = record(("next", ["null", "shop.Node"]), name="Node")
NODE_OF = record(("next", ["null", "shop.Node"]), ("of", "string"), name="Node")

PAIRS = [
    Pair("the same", record(ID), record(ID)),
    Pair("a field that is written alone", record(ID, ("note", "string")), record(ID)),
    Pair("a new field with a default", record(ID), record(ID, ("note", "string", ""))),
    Pair("a new field without one", record(ID), record(ID, ("note", "string")), "Order.note"),
    Pair("an int as a long", record(("n", "int")), record(("n", "long"))),
    Pair("a long as an int", record(("n", "long")), record(("n", "int")), "int is read"),
    Pair("a long as a double", record(("n", "long")), record(("n", "double"))),
    Pair("a double as a float", record(("n", "double")), record(("n", "float")), "float is read"),
    Pair("a text as bytes", record(("n", "string")), record(("n", "bytes"))),
    Pair("bytes as a text", record(("n", "bytes")), record(("n", "string"))),
    Pair("a text as an int", record(("n", "string")), record(("n", "int")), "string is written"),
    Pair("a value as a nullable one", record(ID), record(("id", ["null", "string"]))),
    Pair(
        "a nullable as a value", record(("id", ["null", "string"])), record(ID), "null is written"
    ),
    Pair(
        "a branch more is written",
        record(("id", ["null", "string", "long"])),
        record(("id", ["null", "string"])),
        "long is written",
    ),
    Pair("a symbol less", record(("s", enum("a", "b"))), record(("s", enum("a", "b", "c")))),
    Pair("a symbol more", record(("s", enum("a", "b"))), record(("s", enum("a"))), "b may be"),
    Pair(
        "a symbol more, and a default",
        record(("s", enum("a", "b"))),
        record(("s", enum("a", default="a"))),
    ),
    Pair("the same size", record(("h", fixed(4))), record(("h", fixed(4)))),
    Pair("another size", record(("h", fixed(4))), record(("h", fixed(8))), "4 bytes"),
    Pair("another name", record(ID), record(ID, name="Sale"), "shop.Order is written"),
    Pair("an alias", record(ID), record(ID, name="Sale", aliases=["shop.Order"])),
    Pair("a list as a map", record(("x", ARRAY)), record(("x", MAP)), "map is read"),
    Pair(
        "items of a list",
        record(("x", {"type": "array", "items": LINE})),
        record(("x", {"type": "array", "items": LONGER})),
        "Order.x[].count",
    ),
    Pair(
        "values of a map",
        record(("x", {"type": "map", "values": "long"})),
        record(("x", {"type": "map", "values": "int"})),
        "Order.x{}",
    ),
    Pair("a type within itself", NODE, NODE),
    Pair("a type within itself, and a field", NODE, NODE_OF, "Node.of"),
    Pair(
        "a record in a union",
        record(("x", ["null", LINE])),
        record(("x", ["null", LONGER])),
        "Order.x.count",
    ),
    Pair(
        "a field by its alias",
        record(("sku", "string")),
        {**record(), "fields": [{"name": "article", "type": "string", "aliases": ["sku"]}]},
    ),
]
