"""What of a table is left to read, whoever reads it, and however far."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from trunkline.connectors.postgres.blocks import Extent, Span, Spans

IN_A_BLOCK = 3
"""Rows in a block of the tables here: of offset 1, 2 and 3."""


def rows_in(span: Span) -> list[tuple[int, int]]:
    places = [(b, o) for b in range(span.block, span.end) for o in range(1, IN_A_BLOCK + 1)]
    return [place for place in places if place > (span.block, span.offset)]


def behind(span: Span, place: tuple[int, int]) -> Span:
    return span.after([f"({place[0]},{place[1]})".encode(), b"16384"])


@given(blocks=st.integers(0, 200), files=st.integers(1, 40), seed=st.integers(0, 1 << 30))
def test_each_row_is_read_once_whatever_is_stored_and_taken_up_again(
    blocks: int, files: int, seed: int
) -> None:
    dice, read = random.Random(seed), list[tuple[int, int]]()
    spans = Spans.whole(Extent(blocks, files, "mark"))
    taken: list[Span] = []
    while spans:
        if dice.random() < 0.05:  # kill -9: what is left is what is stored
            spans, taken = Spans(spans.as_json()), []
        if len(taken) < 3 and (span := spans.take(files)) is not None:
            taken.append(span)
        if not taken:
            continue
        span = taken.pop(dice.randrange(len(taken)))
        portion = rows_in(span)[: dice.randrange(1, 60)]
        left = behind(span, portion[-1]) if portion else None
        if dice.random() < 0.1:  # it could not be read
            spans.give_back(span)
            continue
        read += portion
        spans.move(span, left)
        if left is not None:
            taken.append(left)
    assert sorted(read) == rows_in(Span(0, 0, 0, blocks))
    assert len(spans.as_json()) == 0


def test_two_readers_never_take_the_same() -> None:
    spans = Spans.whole(Extent(100, 1, ""))
    taken = [spans.take() for _ in range(5)]
    assert [span and (span.block, span.end) for span in taken] == [
        (0, 32),
        (32, 64),
        (64, 96),
        (96, 100),
        None,
    ]


def test_what_was_given_up_is_not_counted() -> None:
    """A table that was written anew is read from its beginning, by spans of the new file."""
    before = Spans.whole(Extent(10, 1, "a"))
    span = before.take()
    assert span is not None
    anew = Spans.whole(Extent(20, 1, "b"))
    anew.move(span, None)
    assert anew.as_json() == [[0, 0, 0, 20]]
