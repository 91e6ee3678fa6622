"""The codec: round trips, evolution, and whatever bytes may come."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from io import BytesIO
from typing import Any, NotRequired, TypedDict, cast

import pytest
from fastavro import schemaless_writer
from hypothesis import example, given
from hypothesis import strategies as st

from schemas_known import DECIMAL, TIMESTAMP, Known, record, typed
from trunkline.errors import RegistryUnavailable, SerializationError
from trunkline.schemas.aviation import Flight
from trunkline.schemas.codec import Codec, schema_id
from trunkline.schemas.commerce import Order
from trunkline.schemas.types import avro_type


def written(schema: dict[str, Any], data: Any, id: int = 1) -> bytes:
    """What another program would send."""
    stream = BytesIO()
    schemaless_writer(stream, schema, data)
    return b"\0" + id.to_bytes(4, "big") + stream.getvalue()


def read(writer: dict[str, Any], data: Any, reader: dict[str, Any]) -> Any:
    """What a reader of one schema makes of data written with another one."""
    return Codec(Known({1: writer})).decoder(typed(reader))(written(writer, data))


def long(number: int) -> bytes:
    """An Avro long: zig-zag, seven bits a byte."""
    number = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


moments = st.datetimes(timezones=st.just(datetime.UTC))
milliseconds = moments.map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
int32 = st.integers(-(2**31), 2**31 - 1)
flights = st.builds(
    Flight,
    id=st.text(),
    carrier=st.text(),
    flight_number=int32,
    tail_number=st.none() | st.text(),
    origin=st.text(),
    destination=st.text(),
    scheduled_departure=milliseconds,
    scheduled_arrival=milliseconds,
    departure_delay_minutes=st.none() | int32,
    arrival_delay_minutes=st.none() | int32,
    status=st.sampled_from(["scheduled", "departed", "arrived", "cancelled"]),
    distance_miles=int32,
    air_time_minutes=st.none() | int32,
)


FLIGHTS = Codec(Known({}))
encode_flight = FLIGHTS.encoder(Flight, "flights-value", register=True)
decode_flight = FLIGHTS.decoder(Flight)


@given(flight=flights)
def test_what_is_encoded_is_decoded(flight: Flight) -> None:
    value = encode_flight(flight)
    assert decode_flight(value) == flight
    assert FLIGHTS.decode_any(value) == flight


everything = record(
    "Everything",
    flag="boolean",
    number="long",
    ratio="double",
    raw="bytes",
    mark={"type": "fixed", "name": "Mark", "size": 3},
    day={"type": "int", "logicalType": "date"},
    moment=TIMESTAMP,
    clock={"type": "long", "logicalType": "time-micros"},
    price=DECIMAL,
    token={"type": "string", "logicalType": "uuid"},
    tags={"type": "array", "items": ["null", "string"]},
    counts={"type": "map", "values": "int"},
    child=["null", record("Child", name="string")],
)
things = st.fixed_dictionaries(
    {
        "flag": st.booleans(),
        "number": st.integers(-(2**63), 2**63 - 1),
        "ratio": st.floats(allow_nan=False),
        "raw": st.binary(),
        "mark": st.binary(min_size=3, max_size=3),
        "day": st.dates(),
        "moment": moments,
        "clock": st.times(),
        "price": st.decimals(-9999999, 9999999, places=2),
        "token": st.uuids(),
        "tags": st.lists(st.none() | st.text()),
        "counts": st.dictionaries(st.text(), int32),
        "child": st.none() | st.fixed_dictionaries({"name": st.text()}),
    }
)


THINGS = Codec(Known({}))
Everything = typed(everything)
encode_thing = THINGS.encoder(Everything, "things-value", register=True)
decode_thing = THINGS.decoder(Everything)
decode_flag = THINGS.decoder(typed(record("Everything", flag="boolean")))


@given(thing=things)
def test_every_avro_type_comes_back(thing: dict[str, Any]) -> None:
    assert decode_thing(encode_thing(thing)) == thing


def test_the_wire_format_is_confluents() -> None:
    encode = Codec(Known({6: "string"})).encoder(Order, "orders-value", register=True)
    value = encode(Order(id="a", status="paid", total_cents=3))
    assert value == b"\0" + b"\0\0\0\2" + b"\x02a" + b"\x08paid" + b"\x06"
    assert schema_id(value) == 2


# --- evolution -----------------------------------------------------------------------------------


def test_an_old_reader_ignores_a_new_field() -> None:
    assert read(record(a="long", b="string"), {"a": 1, "b": "new"}, record(a="long")) == {"a": 1}


def test_a_new_reader_takes_the_default_of_a_field_that_an_old_writer_lacks() -> None:
    old, new = record(a="long"), record(a="long", b=("string", "none"))
    assert read(old, {"a": 1}, new) == {"a": 1, "b": "none"}


@pytest.mark.parametrize(
    ("type_", "default", "seen"),
    [
        (TIMESTAMP, 0, datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)),
        ({"type": "int", "logicalType": "date"}, 1, datetime.date(1970, 1, 2)),
        (DECIMAL, "\u0064", decimal.Decimal("1.00")),
        ({"type": "string", "logicalType": "uuid"}, str(uuid.UUID(int=1)), uuid.UUID(int=1)),
        ("bytes", "\u00ff", b"\xff"),
        (["null", "bytes"], None, None),
        (["bytes", "null"], "\u00ff", b"\xff"),
        ({"type": "array", "items": "bytes"}, ["\u00ff"], [b"\xff"]),
        ({"type": "map", "values": "bytes"}, {"a": "\u00ff"}, {"a": b"\xff"}),
        (record("Inner", raw="bytes"), {"raw": "\u00ff"}, {"raw": b"\xff"}),
        (record("Inner", x=("int", 3), raw=("bytes", "\u00ff")), {}, {"x": 3, "raw": b"\xff"}),
        (record("Inner", x=("int", 3), y=("int", 4)), {"y": 5}, {"x": 3, "y": 5}),
        (
            record("Outer", inner=(record("Inner", at=(TIMESTAMP, 0)), {})),
            {},
            {"inner": {"at": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)}},
        ),
    ],
)
def test_defaults_have_the_type_of_what_is_read(type_: Any, default: Any, seen: Any) -> None:
    new = record(a="long", b=(type_, default))
    assert read(record(a="long"), {"a": 1}, new) == {"a": 1, "b": seen}
    cls, codec = typed(new), Codec(Known({}))
    assert codec.decoder(cls)(codec.encoder(cls, "s", register=True)({"a": 1}))["b"] == seen


def test_two_events_do_not_share_a_default() -> None:
    writer, reader = (
        record(a="long"),
        record(a="long", tags=({"type": "array", "items": "int"}, [])),
    )
    decode = Codec(Known({1: writer})).decoder(typed(reader))
    first = cast(dict[str, Any], decode(written(writer, {"a": 1})))
    first["tags"].append(1)
    assert decode(written(writer, {"a": 1})) == {"a": 1, "tags": []}


def test_an_old_reader_takes_the_enums_default_for_a_new_symbol() -> None:
    def enum(*symbols: str) -> dict[str, Any]:
        return {"type": "enum", "name": "E", "symbols": symbols, "default": "a"}

    assert read(record(e=enum("a", "b")), {"e": "b"}, record(e=enum("a"))) == {"e": "a"}


def test_decimals_of_another_scale_are_not_taken_for_equal() -> None:
    writer, reader = record(p={**DECIMAL, "scale": 1}), record(p=DECIMAL)
    assert read(writer, {"p": decimal.Decimal("1.5")}, reader) == {"p": decimal.Decimal("1.5")}


def test_an_incompatible_writer_is_a_serialization_error() -> None:
    with pytest.raises(SerializationError, match="schema 1"):
        read(record(a="long"), {"a": 1}, record(b="long"))


# --- bad bytes -----------------------------------------------------------------------------------

SCHEMAS = {
    1: record("Everything", **{f["name"]: f["type"] for f in everything["fields"]}),
    2: record("Everything", flag="boolean"),
    3: record("Node", next=["null", "Node"]),
    4: record("Everything", numbers={"type": "array", "items": "double"}),
    5: {"type": "array", "items": "string"},
    6: {"type": "nonsense"},
    7: record("Everything", holes={"type": "array", "items": "null"}),
}
noise = st.builds(
    lambda id, tail: b"\0" + id.to_bytes(4, "big") + tail,
    st.sampled_from(sorted(SCHEMAS)),
    st.binary(),
)


NOISE = Codec(Known(SCHEMAS))
decoders = [NOISE.decoder(Everything), NOISE.decode_any]


@given(value=st.binary() | noise)
@example(b"")
@example(b"\0\0\0\0\1")
def test_garbage_is_a_serialization_error_or_a_value(value: bytes) -> None:
    for decode in decoders:
        try:
            decode(value)
        except SerializationError:
            continue
        except RegistryUnavailable:
            assert schema_id(value) not in SCHEMAS


@given(flight=flights, data=st.data())
def test_a_cut_value_is_never_taken_for_a_whole_one(flight: Flight, data: st.DataObject) -> None:
    value = encode_flight(flight)
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(SerializationError):
        decode_flight(value[:cut])


@given(thing=things, data=st.data())
def test_a_cut_value_is_noticed_in_fields_that_the_reader_skips(
    thing: dict[str, Any], data: st.DataObject
) -> None:
    value = encode_thing(thing)
    assert decode_flag(value) == {"flag": thing["flag"]}
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(SerializationError):
        decode_flag(value[:cut])


def test_bytes_that_are_left_over_are_an_error() -> None:
    codec = Codec(Known({1: record(a="long")}))
    with pytest.raises(SerializationError, match="1 bytes are left over"):
        codec.decode_any(b"\0\0\0\0\1\2\2")


ENDLESS = {"null": "null", "empty record": record("Empty")}


@pytest.mark.parametrize("items", ENDLESS.values(), ids=ENDLESS)
def test_an_array_of_nothing_is_refused_whatever_its_length(items: Any) -> None:
    schema = record(holes={"type": "array", "items": items})
    with pytest.raises(SerializationError, match="take no bytes"):
        Codec(Known({1: schema})).decode_any(b"\0\0\0\0\1" + long(1 << 60))


@pytest.mark.parametrize(
    "items", ["string", "double", "boolean", {"type": "fixed", "name": "F", "size": 8}]
)
@pytest.mark.parametrize("count", [1 << 60, -(1 << 60)])
def test_a_huge_declared_length_neither_hangs_nor_fills_memory(items: Any, count: int) -> None:
    schema = record(many={"type": "array", "items": items})
    codec = Codec(Known({1: schema}))
    value = b"\0\0\0\0\1" + long(count) + long(1)
    with pytest.raises(SerializationError):
        codec.decode_any(value)
    with pytest.raises(SerializationError):
        codec.decoder(typed(record()))(value)


def test_deep_nesting_does_not_crash_the_process() -> None:
    schema = record("Node", next=["null", "Node"])
    codec = Codec(Known({1: schema}))
    assert codec.decode_any(b"\0\0\0\0\1" + b"\2" * 50 + b"\0")["next"]["next"]
    with pytest.raises(SerializationError, match="RecursionError"):
        codec.decode_any(b"\0\0\0\0\1" + b"\2" * 100_000)


def test_a_registry_that_is_down_is_no_data_error() -> None:
    with pytest.raises(RegistryUnavailable):
        Codec(Known({})).decode_any(b"\0\0\0\0\1\0")


class Optional(TypedDict):
    """A hand-written type may leave out what has a default."""

    a: int
    b: NotRequired[str]


def test_a_field_with_a_default_may_be_left_out() -> None:
    avro_type(Optional, json.dumps(record(a="long", b=("string", "x"))))
    codec = Codec(Known({}))
    value = codec.encoder(Optional, "s", register=True)(Optional(a=1))
    assert codec.decoder(Optional)(value) == {"a": 1, "b": "x"}


@pytest.mark.parametrize("evolved", [False, True], ids=["same schema", "older schema"])
def test_a_value_behind_other_bytes_is_read_where_it_stands(evolved: bool) -> None:
    older, newer = record(id="string"), record(id="string", n=("long", 5))
    data, writer = ({"id": "x"}, older) if evolved else ({"id": "x", "n": 300}, newer)
    decode = Codec(Known({1: writer})).decoder(typed(newer), skip=12)
    value = written(writer, data)
    assert decode(b"\0" * 12 + value) == {"id": "x", "n": 5 if evolved else 300}
    with pytest.raises(SerializationError, match=rf"\({len(value) + 1} bytes\).*schema 1"):
        decode(b"\0" * 12 + value + b"x")
    with pytest.raises(SerializationError, match="3 bytes that begin with"):
        decode(b"\0" * 12 + b"abc")
