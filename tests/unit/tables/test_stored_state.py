"""When rows that were kept can be gone on from, and when not."""

from __future__ import annotations

import pytest

from trunkline.streams.tables.stored_state import StoredState

IDENTITY = {"format": 1, "cluster": "c", "topic": "t", "indexes": ["status"], "schema": "{}"}
SPANS = {0: range(5, 20), 1: range(0, 10)}


def state(**other: object) -> StoredState:
    found = StoredState(dict(IDENTITY), {0: 20, 1: 0}, 1_000.0, {b"\0\0\0\0\1"}, 7)
    for name, value in other.items():
        setattr(found, name, value)
    return found


def test_what_is_written_is_read_again() -> None:
    assert StoredState.of(state().to_json()) == state()


def test_rows_of_the_same_topic_are_gone_on_from_also_with_more_partitions() -> None:
    assert state().why_not(IDENTITY, {**SPANS, 2: range(3)}, 86_400, 2_000.0) == ""


@pytest.mark.parametrize(
    ("other", "now", "why"),
    [
        ({"identity": {**IDENTITY, "topic": "another"}}, 0, "of another topic"),
        ({"identity": {**IDENTITY, "cluster": "another"}}, 0, "of another cluster"),
        ({"identity": {**IDENTITY, "indexes": []}}, 0, "of another indexes"),
        ({"identity": {}}, 0, "of another format"),
        ({"offsets": {0: 21}}, 0, "shorter than they are"),
        ({"offsets": {5: 1}}, 0, "shorter than they are"),
        ({"offsets": {0: 4}}, 0, "are deleted"),
        ({}, 1_000.0 + 86_401, "tombstones"),
    ],
)
def test_rows_that_do_not_fit_the_topic_say_why(
    other: dict[str, object], now: float, why: str
) -> None:
    assert why in state(**other).why_not(IDENTITY, SPANS, 86_400, now)
