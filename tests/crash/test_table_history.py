"""The account of the table itself: each fault that it is to find is found."""

from __future__ import annotations

from typing import Any

import pytest
from history import Place
from table_history import TableAccount, differences

EVENTS = [("a", 0), ("b", 0), ("a", 1)]
SOUND: dict[str, Any] = {
    "events": EVENTS,
    "routed": EVENTS,
    "dead": {},
    "retried": 0,
    "open": 0,
    "rows": {"a": 1, "b": 0},
}


def test_what_is_routed_once_and_makes_its_rows_is_sound() -> None:
    assert list(TableAccount(**SOUND).faults()) == []


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"routed": EVENTS[:2]}, "1 of 3 are not routed: [('a', 1)]"),
        ({"routed": [*EVENTS, ("a", 1)]}, "1 are routed that should not be, or again: [('a', 1)]"),
        ({"open": 2}, "2 are not completed"),
        ({"dead": {("b", 0): "gone"}}, "('b', 0) is dead: gone"),
        ({"retried": 3}, "3 attempts were used up"),
        ({"rows": {"a": 0, "b": 0}}, "a has 0 in the table, and should 1"),
        ({"rows": {"a": 1}}, "b has None in the table, and should 0"),
        ({"rows": {"a": 1, "b": 0, "c": 3}}, "c has 3 in the table, and should None"),
    ],
)
def test_what_is_wrong_is_told(wrong: dict[str, Any], fault: str) -> None:
    assert list(TableAccount(**{**SOUND, **wrong}).faults()) == [fault]


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        (EVENTS, []),
        ([], ["3 of 3 are not dead: [('a', 0), ('a', 1), ('b', 0)]"]),
        ([*EVENTS, ("b", 0)], ["1 are dead that should not be, or again: [('b', 0)]"]),
        ([*EVENTS, ("c", 0)], ["1 are dead that should not be, or again: [('c', 0)]"]),
    ],
)
def test_what_is_missing_and_what_is_too_much_is_told(
    found: list[Place], faults: list[str]
) -> None:
    assert list(differences("dead", EVENTS, found)) == faults
