"""What is asked for: which letters are in it, and what is handled after a discard."""

from __future__ import annotations

from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letters_kit import letter
from trunkline.admin.dead_letters import Kind, Request, discarded
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.dlq.queue import covering_ranges
from trunkline.streams.replay import request as replay


def source_letters(keys: list[str], handled: Container[int] = ()) -> list[DeadLetter]:
    """Letters of one partition, each followed by a transaction's marker."""
    return [
        letter(partition=0, offset=2 * n, key=key.encode(), handled=n in handled)
        for n, key in enumerate(keys)
    ]


KEYS = st.lists(st.sampled_from("ab"), max_size=12)


@given(KEYS, st.sets(st.integers(0, 11)), st.none() | st.integers(1, 5))
def test_a_discard_handles_what_is_meant_and_no_other(
    keys: list[str], before: set[int], limit: int | None
) -> None:
    letters = source_letters(keys, before)
    handled, count = discarded(letters, DeadLetterFilter(key="a"), limit)
    meant = [n for n, key in enumerate(keys) if key == "a" and n not in before][:limit]
    now = {n for n in range(len(keys)) if handled.has(0, 2 * n)}
    assert count == len(meant)
    assert now == {*meant, *(before & set(range(len(keys))))}


def test_a_discard_of_all_is_one_run() -> None:
    handled, _ = discarded(source_letters(["a"] * 9), DeadLetterFilter(), None)
    assert handled.encode() == {"handled": {"0": {"prefix": 17, "runs": []}}}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), unique=True))
def test_ranges_hold_the_letters_and_little_else(places: list[tuple[int, int]]) -> None:
    places = sorted(places)
    ranges, count = covering_ranges(letter(partition=n, offset=at) for n, at in places)
    assert count == len(places)
    assert set(ranges) == {n for n, _ in places}
    for number, (first, behind) in ranges.items():
        offsets = [at for n, at in places if n == number]
        assert (first, behind) == (min(offsets), max(offsets) + 1)


@pytest.mark.parametrize("kind", ["redrive", "discard"])
def test_workers_read_the_request_as_it_is_meant(kind: Kind) -> None:
    selection = DeadLetterFilter(error="Rejected", since="2026-11-22T14:30", header={"ce_id": "1"})
    asked = Request(
        kind=kind,
        destination="erp",
        topic="f.erp.dlq",
        ranges={0: (3, 9), 2: (0, 4)},
        selection=selection,
        limit=5,
        rate=2.5,
        force=True,
        why="customer is back",
        count=5,
    )
    read = replay.Request.of("7f", asked.value())
    assert (read.kind, read.destination, read.state) == (kind, "erp", "running")
    assert read.ranges == {("f.erp.dlq", 0): (3, 9), ("f.erp.dlq", 2): (0, 4)}
    assert read.selection == selection
    assert (read.rate, read.force, read.why) == (2.5, True, "customer is back")
    assert "@" in read.by
