"""Counts over a sliding window: what it has left behind is forgotten, bucket by bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.admission.sliding_window import SlidingWindow


def test_it_counts_all_and_those_that_failed() -> None:
    counts = SlidingWindow(60)
    counts.add(100, 5, 2)
    counts.add(101, 3, 0)
    assert (counts.total, counts.failures) == (8, 2)


def test_what_is_older_than_the_window_is_forgotten_when_somebody_asks() -> None:
    counts = SlidingWindow(60)
    counts.add(100, 5, 2)
    counts.add(130, 1, 1)
    counts.expire(159)
    assert (counts.total, counts.failures) == (6, 3)
    counts.expire(160)
    assert (counts.total, counts.failures) == (1, 1)
    counts.expire(1e9)
    assert (counts.total, counts.failures) == (0, 0)


def test_adding_forgets_too() -> None:
    counts = SlidingWindow(60)
    counts.add(100, 5, 2)
    counts.add(200, 1, 0)
    assert (counts.total, counts.failures) == (1, 0)


def test_a_moment_that_is_older_than_the_newest_bucket_counts_there() -> None:
    counts = SlidingWindow(60)
    counts.add(100.9, 1, 0)
    counts.add(101.1, 1, 0)
    counts.add(100.95, 1, 1)
    assert (counts.total, counts.failures) == (3, 1)
    counts.expire(160.5)
    assert (counts.total, counts.failures) == (2, 1)


def test_cleared_it_counts_anew() -> None:
    counts = SlidingWindow(60)
    counts.add(100, 5, 2)
    counts.clear()
    assert (counts.total, counts.failures) == (0, 0)
    counts.add(101, 1, 0)
    counts.expire(161)
    assert (counts.total, counts.failures) == (0, 0)


STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 9)))


@given(steps=STEPS, window=st.integers(1, 60), buckets=st.integers(1, 8))
def test_counts_are_exact_for_whole_buckets_and_bounded(
    steps: list[tuple[int, int, int]], window: int, buckets: int
) -> None:
    counts, history, now = SlidingWindow(window, buckets=buckets), [], 0
    for pause, bad, good in steps:
        now += pause
        counts.add(now, bad + good, bad)
        history.append((now, bad + good, bad))
        width = window / buckets
        recent = [entry for entry in history if entry[0] // width > now // width - buckets]
        assert counts.total == sum(total for _, total, _ in recent)
        assert counts.failures == sum(bad for _, _, bad in recent)
        assert len(counts._buckets) <= buckets
        assert {e for e in history if e[0] > now - window + width} <= {*recent}
