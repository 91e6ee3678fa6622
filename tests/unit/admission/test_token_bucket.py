"""A token bucket: a rate and a burst, whoever takes and however often."""

from __future__ import annotations

import pytest

from trunkline.streams.admission.gate import NEVER
from trunkline.streams.admission.token_bucket import TokenBucket


def spend(bucket: TokenBucket, now: float) -> int:
    """Take whatever there is."""
    count = bucket.tokens(now)
    bucket.take(now, count)
    return count


def test_a_bucket_starts_empty_and_fills_at_its_rate() -> None:
    bucket = TokenBucket()
    bucket.adjust(0.0, 10.0)
    assert bucket.tokens(0.0) == 0
    assert spend(bucket, 0.1) == 1
    assert spend(bucket, 0.15) == 0
    assert sum(spend(bucket, 0.1 + step / 100) for step in range(1, 101)) == 10


@pytest.mark.parametrize(("rate", "burst"), [(1000.0, 100), (50.0, 5), (1.0, 1)])
def test_a_bucket_saves_up_a_tenth_of_a_second_and_at_least_one_event(
    rate: float, burst: int
) -> None:
    bucket = TokenBucket()
    bucket.adjust(0.0, rate)
    assert bucket.tokens(3600.0) == burst


def test_a_bucket_that_slows_down_keeps_no_larger_burst() -> None:
    bucket = TokenBucket()
    bucket.adjust(0.0, 1000.0)
    bucket.adjust(1.0, 20.0)
    assert bucket.tokens(1.0) == 2
    bucket.adjust(1.0, 0.0)
    assert bucket.tokens(1e6) == 0
    assert bucket.full_enough_at(1e6) == NEVER


@pytest.mark.parametrize("rate", [0.1, 3.0, 50.0, 999.0])
def test_when_to_come_back_there_is_something(rate: float) -> None:
    bucket = TokenBucket()
    bucket.adjust(0.0, rate)
    for _ in range(100):
        now = bucket.full_enough_at(0.0)
        assert spend(bucket, now) >= 1


def test_without_a_rate_nothing_ever_comes() -> None:
    bucket = TokenBucket()
    assert (bucket.burst, bucket.tokens(1e6), bucket.full_enough_at(1e6)) == (0.0, 0, NEVER)


def test_a_credit_may_go_at_once_but_no_more_than_the_burst() -> None:
    bucket = TokenBucket()
    bucket.adjust(0.0, 50.0, credit=3.0)
    assert bucket.tokens(0.0) == 3
    bucket.adjust(0.0, 50.0, credit=100.0)
    assert bucket.tokens(0.0) == 5


def test_what_was_taken_too_much_is_filled_first() -> None:
    bucket = TokenBucket()
    bucket.adjust(0.0, 10.0)
    bucket.take(0.0, 20)
    assert bucket.tokens(1.0) == 0
    assert bucket.full_enough_at(1.0) == pytest.approx(2.1)
    assert bucket.tokens(2.1) == 1


def test_whoever_waits_for_a_fast_one_comes_back_forty_times_a_second() -> None:
    bucket = TokenBucket()
    bucket.adjust(0.0, 10_000.0)
    assert bucket.full_enough_at(0.0) == pytest.approx(0.025)


def test_a_clock_that_goes_back_gives_and_takes_nothing() -> None:
    bucket = TokenBucket()
    bucket.adjust(10.0, 10.0)
    assert bucket.tokens(9.0) == 0
    assert bucket.tokens(9.1) == 1
