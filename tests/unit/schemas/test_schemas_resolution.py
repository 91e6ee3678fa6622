"""A value of one schema is read as the type of another: the Avro specification's resolution."""

from __future__ import annotations

import datetime
import decimal
import struct
import uuid
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas_known import DECIMAL, TIMESTAMP, Known, record, typed
from trunkline.errors import SerializationError
from trunkline.schemas.codec import Codec

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
NANOS = {"type": "long", "logicalType": "timestamp-nanos"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
TIME = {"type": "long", "logicalType": "time-micros"}
TIME_MILLIS = {"type": "int", "logicalType": "time-millis"}
DATE = {"type": "int", "logicalType": "date"}
UUID = {"type": "string", "logicalType": "uuid"}
ID = uuid.UUID(int=7)
SECOND = datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
D = decimal.Decimal


def resolved(old: Any, value: Any, new: Any) -> Any:
    """What a reader of the schema ``new`` makes of a value of ``old``, both of a field ``a``."""
    codec, writer = Codec(Known({})), typed(record(a=old))
    encode: Any = codec.encoder(writer, "s", register=True)
    decode: Any = codec.decoder(typed(record(a=new)))
    return decode(encode({"a": value}))["a"]


READ: dict[str, tuple[Any, Any, Any, Any]] = {
    "long, then moment": ("long", 1000, MILLIS, SECOND),
    "moment, then long": (MILLIS, SECOND, "long", 1000),
    "int, then moment": ("int", 1000, MILLIS, SECOND),
    "int, then date": ("int", 1, DATE, datetime.date(1970, 1, 2)),
    "date, then int": (DATE, datetime.date(1970, 1, 2), "int", 1),
    "date, then long": (DATE, datetime.date(1970, 1, 2), "long", 1),
    "date, then double": (DATE, datetime.date(1970, 1, 2), "double", 1.0),
    "text, then uuid": ("string", str(ID), UUID, ID),
    "uuid, then text": (UUID, ID, "string", str(ID)),
    "uuid, then bytes": (UUID, ID, "bytes", str(ID).encode()),
    "bytes, then decimal": ("bytes", b"\x01\x00", DECIMAL, D("2.56")),
    "decimal, then bytes": (DECIMAL, D("2.56"), "bytes", b"\x01\x00"),
    "moment, then local": (MILLIS, SECOND, LOCAL, SECOND.replace(tzinfo=None)),
    "millis, then micros": (MILLIS, SECOND, TIMESTAMP, SECOND),
    "micros, then millis": (TIMESTAMP, SECOND, MILLIS, SECOND),
    "millis, then nanos": (MILLIS, SECOND, NANOS, 10**9),
    "nanos, then micros": (NANOS, 10**9, TIMESTAMP, SECOND),
    "time of millis, then micros": (TIME_MILLIS, datetime.time(1), TIME, datetime.time(1)),
    "another scale": ({**DECIMAL, "scale": 1}, D("1.5"), DECIMAL, D("1.5")),
    "nothing known, then moment": (
        {"type": "long", "logicalType": "foo"},
        1000,
        MILLIS,
        SECOND,
    ),
    "in a union": (["null", "long"], 1000, ["null", MILLIS], SECOND),
    "out of a union": (["null", MILLIS], SECOND, "long", 1000),
    "in an array": (
        {"type": "array", "items": "long"},
        [1000],
        {"type": "array", "items": MILLIS},
        [SECOND],
    ),
    "in a map": (
        {"type": "map", "values": "string"},
        {"k": str(ID)},
        {"type": "map", "values": ["null", UUID]},
        {"k": ID},
    ),
    "in a record": (record("In", at="int"), {"at": 1000}, record("In", at=MILLIS), {"at": SECOND}),
    "int to double": ("int", 3, "double", 3.0),
    "long to float": ("long", 1 << 53, "float", float(1 << 53)),
    "float to double": ("float", 0.1, "double", struct.unpack("<f", struct.pack("<f", 0.1))[0]),
    "text to bytes": ("string", "ä", "bytes", "ä".encode()),
    "bytes to text": ("bytes", "ä".encode(), "string", "ä"),
    "the same before a wider one": ("int", 1, ["double", "long", "int"], 1),
    "the name before the first": (
        record("B", x=("long", 1)),
        {"x": 5},
        [record("A", x=("long", 1)), record("B", y=("long", 2))],
        {"y": 2},
    ),
}


@pytest.mark.parametrize(("old", "value", "new", "seen"), READ.values(), ids=READ)
def test_the_readers_schema_says_what_a_value_is(old: Any, value: Any, new: Any, seen: Any) -> None:
    found = resolved(old, value, new)
    assert found == seen
    assert type(found) is type(seen)


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("long", (1 << 53) + 1, "double"),
        ("string", "no uuid", UUID),
        ("long", 1 << 62, MILLIS),
        (NANOS, 1, TIMESTAMP),
        ("bytes", b"\xff", "string"),
        ("string", "1", "long"),
        ("long", 1, "int"),
        ("double", 1.0, "long"),
        (["null", "string"], None, "string"),
        (
            {"type": "fixed", "name": "F", "size": 2},
            b"12",
            {"type": "fixed", "name": "F", "size": 3},
        ),
        (
            {"type": "enum", "name": "E", "symbols": ["a", "b"]},
            "b",
            {"type": "enum", "name": "E", "symbols": ["a"]},
        ),
    ],
)
def test_what_the_new_type_cannot_hold_is_an_error(old: Any, value: Any, new: Any) -> None:
    with pytest.raises(SerializationError, match="cannot be read with its schema"):
        resolved(old, value, new)


def read(old: dict[str, Any], value: Any, new: dict[str, Any]) -> Any:
    codec = Codec(Known({}))
    encode: Any = codec.encoder(typed(old), "s", register=True)
    decode: Any = codec.decoder(typed(new))
    return decode(encode(value))


def renamed(type_: Any, name: str, *aliases: str) -> dict[str, Any]:
    return {"name": name, "type": type_, "aliases": list(aliases)}


def test_aliases_find_renamed_fields_and_types() -> None:
    old = record(a="long", b="string")
    new = {**record(), "fields": [renamed("string", "text", "b"), renamed("long", "number", "a")]}
    assert read(old, {"a": 1, "b": "x"}, new) == {"text": "x", "number": 1}
    swapped = {**record(), "fields": [renamed("long", "a", "b"), renamed("string", "b", "a")]}
    assert read(old, {"a": 1, "b": "x"}, swapped) == {"a": 1, "b": "x"}
    inner = {**record("shop.New", x="long"), "aliases": ["shop.Old"]}
    old = record(a=record("shop.Old", x="long"))
    assert read(old, {"a": {"x": 1}}, record(a=inner)) == {"a": {"x": 1}}


def test_fields_are_in_the_readers_order() -> None:
    old, new = record(a="long", b="long", c="long"), record(d=("long", 4), c="long", a="long")
    assert list(read(old, {"a": 1, "b": 2, "c": 3}, new).items()) == [("d", 4), ("c", 3), ("a", 1)]


def test_a_type_within_itself_is_resolved() -> None:
    old = record("Node", next=["null", "Node"], at="long", gone={"type": "array", "items": "Node"})
    new = record(
        "Node", at=MILLIS, next=["null", "Node"], tags=({"type": "map", "values": "int"}, {})
    )
    value = {"at": 1000, "gone": [], "next": {"at": 0, "next": None, "gone": []}}
    found = read(old, value, new)
    assert found["next"]["at"] == SECOND - datetime.timedelta(seconds=1)
    found["tags"]["x"] = 1
    assert found["next"]["tags"] == {}


def test_a_branch_that_the_reader_lacks_is_an_error_only_where_it_comes() -> None:
    gone = record("Gone", x="long", inner=["null", "Kept"])
    kept = record("Kept", y="long", more=["null", "Gone"])
    gone["fields"][1]["type"] = ["null", kept]
    old = record(a=["null", gone, "Kept"])
    new = record(a=["null", record("Kept", y="long", more=["null", record("Gone", z="long")])])
    assert read(old, {"a": {"y": 1, "more": None}}, new) == {"a": {"y": 1, "more": None}}
    for value in ({"x": 1, "inner": None}, {"y": 1, "more": {"x": 1, "inner": None}}):
        with pytest.raises(SerializationError, match="record Gone"):
            read(old, {"a": value}, new)


plain = st.sampled_from(["int", "long", "string", "bytes", "double", "boolean"])


@settings(max_examples=50, deadline=None)  # it makes two types each time
@given(kinds=st.lists(plain, max_size=5), data=st.data())
def test_resolution_agrees_with_fastavro_where_no_logical_type_is(
    kinds: list[str], data: st.DataObject
) -> None:
    old = record(**{f"f{i}": kind for i, kind in enumerate(kinds)})
    kept = data.draw(st.sets(st.sampled_from(range(5))))
    new = record(
        **{f"f{i}": old["fields"][i]["type"] if i < len(kinds) else ("int", i) for i in kept}
    )
    values = {
        "int": st.integers(-5, 5),
        "long": st.integers(-(2**63), 2**63 - 1),
        "string": st.text(),
        "bytes": st.binary(),
        "double": st.floats(allow_nan=False),
        "boolean": st.booleans(),
    }
    value = {f"f{i}": data.draw(values[kind]) for i, kind in enumerate(kinds)}
    codec = Codec(Known({}))
    encode: Any = codec.encoder(typed(old), "s", register=True)
    raw = encode(value)
    decode: Any = codec.decoder(typed(new))
    other = schemaless_reader(BytesIO(raw[5:]), parse_schema(old), parse_schema(new))
    assert decode(raw) == other


RAW = {"type": "bytes", "logicalType": "decimal"}


@pytest.mark.parametrize(
    ("type_", "raw", "seen"),
    [
        (("int", "one"), b"\x02", 1),
        ((["null", "int"], 7), b"\x02\x02", 1),
        (({"type": "enum", "name": "E", "symbols": ["a"]}, "z"), b"\x00", "a"),
        (RAW, b"\x02a", b"a"),
        ({**RAW, "precision": 0}, b"\x02a", b"a"),
        ({**RAW, "precision": 2, "scale": 3}, b"\x02a", b"a"),
        ({**RAW, "type": "fixed", "name": "F", "size": 1, "precision": 9}, b"a", b"a"),
    ],
)
def test_a_foreign_writers_wrong_default_or_decimal_does_not_cost_its_events(
    type_: Any, raw: bytes, seen: Any
) -> None:
    written = record(a=record("In", x=type_), b=("long", 3))
    codec = Codec(Known({1: written}))
    assert codec.decode_any(b"\0\0\0\0\1" + raw + b"\x04") == {"a": {"x": seen}, "b": 2}
    decode: Any = codec.decoder(typed(record(b="long")))
    assert decode(b"\0\0\0\0\1" + raw + b"\x04") == {"b": 2}
