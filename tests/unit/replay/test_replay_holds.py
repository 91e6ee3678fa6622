"""Replays and re-drives of what cannot be routed for now: live events wait for none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any

import pytest

from replay_world import DLQ, INBOX, PARTITION, TOPIC, World
from trunkline import Event, Unavailable
from trunkline.errors import RegistryUnavailable
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.dlq.handled import owner_of
from trunkline.streams.replay import job as job_module
from trunkline.streams.replay.job import PartitionJob
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.redrive_job import RedriveJob
from trunkline.streams.replay.replay_job import ReplayJob
from trunkline.streams.replay.request import Request
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router

Make = Callable[[World, DestinationPath], PartitionJob]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "backoff", lambda first, longest: repeat(0.0))


@pytest.fixture
def world() -> World:
    """Two events that were routed, of which the second one died in its route."""
    world = World(lambda: 0)
    for key in (b"a", b"b"):
        world.publish(key)
        world.route()
    world.inbox.clear()
    told = {"tl_stage": "route", "tl_dead_from": f"{TOPIC}/0/1", "tl_error_class": "Rejected"}
    event = world.logs[TOPIC][1]
    headers = (*event.headers(), *((name, text.encode()) for name, text in told.items()))
    world.logs[DLQ].append(StoredMessage(DLQ, 0, 0, event.key(), event.value(), headers))
    return world


def replay(world: World, path: DestinationPath) -> PartitionJob:
    ranges = {PARTITION: range(2)}
    request = Request(id="r", kind="replay", destination="erp", ranges=ranges, mode="state")
    return ReplayJob(request, PARTITION, world.context, RateLimit(lambda: None), path)


def redrive(world: World, path: DestinationPath) -> PartitionJob:
    request = Request(id="r", kind="redrive", destination="erp", ranges={(DLQ, 0): range(1)})
    owner = partial(owner_of, topics=[TOPIC])
    limit = RateLimit(lambda: None)
    return RedriveJob(request, PARTITION, world.context, limit, path, owner_of=owner)


def path_through(world: World, function: Callable[[Event[Any]], Any]) -> DestinationPath:
    route = CompiledRoute.of(function, name="r", inbox=INBOX, dlq=DLQ, encode=bytes)
    topics = {TOPIC: CompiledTopic(bytes, [route])}
    return replace(world.path, topics=topics, router=Router(topics))


@pytest.mark.parametrize("make", [replay, redrive])
@pytest.mark.parametrize("failures", [0, 4])
def test_live_events_go_on_while_a_route_is_asked(make: Make, world: World, failures: int) -> None:
    """Whatever it takes, and however often: the lock is held for what is made already."""
    locked: list[bool] = []

    def down(event: Event[Any]) -> Any:
        locked.append(world.lock.locked())
        if len(locked) <= failures:
            raise Unavailable("down")
        return event.data

    path = path_through(world, down)
    asyncio.run(world.finish(lambda: make(world, path)))
    assert locked == [False] * (failures + len(world.inbox))
    sent = [one.offset for one in world.inbox]
    assert sent == ([0, 1] if make is replay else [1])


@pytest.mark.parametrize("make", [replay, redrive])
def test_what_live_events_supersede_while_a_route_is_asked_is_not_sent(
    make: Make, world: World
) -> None:
    asked: list[tuple[bytes | None, bool]] = []

    def slow(event: Event[Any]) -> Any:
        asked.append((event.key.encode(), world.lock.locked()))
        for key in busy.pop(0) if busy else ():
            world.publish(key)
            world.route()
        return event.data

    busy: list[list[bytes]] = [[b"b"]]
    path = path_through(world, slow)
    asyncio.run(world.finish(lambda: make(world, path)))
    sent = [one.key for one in world.inbox if one.origin != "original"]
    assert sent == ([b"a"] if make is replay else [])
    assert not any(locked for _, locked in asked)


def test_a_chunk_of_busy_keys_is_made_at_last_while_live_events_wait(world: World) -> None:
    """Outside of the lock each try finds another event superseded, for as long as they come."""
    asked: list[bool] = []

    def busy(event: Event[Any]) -> Any:
        asked.append(world.lock.locked())
        if not world.lock.locked() and event.key == "b" and left:
            world.publish(left.pop())
            world.route()
        return event.data

    left = [b"f", b"e", b"d", b"c"]
    for key in left:
        world.publish(key)
        world.route()
    world.inbox.clear()
    path = path_through(world, busy)
    request = Request(
        id="r", kind="replay", destination="erp", ranges={PARTITION: range(6)}, mode="state"
    )
    job = ReplayJob(request, PARTITION, world.context, RateLimit(lambda: None), path)
    asyncio.run(world.finish(lambda: job))
    assert [one.key for one in world.inbox if one.origin == "replay"] == [b"a", b"b", b"f"]
    assert asked[-1], "the last time under the lock"
    assert len(left) == 1, "the others were superseded in three tries"


@pytest.mark.parametrize("make", [replay, redrive])
def test_a_schema_is_asked_for_while_live_events_go_on(make: Make, world: World) -> None:
    locked: list[bool] = []

    async def prefetch(values: Iterable[bytes | None]) -> None:
        if b"{}" in set(values):
            locked.append(world.lock.locked())
            if len(locked) < 4:
                raise RegistryUnavailable("away")

    path = replace(path_through(world, lambda event: event.data), prefetch_schemas=prefetch)
    asyncio.run(world.finish(lambda: make(world, path)))
    assert locked == [False] * 4
    assert world.inbox[-1].offset == 1
