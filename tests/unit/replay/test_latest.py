"""The latest event of each key in a window, while live events arrive at any time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.replay.latest import LatestByKey

LOG = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=12)


@given(st.data(), LOG)
def test_a_collected_event_is_the_latest_until_a_newer_one_of_its_key(
    data: st.DataObject, log: list[bytes]
) -> None:
    """The log is the truth: what is in it from the window's begin to the live position."""
    low_watermark = data.draw(st.integers(0, len(log)))
    start = data.draw(st.integers(0, low_watermark))
    end = data.draw(st.integers(start, low_watermark))
    latest, live = LatestByKey(), low_watermark

    def route() -> None:
        """Some live events, at this point."""
        nonlocal live
        for _ in range(data.draw(st.integers(0, len(log) - live))):
            latest.on_live_event(log[live], live)
            live += 1

    for offset in range(start, low_watermark):
        route()
        (latest.collect if offset < end else latest.supersede)(log[offset], offset)
    route()
    latest.seal()
    for _ in range(2):
        newest = {key: offset for offset, key in enumerate(log[:live])}
        for offset in range(live):
            expected = start <= offset < end and newest[log[offset]] == offset
            assert latest.has(log[offset], offset) == expected
        route()


def test_a_live_event_before_its_key_is_collected_takes_it_out() -> None:
    latest = LatestByKey()
    latest.on_live_event(b"a", 9)
    latest.collect(b"a", 1)
    latest.collect(b"b", 2)
    latest.seal()
    assert not latest.has(b"a", 1)
    assert latest.has(b"b", 2)


def test_only_the_newest_that_was_collected_counts() -> None:
    latest = LatestByKey()
    for offset in (1, 5, 3):
        latest.collect(b"a", offset)
    latest.seal()
    assert [latest.has(b"a", offset) for offset in (1, 3, 5)] == [False, False, True]
    latest.on_live_event(b"a", 6)
    assert not latest.has(b"a", 5)
    assert len(latest) == 0
