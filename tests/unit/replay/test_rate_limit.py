"""A replay's rate: never more than it says, over any time longer than a moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.replay.rate_limit import CATCH_UP, MAX_CHUNK, RateLimit


def test_without_a_rate_nothing_waits() -> None:
    pace = RateLimit(lambda: None)
    assert pace.chunk == MAX_CHUNK
    assert [pace.wait(1000, now) for now in (0.0, 0.0, 5.0)] == [0.0, 0.0, 0.0]


def test_chunks_are_small_where_the_rate_is() -> None:
    assert [RateLimit(lambda r=rate: r).chunk for rate in (0.5, 10.0, 1e6)] == [1, 5, MAX_CHUNK]


@given(st.floats(0.5, 500), st.lists(st.tuples(st.integers(1, 50), st.floats(0, 3)), max_size=30))
def test_no_more_is_sent_than_the_rate_allows(rate: float, chunks: list[tuple[int, float]]) -> None:
    """Each chunk is sent when it may be, and its transaction takes a while."""
    pace, now, sent = RateLimit(lambda: rate), 100.0, 0
    for count, takes in chunks:
        now += pace.wait(count, now)
        assert sent <= rate * (now - 100.0 + CATCH_UP) + 1e-6
        sent += count
        now += takes


def test_what_is_late_catches_up() -> None:
    pace = RateLimit(lambda: 10.0)
    assert pace.wait(5, 100.0) == 0.0
    assert pace.wait(5, 100.9) == 0.0, "0.4 s late"
    assert pace.wait(5, 100.9) > 0.0
