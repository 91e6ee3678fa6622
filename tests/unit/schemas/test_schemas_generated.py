"""Generated readers and writers: they do what fastavro does, or leave it to somebody else."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections import defaultdict
from collections.abc import Callable
from io import BytesIO
from typing import Any, NoReturn

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import example, given
from hypothesis import strategies as st

from schemas_known import DECIMAL, record
from trunkline.schemas import avro
from trunkline.schemas.compiled.reader import reader
from trunkline.schemas.compiled.writer import writer
from trunkline.schemas.exact.write import exact_writer

PREFIX = b"\0\0\0\0\1"
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MARK = {"type": "enum", "name": "Mark", "symbols": ["low", "high"]}
CHILD = record("Child", name="string", mark="Mark")

PLAIN = parse_schema(
    record(
        "Plain",
        flag="boolean",
        count="int",
        total="long",
        single="float",
        ratio="double",
        raw="bytes",
        text="string",
        nothing="null",
        mark=MARK,
        day={"type": "int", "logicalType": "date"},
        at=MILLIS,
        exactly=MICROS,
        maybe=["null", "int"],
        other=["string", "null"],
        child=["null", CHILD],
        children={"type": "array", "items": "Child"},
        grid={"type": "array", "items": {"type": "array", "items": "long"}},
        names={"type": "map", "values": {"type": "map", "values": "string"}},
    )
)
moments = st.datetimes(timezones=st.just(datetime.UTC))
marks = st.sampled_from(["low", "high"])
children = st.fixed_dictionaries({"name": st.text(), "mark": marks})
texts = st.text() | st.text(min_size=60, max_size=70)
int64 = st.integers(-(2**63), 2**63 - 1)
plain = st.fixed_dictionaries(
    {
        "flag": st.booleans(),
        "count": st.integers(-(2**31), 2**31 - 1),
        "total": int64 | st.integers(-9000, 9000),
        "single": st.floats(width=32, allow_nan=False),
        "ratio": st.floats(allow_nan=False),
        "raw": st.binary(),
        "text": texts,
        "nothing": st.none(),
        "mark": marks,
        "day": st.dates(),
        "at": moments.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
        "exactly": moments,
        "maybe": st.none() | st.integers(-200, 200),
        "other": st.none() | texts,
        "child": st.none() | children,
        "children": st.lists(children),
        "grid": st.lists(st.lists(int64)),
        "names": st.dictionaries(st.text(), st.dictionaries(st.text(), st.text())),
    }
)


def by_fastavro(data: Any) -> bytes:
    stream = BytesIO()
    stream.write(PREFIX)
    schemaless_writer(stream, PLAIN, data)
    return stream.getvalue()


def read_by_fastavro(value: bytes) -> Any:
    stream = BytesIO(value)
    stream.seek(len(PREFIX))
    data = schemaless_reader(stream, PLAIN, None)
    if stream.tell() != len(value):
        raise EOFError("bytes are left over")
    return data


def nobody(value: Any) -> NoReturn:
    raise AssertionError(f"left to somebody else: {value}")


def left(value: Any) -> Any:
    """What was unusual."""
    return "left", value


read = reader(PLAIN, nobody)
write = writer(PLAIN, PREFIX, nobody)


@given(data=plain)
def test_they_do_what_fastavro_does(data: dict[str, Any]) -> None:
    value = by_fastavro(data)
    assert write(data) == value
    assert read(value) == read_by_fastavro(value) == data


def outcome(read: Callable[[bytes], Any], value: bytes) -> Any:
    try:
        return repr(read(value))  # since NaN is not itself
    except Exception:  # noqa: BLE001 - fastavro raises a dozen kinds on bad bytes
        return "an error"


@given(data=plain, place=st.integers(0), byte=st.integers(0, 255), cut=st.booleans())
def test_a_broken_value_is_read_as_fastavro_reads_it(
    data: dict[str, Any], place: int, byte: int, cut: bool
) -> None:
    value = bytearray(by_fastavro(data))
    place = len(PREFIX) + place % (len(value) - len(PREFIX))
    value[place:] = b"" if cut else bytes([byte]) + value[place + 1 :]
    broken = bytes(value)
    assert outcome(reader(PLAIN, read_by_fastavro), broken) == outcome(read_by_fastavro, broken)


class Encoding:
    """Something that is no text, with a method of the same name."""

    def encode(self) -> bytes:
        return b"x"


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("int", True),
        ("int", 1.0),
        ("int", 2**31),
        ("int", -(2**31) - 1),
        ("long", 2**63),
        ("long", -(2**63) - 1),
        ("long", "1"),
        ("boolean", 1),
        ("double", 1),
        ("float", 1e300),
        ("float", 1e-300),
        ("string", b"bytes"),
        ("string", None),
        ("string", "\ud800"),
        ("string", "x" * 10_000),
        ("bytes", "text"),
        ("null", 0),
        (MARK, "middle"),
        (MARK, []),
        (MILLIS, datetime.datetime(2026, 1, 1)),
        (MILLIS, 1),
        (MILLIS, datetime.datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=datetime.UTC)),
        ({"type": "int", "logicalType": "date"}, datetime.datetime.now(datetime.UTC)),
        (["null", "int"], "1"),
        ({"type": "array", "items": "string"}, "text"),
        ({"type": "array", "items": "int"}, [1, None]),
        ({"type": "map", "values": "int"}, [("a", 1)]),
        ({"type": "map", "values": "int"}, {1: 1}),
        (record("Inner", name="string"), {}),
        (record("Inner", name="string"), {"name": "a", "more": 1}),
        (record("Inner", name="string"), {"nam": "a"}),
        (record("Inner", name="string"), None),
        (record("Inner", name="string"), defaultdict(str, nam="a")),
        ("string", Encoding()),
    ],
)
def test_an_unusual_value_is_left_to_who_knows_it_all(type_: Any, value: Any) -> None:
    made: Any = writer(parse_schema(record("Outer", field=type_)), PREFIX, left)
    data = {"field": value}
    assert made(data) == ("left", data)


@pytest.mark.parametrize(
    "data", [[], ["field"], None, "text", {"field": 1, "more": 2}, {}, {"other": 1}]
)
def test_what_is_no_such_record_is_left(data: Any) -> None:
    made: Any = writer(parse_schema(record("Outer", field="int")), PREFIX, left)
    assert made(data) == ("left", data)


ID = uuid.UUID(int=1)
RARE = {
    "a decimal": (DECIMAL, decimal.Decimal("1.50")),
    "a fixed": ({"type": "fixed", "name": "Three", "size": 3}, b"abc"),
    "a uuid": ({"type": "string", "logicalType": "uuid"}, ID),
    "a uuid of bytes": ({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}, ID),
    "nonsense": ({"type": "string", "logicalType": "timestamp-millis"}, "x"),
    "nanoseconds": ({"type": "long", "logicalType": "timestamp-nanos"}, 1),
    "a local time": (
        {"type": "long", "logicalType": "local-timestamp-micros"},
        datetime.datetime(2026, 1, 1),
    ),
    "one of three": (["null", "int", "string"], "x"),
    "one of one": (["int"], 3),
    "items": ({"type": "array", "items": DECIMAL}, [decimal.Decimal("1.50")]),
}


@pytest.mark.parametrize(("type_", "value"), RARE.values(), ids=RARE)
def test_what_nothing_is_generated_for_is_called_for_by_those_that_are(
    type_: Any, value: Any
) -> None:
    schema = avro.parse(json.dumps(record("Outer", field=type_, more="int")))
    data = {"field": value, "more": 1}
    raw = exact_writer(schema)(data)
    assert writer(schema, PREFIX, nobody)(data) == PREFIX + raw
    assert reader(schema, nobody)(PREFIX + raw) == data


def test_a_type_that_is_named_again_is_known_to_what_is_called() -> None:
    inner = record("Inner", at="long")
    schema = avro.parse(json.dumps(record("Outer", one=inner, other=["null", "Inner", "int"])))
    data = {"one": {"at": 1}, "other": {"at": 2}}
    value = writer(schema, PREFIX, nobody)(data)
    assert reader(schema, nobody)(value) == data


def test_a_type_that_contains_itself_is_left_whole() -> None:
    schema = parse_schema(record("Node", next=["null", "Node"]))
    assert reader(schema, left) is left


@given(value=st.binary(max_size=20))
@example(value=b"\x80" * 15)
@example(value=b"\xff" * 9 + b"\x01")
def test_numbers_are_read_as_fastavro_reads_them_or_left(value: bytes) -> None:
    schema = parse_schema(record("Outer", field="long"))

    def slowly(value: bytes) -> Any:
        stream = BytesIO(value)
        stream.seek(len(PREFIX))
        data = schemaless_reader(stream, schema, None)
        assert stream.tell() == len(value)
        return data

    value = PREFIX + value
    assert outcome(reader(schema, slowly), value) == outcome(slowly, value)


def nested(levels: int, inner: Any, wrap: Callable[[int, Any], Any]) -> Any:
    for level in range(levels):
        inner = wrap(level, inner)
    return inner


def lists(level: int, inner: Any) -> Any:
    return {"type": "array", "items": inner}


def nullables(level: int, inner: Any) -> Any:
    return ["null", record(f"N{level}", child=inner)]


@pytest.mark.parametrize("levels", [10, 16, 17, 30])
def test_lists_in_lists_of_any_depth(levels: int) -> None:
    schema = parse_schema(record("Deep", data=nested(levels, "long", lists)))
    agree(schema, {"data": nested(levels, 7, lambda _, inner: [inner, inner][: 1 + (_ < 3)])})


@pytest.mark.parametrize("levels", [70, 97, 150])
def test_nullable_records_of_any_depth(levels: int) -> None:
    schema = parse_schema(record("Deep", data=nested(levels, "long", nullables)))
    agree(schema, {"data": nested(levels, 7, lambda _, inner: {"child": inner})})


def test_a_type_that_is_used_again_and_again_costs_no_more_than_its_schema() -> None:
    """Written out it would have 8⁵ and 4¹⁰ fields: gigabytes, while the event loop stands still."""
    for levels, width in ((5, 8), (10, 4)):
        inner: Any = "long"
        for level in range(levels):
            name = f"L{level}"
            first = record(name, **{f"f{n}": ["null", inner] for n in range(width)})
            # The level below is defined in the first field, and named in the others.
            for field in first["fields"][1:]:
                field["type"] = ["null", f"L{level - 1}" if level else "long"]
            inner = first
        schema = parse_schema(inner)
        agree(schema, {f"f{n}": None for n in range(width)})


def agree(schema: Any, value: Any) -> None:
    """The generated functions, or what they leave to, do what fastavro does."""

    def with_fastavro(data: Any) -> bytes:
        stream = BytesIO()
        schemaless_writer(stream, schema, data)
        return PREFIX + stream.getvalue()

    def read_with_fastavro(raw: bytes) -> Any:
        return schemaless_reader(BytesIO(raw[5:]), schema, None)

    written = writer(schema, PREFIX, with_fastavro)(value)
    assert written == with_fastavro(value)
    assert reader(schema, read_with_fastavro)(written) == value
