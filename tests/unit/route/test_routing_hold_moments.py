"""Held partitions in the routing step: moments that seldom come together, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from routing_kit import TOPIC, Routing
from trunkline import Event, Unavailable
from trunkline.errors import RegistryUnavailable
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.route import step as routing_step
from trunkline.testing.loop import VirtualLoop


class Scene:
    """A step with one partition's events in hand, of which the route fails for these offsets."""

    def __init__(self, *failing: int) -> None:
        self.failing = set(failing)
        self.routing = Routing(self._route)
        self.step, self.intake = self.routing.step, self.routing.intake

    def _route(self, event: Event[Any]) -> Any:
        if event.offset in self.failing:
            raise Unavailable("down")
        return event.data

    def batch(self, *offsets: int) -> MicroBatch:
        messages: Any = [StoredMessage(TOPIC, 0, at, b"%d" % at, b"{}") for at in offsets]
        self.intake._in_flight.received(messages)
        return MicroBatch(messages, self.intake.epoch, "metadata")

    @property
    def routed(self) -> list[int]:
        kept = [keys for producer in self.routing.producers for keys, _ in producer.committed]
        return [int(key) for keys in kept for key in keys]


def played(scene: Callable[[Scene], Coroutine[Any, Any, None]], *failing: int) -> None:
    async def run() -> None:
        made = Scene(*failing)
        await scene(made)
        await made.step.stop()

    loop = VirtualLoop()
    try:
        loop.run(run())
        assert loop.mistakes == []
    finally:
        loop.close()


def test_what_is_in_the_queue_when_partitions_go_away_is_not_routed_before_what_is_held() -> None:
    """The task that tries again ends then; what it would have routed stays before the others."""

    async def scene(made: Scene) -> None:
        behind = made.batch(2, 3)
        await made.step.process(made.batch(0, 1))
        made.step.on_revoked([], lost=True)
        await asyncio.sleep(10)
        made.failing.clear()
        await made.step.process(behind)
        assert made.routed == [0]

    played(scene, 1)


def test_a_partition_that_went_away_leaves_nothing_in_memory() -> None:
    """Also where no batch comes any more, as all partitions are other workers' now."""

    async def scene(made: Scene) -> None:
        await made.step.process(made.batch(*range(9)))
        (held,) = made.step.held
        assert len(held.messages) == 9
        made.step.on_revoked([], lost=False)
        behind = made.batch(9, 10)
        made.intake._in_flight.begin_epoch()
        await asyncio.sleep(routing_step.LONGEST_PAUSE + 1)
        await made.step.process(behind)
        assert held.messages == []
        assert made.routed == []

    played(scene, 0)


def test_a_batch_that_waited_while_another_transaction_failed_is_read_again() -> None:
    async def scene(made: Scene) -> None:
        batch = made.batch(0, 1)
        await made.routing.transactions.lock.acquire()
        waiting = asyncio.create_task(made.step.process(batch))
        await asyncio.sleep(1)
        made.intake.rewind()
        made.routing.transactions.lock.release()
        await waiting
        assert made.routed == []

    played(scene)


def test_what_was_left_for_want_of_time_waits_with_what_is_held_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the task that tries again could route the last one first."""
    monkeypatch.setattr(routing_step, "CHUNK_SECONDS", -1.0)

    async def scene(made: Scene) -> None:
        async def ask(values: Any, patience: float) -> Any:
            return {b"new": RegistryUnavailable("away")} if b"new" in set(values) else {}

        made.step._router._ask_for_schemas = ask
        made.step._each_chunk = True
        batch = made.batch(0, 1, 2)
        new: Any = StoredMessage(TOPIC, 0, 3, b"3", b"new")
        other: Any = StoredMessage(TOPIC, 1, 0, b"10", b"{}")
        batch.messages += [new, other]
        left = await made.step._route_part(batch)
        assert [message.key() for message in left.messages] == [b"10"]
        (held,) = made.step.held
        assert [message.offset() for message in held.messages] == [1, 2, 3]

    played(scene)


def test_what_is_held_again_further_on_waits_there() -> None:
    async def scene(made: Scene) -> None:
        await made.step.process(made.batch(0, 1, 2, 3))
        await asyncio.sleep(20)
        made.failing.discard(1)
        await asyncio.sleep(10)
        assert made.routed == [0, 1, 2]
        made.failing.clear()
        await made.step.process(made.batch(4))
        await asyncio.sleep(6)
        assert made.routed == [0, 1, 2, 3, 4]

    played(scene, 1, 3)


def test_what_comes_behind_while_its_turn_is_waited_for_is_not_read_without_its_schema() -> None:
    """Reading it would ask the registry in the event loop, which waits then for all it does."""

    async def scene(made: Scene) -> None:
        known = False

        async def ask(values: Any, patience: float) -> Any:
            is_new = b'{"new": 1}' in set(values)
            return {b'{"new': RegistryUnavailable("away")} if is_new and not known else {}

        made.step._router._ask_for_schemas = ask
        await made.step.process(made.batch(0, 1))
        behind = made.batch(2)
        new: Any = StoredMessage(TOPIC, 0, 3, b"3", b'{"new": 1}')
        behind.messages.append(new)
        await made.routing.transactions.lock.acquire()
        first = asyncio.create_task(made.step.process(behind))
        made.failing.clear()
        await asyncio.sleep(1)  # the task that tries again is the second to wait for the lock
        made.routing.transactions.lock.release()
        await first
        await asyncio.sleep(1)
        assert made.routed == [0, 1, 2]
        (held,) = made.step.held
        assert [message.offset() for message in held.messages] == [3]
        known = True
        await asyncio.sleep(6)
        assert made.routed == [0, 1, 2, 3]

    played(scene, 1)
