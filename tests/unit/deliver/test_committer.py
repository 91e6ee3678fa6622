"""Offsets and records of one destination: written together, again after a failure, or by nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from delivery_parts import INBOX, Parts, event
from trunkline.kafka import PartitionRecord
from trunkline.streams.deliver.committer import GATHER, INTERVAL, MAX_EVENTS, PORTION
from trunkline.testing import VirtualLoop

RETRY = PartitionRecord(f"{INBOX}.retry.10s", 0, b"a", b"{}", [], 0)


def run(scene: Callable[[Parts], Awaitable[None]]) -> Parts:
    """A committer of its own, in virtual time."""
    made: list[Parts] = []

    async def play() -> None:
        parts = Parts()
        made.append(parts)
        await scene(parts)

    loop = VirtualLoop()
    try:
        loop.run_until_complete(play())
    finally:
        loop.close()
    assert made[0].heard.fatal == []
    return made[0]


def test_a_record_and_the_offset_of_its_event_are_one_commit() -> None:
    async def scene(parts: Parts) -> None:
        parts.read(0, 1)
        parts.committer.complete([event(0)], RETRY)
        await parts.committer.commit()
        await parts.committer.commit()  # nothing has changed

    assert run(scene).broker.commits == [([RETRY], {INBOX: 1})]


def test_what_kafka_did_not_take_is_part_of_the_next_commit_in_order() -> None:
    later = RETRY._replace(key=b"b")

    async def scene(parts: Parts) -> None:
        parts.read(0, 1)
        parts.broker.refuses = 1
        parts.committer.complete([event(0)], RETRY)
        await parts.committer.commit()
        assert parts.heard.committed == [], "nothing tells that the partitions are ours"
        parts.committer.complete([event(1)], later)
        await parts.committer.commit()

    parts = run(scene)
    assert parts.broker.commits == [([RETRY, later], {INBOX: 2})]
    assert len(parts.heard.committed) == 1
    assert parts.metric("trunkline_transaction_failures_total") == 1


def test_a_commit_that_failed_while_the_partitions_went_is_nobody_s() -> None:
    async def scene(parts: Parts) -> None:
        parts.read(0)
        parts.committer.complete([event(0)], RETRY)
        await parts.committer.leave(lost=True)
        parts.committer.complete([event(0)], RETRY)
        parts.committer.add(event(0), RETRY)
        await parts.committer.commit()

    assert run(scene).broker.commits == []


def test_who_leaves_in_time_commits_what_is_completed() -> None:
    async def scene(parts: Parts) -> None:
        parts.read(0, 1)
        parts.committer.complete([event(0)], RETRY)
        await parts.committer.leave(lost=False)

    parts = run(scene)
    assert parts.broker.commits == [([RETRY], {INBOX: 1})]
    assert not parts.tracker.owns(event(1))


def test_what_waits_for_a_commit_is_called_when_kafka_took_it() -> None:
    called: list[str] = []

    async def scene(parts: Parts) -> None:
        parts.read(0, 1)
        parts.committer.once_committed(event(0), lambda: called.append("0"))
        parts.committer.once_committed(event(1), lambda: called.append("1"))
        parts.broker.refuses = 1
        parts.committer.complete([event(0)])
        await parts.committer.commit()
        assert called == []
        await parts.committer.commit()
        assert called == ["0"], "event 1 is not completed"
        await parts.committer.leave(lost=False)

    run(scene)
    assert called == ["0"]


def test_commits_come_by_themselves_and_at_once_where_much_is_completed() -> None:
    times: list[float] = []

    async def scene(parts: Parts) -> None:
        loop = asyncio.get_running_loop()
        parts.committer.start()
        parts.read(*range(MAX_EVENTS + 1))
        parts.committer.complete([event(0)])
        await asyncio.sleep(INTERVAL * 2)
        began = loop.time()
        parts.committer.complete([event(offset) for offset in range(1, MAX_EVENTS + 1)])
        await asyncio.sleep(INTERVAL / 100)
        times.extend([parts.heard.committed[0], parts.heard.committed[1] - began])
        await parts.committer.stop()

    parts = run(scene)
    assert [offsets for _, offsets in parts.broker.commits] == [{INBOX: 1}, {INBOX: MAX_EVENTS + 1}]
    assert times == [INTERVAL, 0.0]


def test_who_is_told_how_far_it_is_is_told_in_portions() -> None:
    async def scene(parts: Parts) -> None:
        told: list[Any] = []
        parts.heard.on_completed = told.append  # type: ignore[method-assign]  # in this test only
        parts.read(*range(PORTION + 1))
        for offset in range(PORTION + 1):
            parts.committer.complete([event(offset)])
        assert told == [PORTION]
        await parts.committer.commit()
        assert told == [PORTION, 1]

    run(scene)


def test_what_somebody_waits_for_is_committed_at_once() -> None:
    """A call of an operation: its caller holds a connection."""
    told = RETRY._replace(topic="sales.erp.calls")

    async def scene(parts: Parts) -> None:
        parts.read(0, 1)
        parts.committer.start()
        loop = asyncio.get_running_loop()
        began = loop.time()
        parts.committer.complete([event(0)], told)
        await asyncio.sleep(INTERVAL / 4)
        assert parts.broker.commits == [([told], {INBOX: 1})]
        parts.committer.complete([event(1)], RETRY)
        await asyncio.sleep(INTERVAL / 4)
        assert len(parts.broker.commits) == 1, "others wait for more"
        assert loop.time() < began + INTERVAL
        await parts.committer.stop()

    run(scene)


def test_answers_of_calls_side_by_side_are_one_commit() -> None:
    """As long as others are under way an answer waits a moment for theirs; the last one does not,
    and nobody waits longer than that moment."""
    told = [RETRY._replace(topic="sales.erp.calls", key=b"%d" % n) for n in range(4)]
    times: list[float] = []

    async def scene(parts: Parts) -> None:
        under_way = 3
        parts.committer.is_idle = lambda: under_way == 0
        parts.read(0, 1, 2, 3)
        parts.committer.start()
        began = asyncio.get_running_loop().time()
        for offset in range(2):
            under_way -= 1
            parts.committer.complete([event(offset)], told[offset])
            await asyncio.sleep(GATHER / 4)
        assert parts.broker.commits == []
        under_way -= 1
        parts.committer.complete([event(2)], told[2])
        await asyncio.sleep(GATHER / 8)
        assert parts.broker.commits == [(told[:3], {INBOX: 3})]
        under_way = 1  # and takes long
        parts.committer.complete([event(3)], told[3])
        await asyncio.sleep(INTERVAL / 4)
        times.extend(at - began for at in parts.heard.committed)
        await parts.committer.stop()

    parts = run(scene)
    assert parts.broker.commits[1:] == [([told[3]], {INBOX: 4})]
    assert [round(at / GATHER, 3) for at in times] == [0.5, 1.625]
