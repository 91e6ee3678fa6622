"""Replay in mode state: whatever is routed and whoever dies in between, the destination never goes
back to an older state, and gets the newest of every key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from replay_world import PARTITION, World
from trunkline.streams.replay import rate_limit
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.replay_job import ReplayJob
from trunkline.streams.replay.request import Request

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
KINDS = st.sampled_from(["paid", "seen"])
EVENTS = st.lists(st.tuples(KEYS, KINDS), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    st.data(),
    EVENTS,
    EVENTS,
    st.sampled_from([(), ("paid",)]),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_the_destination_never_ends_on_an_older_state(
    data: st.DataObject,
    past: list[tuple[bytes, str]],
    coming: list[tuple[bytes, str]],
    only: tuple[str, ...],
    window: int,
    chunk: int,
) -> None:
    world = World(happening(data), only=only, coming=list(coming))
    for key, kind in past:
        world.publish(key, kind)
        world.route()
    start, until = sorted(data.draw(st.tuples(*[st.integers(0, len(past))] * 2)))
    request = Request(
        id="r",
        kind="replay",
        destination="erp",
        ranges={PARTITION: range(start, until)},
        mode="state",
    )
    before = len(world.inbox)
    with patch.object(rate_limit, "MAX_CHUNK", chunk):
        asyncio.run(
            world.finish(
                lambda: ReplayJob(
                    request,
                    PARTITION,
                    world.context,
                    RateLimit(lambda: None),
                    world.path,
                    max_keys=window,
                )
            )
        )
    assert_never_back(world)
    assert_complete(world, before, start, until)
    assert_counted(world, request, only)
    for sent in world.inbox:
        assert start <= sent.offset < until or sent.origin == "original"


def happening(data: st.DataObject) -> Callable[[], int]:
    """Anything at any point, but at most four kills: it must come to an end."""
    kills = 4

    def draw() -> int:
        nonlocal kills
        count = data.draw(st.sampled_from([0, 0, 0, 0, 1, 2, -1] if kills else [0, 1, 2]))
        kills -= count < 0
        return count

    return draw


def assert_never_back(world: World) -> None:
    """Each replayed event is the newest that its key has, where it stands in the inbox."""
    newest: dict[bytes, int] = {}
    for sent in world.inbox:
        if sent.origin == "original":
            newest[sent.key] = sent.offset
        else:
            assert sent.offset == newest[sent.key], f"{sent} came after a newer one"


def assert_complete(world: World, before: int, start: int, until: int) -> None:
    """The newest of each key is replayed if it is in the set, or was routed anew."""
    for key in {sent.key for sent in world.inbox}:
        at = world.newest(key)
        anew = [sent for sent in world.inbox[before:] if sent.key == key]
        if start <= at < until:
            assert (at, "replay") in [(sent.offset, sent.origin) for sent in anew]


def assert_counted(world: World, request: Request, only: tuple[str, ...]) -> None:
    """Each event of the set is counted once, however often somebody began anew."""
    start, until = request.ranges[PARTITION].start, request.ranges[PARTITION].stop
    kinds = [dict(record.headers())["ce_type"].decode() for record in world.logs["orders"]]
    concerned = sum(not only or kind in only for kind in kinds[start:until])
    assert world.job is not None
    counts = world.job.progress.counts
    assert counts.get("sent", 0) == sum(sent.origin == "replay" for sent in world.inbox)
    assert counts.get("sent", 0) + counts.get("superseded", 0) == concerned
