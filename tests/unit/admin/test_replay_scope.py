"""Which offsets a replay is about, of those that are asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.admin.replay_scope import _within

OFFSETS = st.integers(0, 30)


@given(OFFSETS, OFFSETS, OFFSETS, st.integers(-1, 30))
def test_what_is_there_is_asked_for_and_is_routed(
    first: int, end: int, low: int, routed: int
) -> None:
    found = _within(range(first, end), low, routed)
    assert set(found) == set(range(first, end)) & set(range(low, routed))


@pytest.mark.parametrize(
    ("asked", "low", "routed", "found"),
    [
        (range(1 << 62), 7, 20, range(7, 20)),
        (range(10, 15), 7, 20, range(10, 15)),
        (range(1 << 62, 1 << 62), 7, 20, range(20, 20)),
        (range(3), 7, 20, range(7, 7)),
        (range(1 << 62), 7, -1, range(7, 7)),
    ],
)
def test_an_empty_range_lies_within_what_is_there(
    asked: range, low: int, routed: int, found: range
) -> None:
    at = _within(asked, low, routed)
    assert (at.start, at.stop) == (found.start, found.stop)
