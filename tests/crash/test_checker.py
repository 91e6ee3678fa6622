"""The proof itself: each fault that it is to find is found."""

from __future__ import annotations

import pytest
from checker import disorder, disorders, repeats

from worker_kit import Delivery


def delivery(id_: str, at: float = 0.0, key: str = "k") -> Delivery:
    return Delivery(at, key, id_, "POST", None)


@pytest.mark.parametrize("arrived", ["abcd", "abbcd", "abcbcd", "abcabcd", "abcdabcdcd"])
def test_repeats_that_end_on_the_newest_are_in_order(arrived: str) -> None:
    assert disorder("abcd", arrived) == ""


@pytest.mark.parametrize(
    ("arrived", "fault"),
    [
        ("abd", "missing: ['c']"),
        ("abxcd", "never sent: ['x']"),
        ("abdcd", "event 3 came after event 1"),
        ("bacd", "event 1 came after event -1"),
        ("abcdab", "ends on event 1 of 4"),
        ("abcdacd", "event 2 came after event 0"),
    ],
)
def test_what_is_missing_or_out_of_order_is_told(arrived: str, fault: str) -> None:
    assert disorder("abcd", arrived) == fault


def test_a_row_that_stands_in_the_topic_twice_has_one_place_and_is_not_the_newest_state() -> None:
    assert disorder("aabc", "aabc") == ""
    assert disorder("aabc", "abc") == ""
    assert disorder("abca", "abca") == "ends on event 0 of 3"


def test_keys_are_independent_and_each_is_looked_at() -> None:
    arrived = [delivery("x", key="other"), delivery("a"), delivery("y", key="other")]
    assert disorders({"k": "ab", "other": "xy", "third": "q"}, arrived) == {
        "k": "missing: ['b']",
        "third": "missing: ['q']",
    }
    assert disorders({}, [delivery("a")]) == {"k": "never sent: ['a']"}


def test_a_repeat_is_explained_by_a_kill_between_its_deliveries() -> None:
    deliveries = [delivery("a", 1), delivery("b", 2), delivery("a", 5), delivery("a", 6)]
    found = repeats(deliveries, [0.5, 3.0, 4.0, 7.0])
    assert found.by_kill == {0.5: 0, 3.0: 0, 4.0: 1, 7.0: 0}
    assert found.unexplained == 1
    assert found.total == 2
