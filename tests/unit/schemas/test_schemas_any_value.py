"""Any value of any schema: what is written reads back, exactly, or is refused with its field."""

from __future__ import annotations

import datetime
import enum
import json
import math
import struct
import uuid
import zoneinfo
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas_known import DECIMAL, TIMESTAMP, Known, record, typed
from trunkline.errors import ConfigurationError, SerializationError
from trunkline.schemas.codec import Codec

ROME = zoneinfo.ZoneInfo("Europe/Rome")
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
ID = uuid.UUID("0f0e0d0c-0b0a-4908-8706-050403020100")


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


LEAVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
LOGICALS = [MILLIS, TIMESTAMP, LOCAL, LOCAL_MILLIS, NANOS, TIME, TIME_MILLIS, DATE, UUID, DECIMAL]
NAMED = [MARK, UUID16, MONEY, DURATION, COLOUR]
zones = st.sampled_from([datetime.UTC, ROME, datetime.timezone(datetime.timedelta(minutes=-90))])
datetimes = st.datetimes() | st.datetimes(timezones=zones)
cut = datetimes.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))
times = st.times() | st.times(timezones=st.just(datetime.UTC))
numbers = st.integers() | st.sampled_from(
    [s * (1 << bits) + more for bits in (31, 53, 63) for s in (1, -1) for more in (-1, 0, 1)]
)
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | st.floats()
    | st.floats(width=32)
    | st.decimals()
    | st.decimals(-999999, 999999, places=2)
    | st.text(st.characters())
    | st.sampled_from(["red", "green", "\udfff", str(ID), ID.hex, Shade.RED, Level.LOW])
    | st.binary(max_size=17)
    | st.sampled_from([3, 12, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n))
    | st.builds(bytearray, st.binary(max_size=4))
    | st.binary(max_size=4).map(memoryview)
    | datetimes
    | cut
    | st.dates()
    | times
    | times.map(lambda t: t.replace(microsecond=0))
    | st.uuids()
    | st.builds(object)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(iter)
        | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 0) -> Any:
    """Any type; names are made unique by ``named``."""
    kinds = ["leaf", "leaf", "logical", "named"]
    kinds += ["array", "map", "record", "union"] if depth < 3 else []
    match draw(st.sampled_from(kinds)):
        case "leaf":
            return draw(st.sampled_from(LEAVES))
        case "logical":
            return draw(st.sampled_from(LOGICALS))
        case "named":
            return draw(st.sampled_from(NAMED))
        case "array":
            items = draw(schemas(depth + 1).filter(lambda type_: type_ != "null"))
            return {"type": "array", "items": items}
        case "map":
            return {"type": "map", "values": draw(schemas(depth + 1))}
        case "record":
            fields = draw(st.sets(st.sampled_from("abc"), min_size=1))
            return record("R", **{name: draw(schemas(depth + 1)) for name in sorted(fields)})
        case _:
            branches = draw(st.lists(schemas(3), min_size=1, max_size=5))
            by_kind = {json.dumps(b) if "name" in b else str(plain_kind(b)): b for b in branches}
            return list(by_kind.values())


def plain_kind(schema: Any) -> Any:
    return schema["type"] if isinstance(schema, dict) else schema


def named(schema: Any, used: list[int]) -> Any:
    """The schema with a name of its own for each named type."""
    if isinstance(schema, list):
        return [named(branch, used) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    schema = dict(schema)
    if "name" in schema:
        used.append(1)
        schema["name"] = f"{schema['name']}{len(used)}"
    for inner in ("items", "values"):
        if inner in schema:
            schema[inner] = named(schema[inner], used)
    if "fields" in schema:
        schema["fields"] = [{**f, "type": named(f["type"], used)} for f in schema["fields"]]
    return schema


def fitting(schema: Any) -> st.SearchStrategy[Any]:
    """Values that fit, nearly: each leaf is of its type mostly, and anything else at times."""
    return right(schema) | right(schema) | right(schema) | values


def right(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of([right(branch) for branch in schema])
    match plain_kind(schema):
        case "array":
            return st.lists(fitting(schema["items"]), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=3), fitting(schema["values"]), max_size=3)
        case "record":
            return st.fixed_dictionaries({f["name"]: fitting(f["type"]) for f in schema["fields"]})
        case _:
            return scalars


def same(value: Any, back: Any, *, singles: bool) -> bool:
    """Whether what was read is what was written, as Python sees it."""
    match value:
        case bool() | None:
            return value is back
        case datetime.datetime():
            aware = value.tzinfo is not None
            known = isinstance(back, datetime.datetime) and (back.tzinfo is not None) == aware
            return known and value - back == datetime.timedelta(0)
        case float():
            if math.isnan(value):
                return isinstance(back, float) and math.isnan(back)
            if singles and isinstance(back, float) and value and abs(value) < 3.5e38:
                return value == back or struct.unpack("<f", struct.pack("<f", value))[0] == back
            return bool(value == back) and math.copysign(1, value) == math.copysign(1, back)
        case bytes() | bytearray() | memoryview():
            return isinstance(back, bytes) and bytes(value) == back
        case str() if isinstance(back, uuid.UUID):
            return str(back) == value
        case list() | tuple():
            pairs = zip(value, back, strict=True)
            return isinstance(back, list) and all(same(v, b, singles=singles) for v, b in pairs)
        case Mapping():
            return value.keys() == back.keys() and all(
                same(value[key], back[key], singles=singles) for key in value
            )
        case _:
            return isinstance(back, type(value) | int | float | str) and bool(value == back)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), type_=schemas())
def test_any_value_of_any_schema_comes_back_or_is_refused_with_its_field(
    data: st.DataObject, type_: Any
) -> None:
    type_ = named(type_, [])
    value = data.draw(fitting(type_))
    kept = value if not hasattr(value, "__next__") else object()
    message = ""
    try:
        back = round_trip(type_, value)
    except ConfigurationError as error:
        assert "take no bytes" in str(error)  # noqa: PT017 - it need not be raised
        return
    except SerializationError as error:
        message = str(error)
    if message:
        assert message.startswith("Thing.a")
        return
    assert same(kept, back, singles='"float"' in json.dumps(type_)), (value, back)
