"""Which dead letters are handled: sets of offsets, and how the control topic keeps them."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.handled import (
    NO_ORIGIN,
    Handled,
    OffsetSet,
    origin_of,
    owner_of,
)

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 44)))


@given(RANGES)
def test_offsets_are_a_set(ranges: list[tuple[int, int]]) -> None:
    offsets = OffsetSet(ranges)
    model = {offset for start, until in ranges for offset in range(start, until)}
    assert {offset for offset in range(50) if offset in offsets} == model


@given(RANGES)
def test_runs_neither_touch_nor_overlap(ranges: list[tuple[int, int]]) -> None:
    runs = OffsetSet(ranges).runs()
    assert all(start < until for start, until in runs)
    assert all(one[1] < two[0] for one, two in pairwise(runs))


@given(st.dictionaries(st.integers(0, 3), RANGES))
def test_the_control_record_tells_the_same(given: dict[int, list[tuple[int, int]]]) -> None:
    handled = Handled({number: OffsetSet(ranges) for number, ranges in given.items()})
    again = Handled.from_record(json.loads(json.dumps(handled.to_record())))
    places = [(number, offset) for number in range(5) for offset in range(50)]
    assert [again.has(*place) for place in places] == [handled.has(*place) for place in places]


def test_the_control_record_is_as_documented() -> None:
    handled = Handled()
    handled.add(0, 0, 17)
    handled.add(0, 20, 23)
    handled.add(2, 40, 41)
    assert handled.to_record() == {
        "handled": {"0": {"prefix": 17, "runs": [[20, 3]]}, "2": {"prefix": 0, "runs": [[40, 1]]}}
    }


def test_nothing_is_handled_before_there_is_a_record() -> None:
    assert not Handled.from_record(None).has(0, 0)
    assert not Handled.from_record({}).has(0, 0)


def test_the_record_of_an_origin_is_its_own() -> None:
    assert HandledKey("erp", ("commerce.orders", 3)).text == "dlq/erp/commerce.orders/3"


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"tl_stage": b"route", "tl_dead_from": b"a/1/17"}, ("a", 1)),
        ({"tl_stage": b"route", "tl_dead_from": b"a/1/17", "tl_from": b"b/2/3/1"}, ("a", 1)),
        (
            {"tl_stage": b"deliver", "tl_dead_from": b"f.e.inbox/0/9", "tl_from": b"b/2/3/1"},
            ("b", 2),
        ),
        ({"tl_stage": b"deliver", "tl_dead_from": b"f.e.inbox/0/9"}, NO_ORIGIN),
        ({"tl_stage": b"deliver", "tl_from": b"\xff/x/1/1"}, NO_ORIGIN),
        ({"tl_stage": b"publish", "tl_dead_from": b"stream/of/1/2"}, NO_ORIGIN),
        ({}, NO_ORIGIN),
    ],
)
def test_a_letters_origin_is_where_its_event_was_routed(
    headers: dict[str, bytes], origin: tuple[str, int]
) -> None:
    assert origin_of(list(headers.items())) == origin


def test_each_origin_has_an_owner() -> None:
    topics = ["a", "b"]
    assert owner_of(("b", 2), topics) == ("b", 2)
    assert owner_of(("gone", 2), topics) == ("a", 0)
    assert owner_of(NO_ORIGIN, topics) == ("a", 0)
