"""The demo's proof must fail on what is not right: here it is given what is not right."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.demo.expect import DELETED, Expected
from trunkline.demo.proof import Arrival, Verdict, judge_messages, judge_table, percentile

DUE = {
    "a": [Expected("scheduled", None), Expected("departed", 1.0), Expected("arrived", 2.0)],
    "b": [Expected("scheduled", None)],
}


def judged(*arrivals: str) -> Verdict:
    """Of arrivals written as ``a departed``, one a second."""
    came = [Arrival(*text.split(), float(n)) for n, text in enumerate(arrivals)]
    return judge_messages("api", DUE, came)


def test_everything_in_order_is_right() -> None:
    verdict = judged("a scheduled", "b scheduled", "a departed", "a arrived")
    assert verdict.ok
    assert (verdict.expected, verdict.delivered, verdict.duplicates) == (4, 4, 0)
    assert verdict.delays == [(1.0, 1.0), (2.0, 1.0)]  # what was there before has none


def test_one_that_did_not_arrive_is_missing() -> None:
    verdict = judged("a scheduled", "b scheduled", "a arrived")
    assert (verdict.missing, verdict.delivered, verdict.out_of_order) == (1, 3, 0)
    assert not verdict.ok


def test_a_key_of_which_nothing_arrived_is_missing() -> None:
    verdict = judged("a scheduled", "a departed", "a arrived")
    assert (verdict.missing, verdict.ok) == (1, False)


def test_two_of_a_key_the_wrong_way_round_are_out_of_order() -> None:
    verdict = judged("a scheduled", "b scheduled", "a arrived", "a departed")
    assert (verdict.out_of_order, verdict.missing, verdict.ok) == (1, 0, False)


def test_repeats_in_their_order_are_duplicates_and_allowed() -> None:
    verdict = judged(
        "a scheduled", "b scheduled", "a departed", "a arrived", "a departed", "a arrived"
    )
    assert (verdict.duplicates, verdict.out_of_order, verdict.ok) == (2, 0, True)


def test_a_repeat_that_leaves_an_older_state_is_out_of_order() -> None:
    verdict = judged("a scheduled", "b scheduled", "a departed", "a arrived", "a departed")
    assert (verdict.duplicates, verdict.out_of_order, verdict.ok) == (1, 1, False)


@pytest.mark.parametrize("stranger", ["a cancelled", "c scheduled"])
def test_what_the_airport_did_not_do_is_unexpected(stranger: str) -> None:
    verdict = judged("a scheduled", "b scheduled", "a departed", "a arrived", stranger)
    assert (verdict.unexpected, verdict.ok) == (1, False)


TABLE_DUE = {**DUE, "gone": [Expected("scheduled", None), Expected(DELETED, 3.0)]}
ROWS: dict[str, tuple[Any, ...]] = {"a": ("a", "arrived"), "b": ("b", "scheduled")}


def table(*writes: str, source: dict[str, Any] = ROWS, mart: dict[str, Any] = ROWS) -> Verdict:
    came = [Arrival(*text.split(), float(n)) for n, text in enumerate(writes)]
    return judge_table("mart", TABLE_DUE, came, source, mart)


def test_a_table_may_pass_over_states_between() -> None:
    verdict = table("a scheduled", "a arrived", "b scheduled")
    assert verdict.ok
    assert (verdict.expected, verdict.delivered) == (3, 3)


def test_a_write_of_an_older_state_is_out_of_order() -> None:
    verdict = table("a departed", "a scheduled", "a arrived", "b scheduled")
    assert (verdict.out_of_order, verdict.missing, verdict.ok) == (1, 0, False)


@pytest.mark.parametrize(
    "mart",
    [
        {"a": ROWS["a"]},
        {**ROWS, "a": ("a", "departed")},
        {**ROWS, "gone": ("gone", "scheduled")},
    ],
    ids=["a row less", "another row", "a deleted row"],
)
def test_a_table_that_ends_otherwise_is_wrong(mart: dict[str, Any]) -> None:
    verdict = table("a arrived", "b scheduled", mart=mart)
    assert (verdict.missing, verdict.delivered, verdict.ok) == (1, 2, False)


def test_a_row_that_nobody_wrote_is_unexpected() -> None:
    assert table("a arrived", mart={**ROWS, "z": ("z",)}).unexpected == 1


def test_the_source_itself_must_hold_what_the_airport_wrote() -> None:
    both = {"a": ROWS["a"]}
    assert table("a arrived", source=both, mart=both).missing == 1


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == value
    assert percentile([7.0], share) == 7.0
    assert percentile([], share) is None
