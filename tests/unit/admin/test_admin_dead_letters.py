"""Which letters a request covers, and what is handled after a discard."""

from __future__ import annotations

from collections.abc import Container

from hypothesis import given
from hypothesis import strategies as st

from letters_kit import letter
from trunkline.admin.dead_letters import discarded
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.dlq.queue import covering_ranges


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
    assert set(ranges) == {("f.erp.dlq", n) for n, _ in places}
    for (_, number), span in ranges.items():
        offsets = [at for n, at in places if n == number]
        assert span == range(min(offsets), max(offsets) + 1)
