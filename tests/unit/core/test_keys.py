"""join_key and split_key are each other's inverse, whatever the values hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.event import join_key, split_key


@given(st.lists(st.text(), min_size=1))
def test_split_gives_back_what_was_joined(values: list[str]) -> None:
    assert split_key(join_key(values)) == values


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_different_values_never_share_a_key(one: list[str], other: list[str]) -> None:
    assert (join_key(one) == join_key(other)) == (one == other)


def test_a_single_value_is_itself() -> None:
    assert join_key(["42"]) == "42"
    assert join_key(["a", "b"]) == '["a","b"]'


@pytest.mark.parametrize("key", ["[draft] 7", "[1,2]", "[]", '[["a"]]', "[", ""])
def test_a_foreign_key_is_a_single_value(key: str) -> None:
    assert split_key(key) == [key]


def test_no_values_make_no_key() -> None:
    with pytest.raises(ValueError, match="at least one"):
        join_key([])
