"""Two flows that publish one canonical topic are told of each other; the topic is a dictionary."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.streams.publish.publishers import (
    GONE_AFTER,
    REPEAT_AFTER,
    Publication,
    changes,
    others_of,
)
from trunkline.times import iso

NOON = 1_700_000_000.0


class Topic:
    """What flows say when they start, or look again."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.written = 0

    def look(self, flow: str, *topics: str, at: float = NOON) -> list[str]:
        """The other flows that one is told of."""
        for key, value in changes(self.state, flow, topics, at).items():
            self.written += 1
            self.state.pop(key, None)
            if value is not None:
                self.state[key] = value
        return [f"{one.topic} of {one.flow}" for one in others_of(self.state, flow, topics, at)]


def test_two_flows_are_told_of_each_other_whoever_comes_first() -> None:
    topic = Topic()
    assert topic.look("shop", "orders", "customers") == []
    assert topic.look("desk", "orders", "notices") == ["orders of shop"]
    assert topic.look("shop", "orders", "customers") == ["orders of desk"]
    assert topic.look("other", "products") == []


def test_workers_restarts_and_versions_of_one_flow_are_nobody_else_and_write_nothing() -> None:
    topic = Topic()
    for _ in range(3):
        assert topic.look("shop", "orders") == []
    assert topic.written == 1
    assert topic.look("shop", "orders", at=NOON + REPEAT_AFTER) == []
    assert topic.written == 2, "it runs still"


def test_what_a_flow_publishes_no_more_is_another_ones() -> None:
    topic = Topic()
    topic.look("shop", "orders", "customers")
    topic.look("shop", "customers")
    assert topic.look("desk", "orders") == []
    assert topic.look("shop", "customers") == []


def test_a_flow_that_says_so_no_more_is_gone() -> None:
    topic = Topic()
    topic.look("shop", "orders")
    assert topic.look("desk", "orders", at=NOON + GONE_AFTER - 1) == ["orders of shop"]
    assert topic.look("desk", "orders", at=NOON + GONE_AFTER) == []
    assert [*topic.state] == ["orders/desk"]


def test_names_that_begin_alike_are_not_the_same() -> None:
    topic = Topic()
    topic.look("shop", "orders")
    assert topic.look("shop.eu", "orders.eu") == []
    assert topic.look("shop.eu", "orders") == ["orders of shop"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("orders", {"at": iso(NOON)}),
        ("orders/", {"at": iso(NOON)}),
        ("/shop", {"at": iso(NOON)}),
        ("orders/shop/x", {"at": iso(NOON)}),
        ("orders/shop", {}),
        ("orders/shop", {"at": 7}),
        ("orders/shop", {"at": "yesterday"}),
    ],
)
def test_a_record_that_we_cannot_have_written_is_nothing(key: str, value: dict[str, Any]) -> None:
    topic = Topic()
    topic.state[key] = value
    assert topic.look("desk", "orders") == []
    assert topic.state[key] == value


def test_a_record_is_read_as_it_was_written() -> None:
    said = Publication("orders", "shop", NOON)
    assert Publication.of(said.key, said.value()) == said
