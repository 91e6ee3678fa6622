"""Which transactions a chunk's snapshot must see before its rows may go out."""

from __future__ import annotations

import pytest

from trunkline.connectors.postgres.chunks import NotYet, Seen, require_shown

AGAIN = 1 << 32
"""Ids that the server tells have their epoch; those of the stream have not."""


@pytest.mark.parametrize(
    ("running", "following", "streamed"),
    [
        ((), 110, {100, 105}),
        ((107,), 110, {100, 105}),
        ((AGAIN + 107,), AGAIN + 110, {100}),
        ((), AGAIN + 3, {0xFFFFFFFE}),  # ids have gone round since
    ],
)
def test_it_sees_what_the_stream_has_told(
    running: tuple[int, ...], following: int, streamed: set[int]
) -> None:
    require_shown(running, following, Seen(90, streamed))


@pytest.mark.parametrize(
    ("running", "following", "streamed"),
    [
        ((105,), 110, {105}),
        ((), 105, {105}),  # the last that has ended is 104
        ((), 105, {106}),
        ((AGAIN + 105,), AGAIN + 110, {105}),
        ((), 0xFFFFFFFE, {3}),
    ],
)
def test_one_that_is_told_and_not_shown_yet_is_waited_for(
    running: tuple[int, ...], following: int, streamed: set[int]
) -> None:
    with pytest.raises(NotYet, match="committed, and not shown yet"):
        require_shown(running, following, Seen(90, streamed))


def test_what_was_open_before_is_waited_for() -> None:
    with pytest.raises(NotYet, match="open before must end"):
        require_shown((101,), 103, Seen(102))
    require_shown((102,), 103, Seen(102))
