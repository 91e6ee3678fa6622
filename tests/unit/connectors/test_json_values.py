"""The JSON forms of canonical values, and the text of a single one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from trunkline.connectors.http.paths import require_encoded
from trunkline.connectors.json_values import exact_json, text_of, to_json
from trunkline.errors import Rejected, SerializationError


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (Decimal("0E-8"), b'"0.00000000"'),
        (Decimal("1E-8"), b'"0.00000001"'),
        (Decimal("12.30"), b'"12.30"'),
        (Decimal("1E+3"), b'"1000"'),
        (Decimal("-0"), b'"-0"'),
    ],
)
def test_a_decimal_has_no_exponent(value: Decimal, json: bytes) -> None:
    assert to_json(value) == json


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1E+1000000000", "1E-1000000000"])
def test_a_decimal_without_bounds_is_refused(value: str) -> None:
    with pytest.raises(SerializationError):
        to_json({"price": Decimal(value)})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"),
        (True, "true"),
        (7, "7"),
        (1.5, "1.5"),
        (2**70, str(2**70)),
        (Decimal("1E-8"), "0.00000001"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (b"\x00", "AA=="),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_single_value_has_its_json_form(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [None, [], ["a"], {}, {"a": 1}])
def test_what_is_no_single_value_is_refused(value: Any) -> None:
    with pytest.raises(SerializationError, match="no single value"):
        text_of(value)


@pytest.mark.parametrize("path", ["/a b", "/100%", "/%zz", "/é", "/a#b", "a", "@elsewhere", "/\n"])
def test_a_path_that_is_not_encoded_is_refused(path: str) -> None:
    with pytest.raises(Rejected):
        require_encoded(path)


@pytest.mark.parametrize(
    "path",
    ["/orders/..", "/..", "/orders/../admin", "/orders/./x", "/a/%2e%2E?x=1", "/a/.%2e", "/a/.?b"],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    """``quote`` leaves dots as they are, and servers and proxies walk up by them."""
    with pytest.raises(Rejected, match="dots"):
        require_encoded(path)


@pytest.mark.parametrize(
    "path", ["/a/...", "/.well-known/x", "/a/..b", "/a/x..", "?next=/../a", "/a?b=/..", "/a%2F..b"]
)
def test_dots_in_names_and_queries_are_taken(path: str) -> None:
    require_encoded(path)


@pytest.mark.parametrize("path", ["/", "?a=b&c=%20", "/orders/a%2Fb", "/a;v=1/(b)'!*~:@,$+"])
def test_an_encoded_path_is_taken(path: str) -> None:
    require_encoded(path)


def test_a_text_that_is_nested_too_deep_is_no_json() -> None:
    with pytest.raises(ValueError, match="too deep"):
        exact_json("[" * 1500 + "]" * 1500)


@pytest.mark.parametrize(
    "text",
    ["123456789012345678901234567890", "0.10000000000000000001", "1E400", "1e5", "12.5", "-7"],
)
def test_a_number_in_bytes_is_the_number_in_text(text: str) -> None:
    read = exact_json(f'{{"x": {text}}}'.encode())["x"]
    assert read == Decimal(text)
    assert type(read) is type(exact_json(f'{{"x": {text}}}')["x"])
