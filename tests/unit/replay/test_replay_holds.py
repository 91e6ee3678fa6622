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
def test_a_route_that_cannot_tell_is_asked_again_while_live_events_go_on(
    make: Make, world: World
) -> None:
    locked: list[bool] = []

    def down(event: Event[Any]) -> Any:
        locked.append(world.lock.locked())
        if len(locked) < 5:
            raise Unavailable("down")
        return event.data

    path = path_through(world, down)
    asyncio.run(world.finish(lambda: make(world, path)))
    assert locked[:5] == [True, False, False, False, False]
    assert locked[-1], "what is written is made under the lock"
    sent = [one.offset for one in world.inbox]
    assert sent == ([0, 1] if make is replay else [1])


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
