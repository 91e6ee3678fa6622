"""Path templates over values of all types: one segment each, in the form that they have in JSON."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypedDict
from urllib.parse import unquote
from uuid import UUID

import pytest

from trunkline.connectors.contract import make_event
from trunkline.connectors.http.paths import path_template, require_encoded
from trunkline.errors import Rejected


class Thing(TypedDict):
    x: Any


VALUES: list[tuple[Any, str]] = [
    ("a", "a"),
    ("a/b c?d#e%", "a%2Fb%20c%3Fd%23e%25"),
    ("ümlaut", "%C3%BCmlaut"),
    ("...", "..."),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (-7, "-7"),
    (2**70, str(2**70)),
    (1.5, "1.5"),
    (Decimal("1E-8"), "0.00000001"),
    (Decimal("12.30"), "12.30"),
    (date(2026, 1, 2), "2026-01-02"),
    (time(3, 4), "03%3A04%3A00"),
    (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03%3A04%3A00%2B00%3A00"),
    (b"\x00", "AA%3D%3D"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
]


def filled(template: str, value: Any, key: str = "k") -> str:
    event = make_event(key, {"x": value}, offset=1)
    return path_template(template, Thing, deletes=False)(event)


@pytest.mark.parametrize(("value", "segment"), VALUES, ids=lambda value: str(value)[:20])
def test_a_value_of_any_type_is_one_segment_in_its_json_form(value: Any, segment: str) -> None:
    path = filled("/of/{x}/at/{key}", value)
    assert path == f"/of/{segment}/at/k"
    require_encoded(path)
    if isinstance(value, str):
        assert filled("/{key}", 1, key=value) == f"/{segment}"
        assert unquote(segment) == value


@pytest.mark.parametrize("value", [None, "", ".", "..", [], ["a"], {"a": 1}])
def test_what_would_be_another_path_or_is_no_single_value_is_rejected(value: Any) -> None:
    with pytest.raises(Rejected, match=r"the path's \{x\}"):
        filled("/of/{x}", value)
    if value in ("", ".", ".."):
        with pytest.raises(Rejected, match=r"the path's \{key\}"):
            filled("/of/{key}", 1, key=value)
