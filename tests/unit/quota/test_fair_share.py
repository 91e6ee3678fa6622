"""Dividing a whole: fair, complete, never more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.quota.fair_share import max_min_shares, whole_shares

WANTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=1), st.floats(0, 1e4))
COUNTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=1), st.integers(0, 50))


@pytest.mark.parametrize(
    ("wants", "shares"),
    [
        ({}, {}),
        ({"a": 100.0}, {"a": 60.0}),
        ({"a": 100.0, "b": 100.0}, {"a": 30.0, "b": 30.0}),
        ({"a": 10.0, "b": 100.0}, {"a": 10.0, "b": 50.0}),
        ({"a": 5.0, "b": 25.0, "c": 100.0}, {"a": 5.0, "b": 25.0, "c": 30.0}),
        ({"a": 5.0, "b": 5.0}, {"a": 5.0, "b": 5.0}),
    ],
)
def test_sixty_are_divided(wants: dict[str, float], shares: dict[str, float]) -> None:
    assert max_min_shares(60.0, wants) == pytest.approx(shares)


@given(whole=st.floats(0.001, 1e4), wants=WANTS)
def test_a_rate_is_divided_completely_and_max_min_fair(
    whole: float, wants: dict[str, float]
) -> None:
    shares = max_min_shares(whole, wants)
    assert sum(shares.values()) == pytest.approx(min(whole, sum(wants.values())))
    assert sum(shares.values()) <= whole * (1 + 1e-9)
    for one, share in shares.items():
        assert share <= wants[one]
        if share < wants[one] * (1 - 1e-9):  # who lacks something has as much as anybody
            assert share >= max(shares.values()) * (1 - 1e-9)


@given(whole=st.integers(1, 60), wants=COUNTS)
def test_permits_are_divided_completely_and_nobody_has_two_more_than_who_lacks_one(
    whole: int, wants: dict[str, int]
) -> None:
    given = whole_shares(whole, wants, sorted(wants))
    assert sum(given.values()) == min(whole, sum(wants.values()))
    for one, count in given.items():
        assert 0 <= count <= wants[one]
        if count < wants[one]:
            assert count >= max(given.values()) - 1


def test_remainders_and_permits_that_are_too_few_go_by_the_order() -> None:
    wants = {"a": 9, "b": 9, "c": 9}
    assert whole_shares(4, wants, ["c", "a", "b"]) == {"a": 1, "b": 1, "c": 2}
    assert whole_shares(2, wants, ["c", "a", "b"]) == {"a": 1, "b": 0, "c": 1}
