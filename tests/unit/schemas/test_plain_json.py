"""Plain JSON to Avro: each form, each mistake with its pointer, and nothing rounded on the way."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.schemas import avro
from trunkline.schemas.exact.read import exact_reader
from trunkline.schemas.exact.write import exact_writer
from trunkline.schemas.plain.document import json_schemas
from trunkline.schemas.plain.parse import NotJson, parse
from trunkline.schemas.plain.read import MAX_ERRORS, FieldError, PlainReader


def record(**fields: Any) -> Any:
    typed = [{"name": name, **_typed(type_)} for name, type_ in fields.items()]
    return avro.parse(json.dumps({"type": "record", "name": "t.Outer", "fields": typed}))


def _typed(type_: Any) -> dict[str, Any]:
    return type_ if isinstance(type_, dict) and "default" in type_ else {"type": type_}


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


MONEY = logical("bytes", "decimal", precision=6, scale=2)
HASH = {"type": "fixed", "name": "t.Hash", "size": 2}
COLOUR = {"type": "enum", "name": "t.Colour", "symbols": ["RED", "BLUE"]}
CARD = {"type": "record", "name": "t.Card", "fields": [{"name": "amount", "type": "int"}]}
CASH = {"type": "record", "name": "t.Cash", "fields": [{"name": "amount", "type": "int"}]}


def errors_of(schema: Any, body: str) -> list[FieldError]:
    return PlainReader(schema).read(parse(body.encode()))[1]


def read(type_: Any, text: str) -> Any:
    """What a single value becomes, through Avro's bytes and back."""
    schema = record(x=type_)
    value, errors = PlainReader(schema).read(parse(f'{{"x": {text}}}'.encode()))
    assert errors == []
    found, _ = exact_reader(schema, schema)(exact_writer(schema)(value), 0)
    return found["x"]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("long", '"9223372036854775807"', 9223372036854775807),
        ("long", '"-9223372036854775808"', -9223372036854775808),
        ("int", "-2147483648", -2147483648),
        ("double", "0.1", 0.1),
        ("double", "3", 3.0),
        ("boolean", "true", True),
        ("bytes", '"AP8="', b"\x00\xff"),
        (HASH, '"AP8="', b"\x00\xff"),
        (COLOUR, '"BLUE"', "BLUE"),
        (MONEY, '"1234.5"', Decimal("1234.50")),
        (MONEY, '"-0.01"', Decimal("-0.01")),
        (logical("int", "date"), '"2026-02-28"', datetime.date(2026, 2, 28)),
        (logical("int", "time-millis"), '"14:03:00.25"', datetime.time(14, 3, 0, 250000)),
        (
            logical("long", "timestamp-millis"),
            '"2026-11-29T14:03:00.5+01:00"',
            datetime.datetime(2026, 11, 29, 13, 3, 0, 500000, datetime.UTC),
        ),
        (
            logical("long", "timestamp-micros"),
            '"2026-11-29t14:03:00z"',
            datetime.datetime(2026, 11, 29, 14, 3, tzinfo=datetime.UTC),
        ),
        (
            logical("long", "local-timestamp-micros"),
            '"2026-11-29T14:03:00"',
            datetime.datetime(2026, 11, 29, 14, 3),
        ),
        (["null", "string"], "null", None),
        (["null", "string"], '"x"', "x"),
        (["null", "int", "string"], '"x"', "x"),
        (["null", "int", "string"], "7", 7),
        ({"type": "array", "items": "long"}, '["1", "2"]', [1, 2]),
        ({"type": "map", "values": "int"}, '{"a/b": 1}', {"a/b": 1}),
        (CARD, '{"amount": 1}', {"amount": 1}),
        (CARD, '{"$type": "t.Card", "amount": 1}', {"amount": 1}),
    ],
)
def test_each_form_becomes_its_value(type_: Any, text: str, value: Any) -> None:
    found = read(type_, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("type_", "texts", "says"),
    [
        ("long", ["1", "1.0", '"1.0"', '"01"', '"+1"', '" 1"', '"1e3"', "null", '"٣"'], "text"),
        ("long", ['"9223372036854775808"'], "64 bits"),
        ("int", ["1.0", '"1"', "true", "1e3"], "whole number"),
        ("int", ["2147483648"], "32 bits"),
        ("double", ["true", '"1"'], "number"),
        ("double", ["1e999", "-1e999"], "beyond"),
        ("double", ["9007199254740993"], "digits"),
        ("float", ["1e39"], "beyond"),
        ("float", ["16777217"], "32 bits"),
        ("string", ["1", "null", "[]"], "text"),
        ("string", ['"\\ud800"'], "surrogate"),
        ("boolean", ["0", '"true"'], "true or false"),
        ("bytes", ['"AP8"', '"AP 8="', '"é"', "[0]"], "base64|text"),
        (HASH, ['"AA=="'], "2 bytes"),
        (COLOUR, ['"GREEN"', "1", "[]", "{}"], "RED, BLUE"),
        (MONEY, ["12.5", '"1e3"', '"NaN"', '".5"', '"1."'], "as a text"),
        (MONEY, ['"1.234"'], "after the point"),
        (MONEY, ['"12345.00"'], "before the point"),
        (logical("int", "date"), ['"2026-2-28"', '"20260228"', "0"], "a date as"),
        (logical("int", "date"), ['"2026-02-30"'], "there is"),
        (logical("long", "timestamp-millis"), ['"2026-11-29T14:03:00"', '"now"'], "RFC 3339"),
        (logical("long", "timestamp-millis"), ['"2026-11-29T14:03:00.0001Z"'], "milliseconds"),
        (logical("long", "timestamp-micros"), ['"2026-11-29T24:60:00Z"'], "there is"),
        (logical("string", "uuid"), ['"x"', '"{6b0f2c9e6f3a4d0b9b0f2c9e6f3a4d0b}"'], "UUID"),
        (["null", "string"], ["1"], "text"),
        (["int", "string"], ["null"], "null"),
        (["int", "string"], ["[]"], "fits none"),
        ({"type": "array", "items": "int"}, ["{}"], "array"),
        ({"type": "map", "values": "int"}, ["[]"], "object"),
        (CARD, ["[]", "1"], "object"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(type_: Any, texts: list[str], says: str) -> None:
    for text in texts:
        (error,) = errors_of(record(x=type_), f'{{"x": {text}}}')
        assert error.pointer == "#/x", text
        assert re.search(says, error.detail), (text, error)


def test_all_mistakes_are_found_at_once_each_with_its_pointer() -> None:
    lines = {"type": "array", "items": CARD}
    schema = record(id="string", n="long", lines=lines, tags={"type": "map", "values": "int"})
    body = (
        '{"n": 1, "lines": [{"amount": 1}, {"amount": "x", "more~/": 2}],'
        ' "tags": {"a/b": ""}, "z": 1}'
    )
    assert {(error.pointer, error.detail.split(":")[0]) for error in errors_of(schema, body)} == {
        ("#/id", "is missing"),
        ("#/n", 'must be a whole number as a text, as "42"'),
        ("#/lines/1/amount", "must be a whole number"),
        ("#/lines/1/more~0~1", "is no field"),
        ("#/tags/a~1b", "must be a whole number"),
        ("#/z", "is no field"),
    }


def test_a_field_with_a_default_may_be_left_out() -> None:
    schema = record(a="int", b={"type": "string", "default": "x"})
    value, errors = PlainReader(schema).read({"a": 1})
    assert (value, errors) == ({"a": 1}, [])


def test_records_of_a_union_are_told_apart_by_name_and_never_guessed() -> None:
    schema = record(x=["null", CARD, CASH])
    assert errors_of(schema, '{"x": {"$type": "t.Cash", "amount": 1}}') == []
    for body in ('{"x": {"amount": 1}}', '{"x": {"$type": "t.Other", "amount": 1}}'):
        (error,) = errors_of(schema, body)
        assert error.pointer == "#/x/$type"
        assert "t.Card" in error.detail
    (error,) = errors_of(schema, '{"x": {"$type": "t.Cash", "amount": ""}}')
    assert error.pointer == "#/x/amount"


def test_the_errors_of_one_value_are_bounded_and_show_no_value() -> None:
    schema = record(x={"type": "array", "items": "int"})
    errors = errors_of(schema, json.dumps({"x": ["secret"] * 1000}))
    assert len(errors) == MAX_ERRORS
    assert "secret" not in str(errors)


def test_a_type_within_itself_is_read_and_what_is_nested_without_end_refused() -> None:
    fields = [{"name": "next", "type": ["null", "t.Node"], "default": None}]
    schema = avro.parse(json.dumps({"type": "record", "name": "t.Node", "fields": fields}))
    assert errors_of(schema, '{"next": {"next": null}}') == []
    (error,) = errors_of(schema, '{"next":' * 200 + "null" + "}" * 200)
    assert "nested" in error.detail


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b'{"a": "\xff"}', r"UTF-8 \(line 1, column 8\)"),
        (b'{"a":\n"\xff"}', r"UTF-8 \(line 2, column 2\)"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(body: bytes, says: str) -> None:
    with pytest.raises(NotJson, match=says):
        parse(body)


@given(st.integers(-(2**63), 2**63 - 1), st.decimals(-9999, 9999, places=2))
def test_no_digit_is_lost(number: int, amount: Decimal) -> None:
    assert read("long", f'"{number}"') == number
    assert read(MONEY, f'"{amount:f}"') == amount


NAMES = st.sampled_from(["x", "y", "amount", "$type"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["x", "amount", "$type"]), inner)
    ),
)
EVERYTHING = record(
    x=["null", CARD, CASH, {"type": "array", "items": ["null", "long", MONEY]}], y=["null", COLOUR]
)


@given(JSON)
def test_whatever_comes_is_written_or_told_to_be_wrong(value: Any) -> None:
    found, errors = PlainReader(EVERYTHING).read(parse(json.dumps(value).encode()))
    if not errors:
        exact_writer(EVERYTHING)(found)


def test_the_json_schema_says_what_is_read() -> None:
    found = json_schemas(
        record(id="string", n={"type": "long", "default": 0}, c=COLOUR, p=["null", CARD], m=MONEY)
    )
    outer = found["t.Outer"]
    assert outer["required"] == ["id", "c", "p", "m"]
    assert outer["additionalProperties"] is False
    assert outer["properties"]["n"]["type"] == "string"
    assert outer["properties"]["c"] == {"$ref": "#/components/schemas/t.Colour"}
    assert outer["properties"]["p"]["anyOf"][1] == {"$ref": "#/components/schemas/t.Card"}
    assert found["t.Colour"]["enum"] == ["RED", "BLUE"]


def test_a_name_that_stands_twice_is_found_among_many() -> None:
    """Counting each name anew, an object of a megabyte took minutes, in the gateway's loop."""
    names = [f'"{n}":0' for n in range(120_000)]
    with pytest.raises(NotJson, match="'119999' twice"):
        parse(f"{{{','.join(names)},{names[-1]}}}".encode())


def test_an_object_that_may_be_a_record_or_a_map_is_read_once_at_each_depth() -> None:
    """Twice as often at each: 98 of them in one another would be read for ever."""
    of_kind = ["null", "N", {"type": "map", "values": "N"}]
    field = {"name": "next", "type": of_kind, "default": None}
    reader = PlainReader({"type": "record", "name": "N", "fields": [field]})
    value: dict[str, Any] = {"wrong": 1}
    for _ in range(98):
        value = {"next": value}
    _, errors = reader.read(value)
    assert [error.detail for error in errors] == ["is no field"]
    # Names that are alike in what an error shows of them are two all the same.
    long = "n" * 200
    two = {"next": {f"{long}1": {"next": None}, f"{long}2": {"next": {"next": {}}}}}
    found, errors = reader.read(two)
    assert (found, errors) == (two, [])
