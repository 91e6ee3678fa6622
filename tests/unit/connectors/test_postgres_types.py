"""Values from PostgreSQL's text."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.connectors.postgres.values import Shape, Types, parse_array

INT4_ARRAY, DOMAIN, DOMAIN_OF_ARRAY, ENUM = 1007, 90_001, 90_002, 90_003
TYPES = Types(arrays={INT4_ARRAY: 23}, domains={DOMAIN: 23, DOMAIN_OF_ARRAY: INT4_ARRAY})

_items = st.recursive(
    st.lists(
        st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1
    ),
    lambda inner: st.lists(inner, min_size=1, max_size=3),
    max_leaves=8,
)


def _quoted(item: Any) -> str:
    """As PostgreSQL's array_out writes it."""
    if item is None:
        return "NULL"
    if isinstance(item, list):
        return "{" + ",".join(map(_quoted, item)) + "}"
    text = str(item)
    plain = text and text.upper() != "NULL" and not set(text) & set('{},"\\ \t\n\r\v\f')
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(_items)
def test_an_array_of_texts_reads_back(items: list[Any]) -> None:
    assert parse_array(_quoted(items).encode(), bytes.decode) == items


@given(st.lists(st.none() | st.integers()))
def test_an_array_of_numbers_reads_back(items: list[int | None]) -> None:
    texts = [None if item is None else str(item) for item in items]
    assert TYPES.converter(INT4_ARRAY)(_quoted(texts).encode()) == items


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"{}", []),
        (b"{NULL}", [None]),
        (b'{"NULL",null}', ["NULL", "null"]),
        (b"[0:1]={a,b}", ["a", "b"]),
        (b"[1:1][0:1]={{a,b}}", [["a", "b"]]),
        (b'{{"",x},{NULL,"\\"\\\\"}}', [["", "x"], [None, '"\\']]),
    ],
)
def test_arrays(text: bytes, value: list[Any]) -> None:
    assert parse_array(text, bytes.decode) == value


@pytest.mark.parametrize(
    ("oid", "text", "value"),
    [
        (16, b"t", True),
        (16, b"f", False),
        (17, b"\\x00ff", b"\x00\xff"),
        (17, b"\\x", b""),
        (20, b"-9223372036854775808", -(2**63)),
        (701, b"-Infinity", float("-inf")),
        (1700, b"0.10", Decimal("0.10")),
        (25, "señor".encode(), "señor"),
        (114, b'{"a": [1, null]}', {"a": [1, None]}),
        (114, b'"\\ud800"', "\ud800"),
        (1082, b"2024-02-29", date(2024, 2, 29)),
        (1083, b"23:59:59.5", time(23, 59, 59, 500_000)),
        (1114, b"2024-02-29 12:00:00.123456", datetime(2024, 2, 29, 12, 0, 0, 123456)),
        (1184, b"2024-02-29 12:00:00+00", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (1082, b"infinity", None),
        (1082, b"0044-03-15 BC", None),
        (1083, b"24:00:00", None),
        (1114, b"12024-01-01 00:00:00", None),
        (1184, b"-infinity", None),
        (2950, b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (DOMAIN, b"7", 7),
        (DOMAIN_OF_ARRAY, b"{7,8}", [7, 8]),
        (ENUM, b"happy", "happy"),
    ],
)
def test_values(oid: int, text: bytes, value: Any) -> None:
    assert TYPES.converter(oid)(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1234567890123456.78", Decimal("1234567890123456.78")),
        ("0.30000000000000004441", Decimal("0.30000000000000004441")),
        ("99999999999999999999", 99999999999999999999),
        ("-18446744073709551617", -18446744073709551617),
        ("1E400", Decimal("1E400")),
        ("1e5", 100000.0),
        ("0.1", 0.1),
        ("1" * 5000, Decimal("1" * 5000)),
        ("1e99999999999999999999", "1e99999999999999999999"),
    ],
)
@pytest.mark.parametrize("oid", [114, 3802])
def test_a_number_in_json_keeps_its_digits(oid: int, text: str, value: Any) -> None:
    """Whatever else is in the document."""
    (alone,) = TYPES.converter(oid)(f"[{text}]".encode())
    among = TYPES.converter(oid)(f'{{"a": {"9" * 400}, "b": [{text}]}}'.encode())
    assert (alone, type(alone)) == (value, type(value))
    assert among["b"] == [value]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_what_python_writes_as_json_reads_back(number: float) -> None:
    found = TYPES.converter(3802)(json.dumps([number]).encode())
    assert (found, type(found[0])) == ([number], type(number))


def test_json_may_stay_as_it_is() -> None:
    """Then JSON null and NULL are told apart."""
    types = Types(arrays={3807: 3802}, json_as_text=True)
    assert types.converter(3802)(b"null") == "null"
    assert types.converter(3807)(b'{"null",NULL}') == ["null", None]


def test_a_numeric_may_be_no_number() -> None:
    assert TYPES.converter(1700)(b"NaN").is_nan()


def test_a_row_becomes_data_and_key() -> None:
    shape = Shape("public.t", [("a", 23), ("b", 25), ("c", 23)], ["c", "a"], TYPES)
    row = [b"1", None, b"3"]
    assert shape.data(row) == {"a": 1, "b": None, "c": 3}
    assert shape.key(row) == '["1","3"]'
    assert shape.key_data(row) == {"a": 1, "c": 3}
