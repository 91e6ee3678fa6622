"""Dead letters grouped by cause: how many, since when, and an example."""

from __future__ import annotations

from datetime import timedelta

import pytest

from letters_kit import DIED, letter
from trunkline.streams.dlq import cause_groups
from trunkline.streams.dlq.cause_groups import group_by_cause


def test_letters_are_grouped_by_cause() -> None:
    letters = [
        letter("customer 7 is unknown", minutes=5),
        letter(KeyError("status")),
        letter("customer 8 is unknown", minutes=2),
        letter("customer 9 is unknown", minutes=9),
    ]
    first, second = group_by_cause(letters)
    assert (first.count, first.message) == (3, "customer <n> is unknown")
    assert (first.first, first.last) == (DIED + timedelta(minutes=2), DIED + timedelta(minutes=9))
    assert first.example.message == "customer 7 is unknown"
    assert (second.count, second.error) == (1, "KeyError")


def test_messages_that_have_nothing_in_common_fill_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cause_groups, "MAX_GROUPS", 2)
    found = group_by_cause(letter(word) for word in ("a", "b", "c", "d", "b"))
    counts = {cause.message: cause.count for cause in found}
    assert counts == {"a": 1, "b": 2, "": 2}
    assert all(cause.example.value is None for cause in found)
