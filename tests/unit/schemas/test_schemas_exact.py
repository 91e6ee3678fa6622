"""What is written reads back, exactly, or is refused with its field: any schema, any value."""

from __future__ import annotations

import array
import datetime
import decimal
import enum
import math
import struct
import types
import uuid
import zoneinfo
from collections import OrderedDict, defaultdict
from typing import Any

import pytest

from schemas_known import DECIMAL, TIMESTAMP, Known, record, typed
from trunkline.errors import SerializationError
from trunkline.schemas.codec import Codec

ROME = zoneinfo.ZoneInfo("Europe/Rome")
AWARE = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC)
NAIVE = datetime.datetime(2026, 7, 1, 12)
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-micros"}
LOCAL_MILLIS = {"type": "long", "logicalType": "local-timestamp-millis"}
NANOS = {"type": "long", "logicalType": "timestamp-nanos"}
TIME = {"type": "long", "logicalType": "time-micros"}
TIME_MILLIS = {"type": "int", "logicalType": "time-millis"}
DATE = {"type": "int", "logicalType": "date"}
UUID = {"type": "string", "logicalType": "uuid"}
MARK = {"type": "fixed", "name": "Mark", "size": 3}
UUID16 = {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}
MONEY = {
    "type": "fixed",
    "name": "Money",
    "size": 2,
    "logicalType": "decimal",
    "precision": 4,
    "scale": 1,
}
DURATION = {"type": "fixed", "name": "Span", "size": 12, "logicalType": "duration"}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}
LONGS = {"type": "array", "items": "long"}
COUNTS = {"type": "map", "values": "long"}
ID = uuid.UUID("0f0e0d0c-0b0a-4908-8706-050403020100")
D = decimal.Decimal


class Level(enum.IntEnum):
    """A number with a name."""

    LOW = 1


class Shade(enum.StrEnum):
    """A text with a name."""

    RED = "red"


def round_trip(type_: Any, value: Any) -> Any:
    """What a reader sees of a field that was written. Raises SerializationError."""
    cls, codec = typed(record(a=type_)), Codec(Known({}))
    encode: Any = codec.encoder(cls, "s", register=True)
    read: Any = codec.decoder(cls)(encode({"a": value}))
    return read["a"]


def refused(type_: Any, value: Any, place: str = "a") -> str:
    """Why a value is refused. Fails if it is not, or not with its place."""
    with pytest.raises(SerializationError) as caught:
        round_trip(type_, value)
    message = str(caught.value)
    assert message.startswith(f"Thing.{place} "), message
    return message


REFUSED: list[tuple[Any, Any]] = [
    ("null", 0),
    ("boolean", 1),
    ("boolean", "true"),
    ("int", True),
    ("int", 1.0),
    ("int", "1"),
    ("int", D(1)),
    ("int", 1 << 31),
    ("int", -(1 << 31) - 1),
    ("long", 1 << 63),
    ("long", -(1 << 63) - 1),
    ("long", AWARE),
    ("long", None),
    ("float", "1.5"),
    ("float", True),
    ("float", D("1.5")),
    ("float", 1e39),
    ("float", 1e-60),
    ("float", (1 << 24) + 1),
    ("double", "1.5"),
    ("double", "NaN"),
    ("double", False),
    ("double", D("1.5")),
    ("double", (1 << 53) + 1),
    ("double", 1 << 2000),
    ("bytes", "text"),
    ("bytes", [1, 2]),
    ("bytes", array.array("i", [1])),
    ("bytes", memoryview(array.array("i", [1]))),
    ("string", b"text"),
    ("string", 1),
    ("string", ID),
    ("string", "\ud800"),
    (MARK, b"12"),
    (MARK, b"1234"),
    (MARK, "123"),
    (COLOUR, "blue"),
    (COLOUR, "Red"),
    (COLOUR, 0),
    (COLOUR, ["red"]),
    (DATE, AWARE),
    (DATE, NAIVE),
    (DATE, 1),
    (DATE, 10**9),
    (DATE, "2026-07-01"),
    (TIME, True),
    (TIME, 1),
    (TIME, "12:00"),
    (TIME, datetime.time(12, tzinfo=datetime.UTC)),
    (TIME_MILLIS, True),
    (TIME_MILLIS, 90_000_000),
    (TIME_MILLIS, datetime.time(12, 0, 0, 1)),
    (MILLIS, NAIVE),
    (MILLIS, 1000),
    (MILLIS, 10**17),
    (MILLIS, True),
    (MILLIS, 1.5),
    (MILLIS, AWARE.isoformat()),
    (MILLIS, AWARE.date()),
    (MILLIS, AWARE.replace(microsecond=1)),
    (TIMESTAMP, NAIVE),
    (LOCAL, AWARE),
    (LOCAL, 1),
    (LOCAL, AWARE.date()),
    (LOCAL_MILLIS, NAIVE.replace(microsecond=999)),
    (NANOS, AWARE),
    (DECIMAL, 1),
    (DECIMAL, 1.5),
    (DECIMAL, "1.5"),
    (DECIMAL, D("NaN")),
    (DECIMAL, D("sNaN")),
    (DECIMAL, D("-Infinity")),
    (DECIMAL, D("0.001")),
    (DECIMAL, D("12345678")),
    (DECIMAL, D("1E+999999999999")),
    (DECIMAL, D("1E-999999999999")),
    (MONEY, D("1000")),
    (MONEY, D("0.05")),
    (MONEY, b"12"),
    (UUID, "not-a-uuid"),
    (UUID, ""),
    (UUID, str(ID).upper()),
    (UUID, "{" + str(ID) + "}"),
    (UUID, ID.hex),
    (UUID, f"urn:uuid:{ID}"),
    (UUID, ID.bytes),
    (UUID, ID.int),
    (UUID16, ID.bytes),
    (UUID16, str(ID)[:-1]),
    (DURATION, datetime.timedelta(1)),
    (DURATION, b"short"),
    (LONGS, (n for n in [1, 2, 3])),
    (LONGS, map(int, "123")),
    (LONGS, filter(None, [1])),
    (LONGS, zip([1], strict=True)),
    (LONGS, iter([1])),
    (LONGS, range(3)),
    (LONGS, {1, 2}),
    (LONGS, frozenset([1])),
    (LONGS, {1: 2}),
    (LONGS, {1: 2}.keys()),
    (LONGS, {1: 2}.values()),
    (LONGS, array.array("q", [1])),
    (LONGS, b"123"),
    (LONGS, "123"),
    ({"type": "array", "items": "string"}, "abc"),
    (COUNTS, [("a", 1)]),
    (COUNTS, {"a": 1}.items()),
    (COUNTS, "a"),
    (record("In", b="long"), [("b", 1)]),
    (record("In", b="long"), "b"),
    (record("In", b="long"), {"b": 1, "c": 2}),
    (record("In", b="long"), {"b": 1, 2: 2}),
    (["null", "long"], "1"),
    (["null", "long"], True),
    (["null", "string", "long"], 1.5),
    (["null", "string", "long"], ("string", "x")),
    (["null", MILLIS, "string"], NAIVE),
    (["null", MILLIS, "string"], 1),
    (["null", UUID, "long"], "not-a-uuid"),
    (["string", LONGS], (n for n in [1])),
    ("long", (n for n in [1])),
]


@pytest.mark.parametrize(("type_", "value"), REFUSED, ids=repr)
def test_what_would_come_back_changed_is_refused_with_its_field(type_: Any, value: Any) -> None:
    refused(type_, value)
    # Wherever it stands, unless another branch takes it:
    if not isinstance(value, map | filter | zip | types.GeneratorType) and value is not None:
        if type_ != "null":
            refused({"type": "array", "items": type_}, [value], "a[0]")
        refused({"type": "map", "values": type_}, {"k": value}, "a[key 0]")
        refused(record("Outer", x=type_), {"x": value}, "a.x")
        if not isinstance(type_, list):
            refused(["null", type_, record("Other", zzz="null")], value)


@pytest.mark.parametrize(
    ("type_", "value", "told"),
    [
        (COLOUR, "blue", r"a wants a symbol of enum Colour \(red, green\), not another text"),
        (["null", COLOUR], "blue", r"a wants a symbol of enum Colour \(red, green\), not another"),
        (DECIMAL, 1.5, "a wants a Decimal, not float"),
        (DECIMAL, D("NaN"), "a wants a finite Decimal, not an infinity or NaN"),
        (DECIMAL, D("0.001"), "a wants a Decimal of at most 2 digits after the point, not a finer"),
        (DECIMAL, D("12345678"), "a wants a Decimal of at most 7 digits before the point, not a l"),
    ],
)
def test_what_is_wanted_is_told_in_words_that_help(type_: Any, value: Any, told: str) -> None:
    with pytest.raises(SerializationError, match=told):
        Codec(Known({})).encoder(typed(record(a=type_)), "s", register=True)({"a": value})  # type: ignore[typeddict-item]


def test_of_many_symbols_some_are_told() -> None:
    many = {"type": "enum", "name": "E", "symbols": [f"S{n}" for n in range(5_000)]}
    assert len(refused(many, "blue")) < 400


def test_the_place_of_a_value_deep_inside_is_told() -> None:
    inner = record("Line", amounts={"type": "map", "values": LONGS})
    lines = {"type": "array", "items": ["null", inner]}
    value = [None, {"amounts": {"x": [1], "y": [1, "secret"]}}]
    message = refused(lines, value, "a[1].amounts[key 1][1]")
    assert "wants an int, not str" in message
    assert "secret" not in message
    assert "more fields than the schema: tax" in refused(lines, [{"amounts": {}, "tax": 1}], "a[0]")
    assert "wants map, not nothing" in refused(lines, [{}], "a[0].amounts")


KEPT: list[tuple[Any, Any, Any]] = [
    ("int", Level.LOW, 1),
    ("float", 0.1, struct.unpack("<f", struct.pack("<f", 0.1))[0]),
    ("float", 1 << 24, 1 << 24),
    ("float", math.inf, math.inf),
    ("double", -0.0, -0.0),
    ("double", 1 << 53, 1 << 53),
    ("double", 5e-324, 5e-324),
    ("bytes", bytearray(b"ab"), b"ab"),
    ("bytes", memoryview(b"abcd")[::2], b"ac"),
    (MARK, bytearray(b"abc"), b"abc"),
    ("string", Shade.RED, "red"),
    (COLOUR, Shade.RED, "red"),
    (MILLIS, datetime.datetime(2026, 10, 25, 2, 30, tzinfo=ROME, fold=1), None),
    (MILLIS, datetime.datetime(2026, 3, 29, 2, 30, tzinfo=ROME), None),
    (MILLIS, datetime.datetime.min.replace(tzinfo=datetime.UTC), None),
    (TIMESTAMP, datetime.datetime.max.replace(tzinfo=datetime.UTC), None),
    (LOCAL, datetime.datetime.max, datetime.datetime.max),
    (LOCAL_MILLIS, datetime.datetime.min, datetime.datetime.min),
    (NANOS, 10**18, 10**18),
    (TIME, datetime.time.max, datetime.time.max),
    (TIME_MILLIS, datetime.time(23, 59, 59, 999_000), datetime.time(23, 59, 59, 999_000)),
    (DATE, datetime.date.min, datetime.date.min),
    (DATE, datetime.date.max, datetime.date.max),
    (DECIMAL, D("-9999999.99"), D("-9999999.99")),
    (DECIMAL, D("1.500"), D("1.50")),
    (DECIMAL, D("1E+3"), D("1000.00")),
    (DECIMAL, D("0E-30"), D("0.00")),
    (DECIMAL, D("-1.28"), D("-1.28")),
    (MONEY, D("-999.9"), D("-999.9")),
    (MONEY, D("999.9"), D("999.9")),
    (UUID, str(ID), ID),
    (UUID16, str(ID), ID),
    (UUID16, ID, ID),
    (DURATION, b"123456789012", b"123456789012"),
    (LONGS, (1, 2), [1, 2]),
    (COUNTS, OrderedDict(a=1), {"a": 1}),
    (COUNTS, types.MappingProxyType({"a": 1}), {"a": 1}),
    (record("In", b="long"), types.MappingProxyType({"b": 1}), {"b": 1}),
    (record("In", b="long"), defaultdict(int, b=1), {"b": 1}),
    (["int", "long", "double"], 1 << 40, 1 << 40),
    (["float", "double"], 0.1, 0.1),
    (["double", "long"], (1 << 53) + 1, (1 << 53) + 1),
    (["long", "double"], 1.0, 1.0),
    (["string", UUID16], str(ID), str(ID)),
    (["string", UUID16], ID, ID),
    (["null", MILLIS, LONGS, "boolean"], True, True),
    ([DATE, MILLIS], AWARE, AWARE),
    ([DATE, MILLIS], AWARE.date(), AWARE.date()),
    ([record("A", x="long"), record("B", y="long")], {"y": 1}, {"y": 1}),
    ([record("A", x="long"), record("B", x="string")], {"x": "1"}, {"x": "1"}),
    ([record("A", x="long"), COUNTS], {"z": 1}, {"z": 1}),
]


@pytest.mark.parametrize(("type_", "value", "back"), KEPT, ids=repr)
def test_what_python_takes_for_the_same_comes_back(type_: Any, value: Any, back: Any) -> None:
    found = round_trip(type_, value)
    assert type(found) is type(back) or back is None or isinstance(value, int)
    assert found - value == datetime.timedelta(0) if back is None else found == back


def test_a_misspelt_field_of_a_dict_that_invents_fields_is_refused() -> None:
    assert "more fields" in refused(record("In", b="long"), defaultdict(int, bb=1))


def test_a_branch_is_never_guessed() -> None:
    union = [record("tx.Deposit", amount="long"), record("tx.Withdrawal", amount="long")]
    message = refused(union, {"amount": 5})
    assert "fits record tx.Deposit and record tx.Withdrawal alike" in message
    refused(union, ("tx.Withdrawal", {"amount": 5}))
    own = [
        record(name, kind={"type": "enum", "name": f"{name}Kind", "symbols": [name]})
        for name in ("Deposit", "Withdrawal")
    ]
    assert round_trip(own, {"kind": "Withdrawal"}) == {"kind": "Withdrawal"}
    marks = [{"type": "fixed", "name": f"F{n}", "size": n} for n in (2, 3)]
    assert round_trip(marks, b"123") == b"123"
    assert "alike" in refused([MARK, "bytes"], b"123")
    assert "alike" in refused([COLOUR, "string"], "red")


def test_what_is_nested_too_deep_to_be_read_is_refused() -> None:
    node: Any = record("Node", next=["null", "Node"])
    codec, cls = Codec(Known({})), typed(node)
    encode: Any = codec.encoder(cls, "s", register=True)

    def chain(levels: int) -> Any:
        value: Any = None
        for _ in range(levels):
            value = {"next": value}
        return value

    assert codec.decoder(cls)(encode(chain(150))) == chain(150)
    with pytest.raises(SerializationError, match="nested more than 150 deep"):
        encode(chain(151))
    endless: dict[str, Any] = {}
    endless["next"] = endless
    with pytest.raises(SerializationError, match="nested more than 150 deep"):
        encode(endless)
