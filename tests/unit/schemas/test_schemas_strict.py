"""What cannot be written, or only twisted, is refused with the name of its field."""

from __future__ import annotations

import datetime
import decimal
from typing import Any, cast

import pytest

from schemas_known import TIMESTAMP, Known, record, typed
from trunkline.errors import SerializationError
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"id": 1, "status": "", "total_cents": 1}, r"commerce\.Order\.id wants string, not int"),
        ({"id": "", "status": ""}, r"commerce\.Order\.total_cents wants long, not nothing"),
        ({"id": "", "status": "", "total_cents": 1 << 64}, r"Order\.total_cents wants long"),
        ({"id": "", "status": "", "total_cents": 12.5}, r"Order\.total_cents wants an int, not f"),
        ({"id": "", "status": "", "total_cents": 1, "tax": 2}, "more fields .* tax"),
        ({"id": "\ud800", "status": "", "total_cents": 1}, "surrogates not allowed"),
        (None, "from a dict, not from nothing"),
        ([], "from a dict, not from list"),
    ],
)
def test_what_cannot_be_written_names_the_field(data: Any, message: str) -> None:
    encode = Codec(Known({})).encoder(Order, "orders-value", register=True)
    with pytest.raises(SerializationError, match=message):
        encode(data)


def test_an_error_does_not_show_the_value() -> None:
    encode = Codec(Known({})).encoder(Order, "orders-value", register=True)
    with pytest.raises(SerializationError) as caught:
        encode(cast(Order, {"id": b"hunter2", "status": "", "total_cents": 1}))
    assert "hunter2" not in str(caught.value)


def test_a_union_that_does_not_fit_names_all_its_types() -> None:
    encode = Codec(Known({})).encoder(typed(record(a=["null", "long"])), "s", register=True)
    with pytest.raises(SerializationError, match=r"Thing\.a wants null or long, not str"):
        encode({"a": "x"})


AWARE = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)
NAIVE = datetime.datetime(2013, 1, 1)
DATE = {"type": "int", "logicalType": "date"}
NODE = record("Node", next=["null", "Node"], number="int")
TWISTED = {
    "a decimal for a long": ("long", decimal.Decimal("12.34"), 12, "a wants an int, not Decimal"),
    "a bool for a long": ("long", True, 1, "a wants an int, not bool"),
    "40 bits for an int": ("int", 1 << 40, -(2**31), "a wants an int of 32 bits"),
    "a text for a boolean": ("boolean", "f", False, "a wants a bool, not str"),
    "a local time": (TIMESTAMP, NAIVE, AWARE, "a wants a datetime with a time zone"),
    "a local time or null": (["null", TIMESTAMP], NAIVE, None, "a wants a datetime with a"),
    "a float for a moment": (TIMESTAMP, 1.5, AWARE, "a wants a datetime with a time zone, not f"),
    "a moment for a date": (DATE, AWARE, AWARE.date(), "a wants a date, not datetime"),
    "a text for an array": ({"type": "array", "items": "string"}, "abc", ["abc"], "a wants a list"),
    "in an array": ({"type": "array", "items": "long"}, [1.5], [1], r"a\[0\] wants an int"),
    "in a map": (
        {"type": "map", "values": "long"},
        {"k": 1.5},
        {"k": 1},
        r"a\[key 0\] wants an int",
    ),
    "in a record": (record("In", b="long"), {"b": 1.5}, {"b": 1}, r"a\.b wants an int, not float"),
    "deep inside": (
        NODE,
        {"number": 1, "next": {"number": 1.5, "next": None}},
        {"number": 1, "next": {"number": 1, "next": None}},
        r"a\.next\.number wants an int",
    ),
}


@pytest.mark.parametrize(("type_", "wrong", "right", "message"), TWISTED.values(), ids=TWISTED)
def test_what_fastavro_would_twist_is_refused(
    type_: Any, wrong: Any, right: Any, message: str
) -> None:
    encode = Codec(Known({})).encoder(typed(record(a=type_)), "s", register=True)
    assert encode({"a": right})
    with pytest.raises(SerializationError, match=rf"Thing\.{message}"):
        encode({"a": wrong})
