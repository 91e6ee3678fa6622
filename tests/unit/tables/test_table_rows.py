"""How rows and index entries are written: in order, and nothing can be mistaken for anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.tables.rows import (
    VALUE,
    Origin,
    entries_of,
    key_of,
    origin_of,
    row_of,
    text_and_key_of,
    texts_from,
)

TEXT = st.text(alphabet=st.sampled_from("\x00\x01ab€"), max_size=4)
KEY = st.binary(max_size=4)
VALUES = st.one_of(TEXT, st.integers(), st.booleans())


@given(VALUES, KEY, VALUES, KEY)
def test_entries_of_another_value_are_never_among_those_of_one(
    one: str | int, key: bytes, other: str | int, other_key: bytes
) -> None:
    begin, entry = entries_of(1, one), entries_of(1, other) + other_key
    same = type(one) is type(other) and one == other
    assert entry.startswith(begin) == same
    assert not (entries_of(2, one) + key).startswith(begin)
    if same:
        assert key_of(entry, begin) == other_key


@given(TEXT, KEY, TEXT)
def test_texts_are_found_by_their_prefix(text: str, key: bytes, prefix: str) -> None:
    entry = entries_of(3, text) + key
    assert entry.startswith(texts_from(3, prefix)) == text.startswith(prefix)
    assert text_and_key_of(entry) == (text, key)


@given(TEXT, TEXT)
def test_entries_stand_in_the_order_of_their_texts(one: str, other: str) -> None:
    entries = entries_of(1, one), entries_of(1, other)
    assert (entries[0] < entries[1]) == (one.encode() < other.encode())


def test_a_row_has_its_origin_and_its_value() -> None:
    row = row_of(Origin(7, 1_700_000_000_000), b"value")
    assert (origin_of(row), row[VALUE:]) == (Origin(7, 1_700_000_000_000), b"value")


def test_within_a_partition_what_is_read_later_is_newer_whatever_its_time() -> None:
    assert not Origin(1, 900).outlasts(Origin(1, 100))
    assert Origin(1, 900).outlasts(Origin(2, 100))
    assert not Origin(1, 100).outlasts(Origin(2, 100))


@pytest.mark.parametrize("value", [None, 1.5, b"x", ["a"]])
def test_an_index_is_asked_for_what_a_field_can_be(value: object) -> None:
    with pytest.raises(TypeError, match="a text or a whole number"):
        entries_of(1, value)
