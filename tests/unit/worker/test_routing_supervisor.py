"""What a worker shows of partitions that it cannot route for now."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from confluent_kafka import TopicPartition

from routing_kit import TOPIC, Routing
from trunkline import Event, Unavailable
from trunkline.admin.status import worker_statuses
from trunkline.event import Record, event_headers
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.alerts.kinds import HELD
from trunkline.streams.control.records import ROUTING
from trunkline.streams.flow.alert import Alert
from trunkline.streams.metrics import RoutingMetrics
from trunkline.streams.worker.routing_supervisor import RoutingSupervisor
from trunkline.testing.control import MemoryControl
from trunkline.testing.loop import VirtualLoop
from trunkline.times import iso


class World:
    """A supervised routing step; ``down``: what its route raises, if it does."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.down: Exception | None = None
        self.control = MemoryControl()
        self.monitor = ConditionMonitor(Alert(open="10m"), loop.clock)
        self.routing = Routing(self._route)
        self.routing.step._held._clock = loop.clock
        self.metrics = RoutingMetrics(self.routing.all_metrics, "f")
        self.supervisor = RoutingSupervisor(
            self.routing.step, self.control, self.monitor, self.metrics, loop.clock
        )

    def _route(self, event: Event[Any]) -> Any:
        if self.down is not None:
            raise self.down
        return event.data

    async def read(self, first: int = 17) -> None:
        """Two events come, of which the first has this offset."""
        headers = event_headers(Record(key="k", data={}, id="order-7"), source="s", type="t")
        messages: Any = [
            StoredMessage(TOPIC, 3, at, b"k", b"{}", headers) for at in (first, first + 1)
        ]
        self.routing.intake._in_flight.received(messages)
        batch = MicroBatch(messages, self.routing.intake.epoch, "metadata")
        await self.routing.step.process(batch)

    def rebalance(self) -> None:
        """All partitions go away, and come back."""
        self.routing.step.on_revoked([TopicPartition(TOPIC, 3)], lost=True)
        self.routing.intake._in_flight.begin_epoch()
        self.routing.step._leaving = False

    def metric(self, name: str) -> float | None:
        labels = {"flow": "f", "step": "route", "name": "f"}
        return self.routing.all_metrics.registry.get_sample_value(name, labels)


def supervised(scene: Any) -> None:
    loop = VirtualLoop(1_900_000_000.0)

    async def run() -> None:
        world = World(loop)
        world.supervisor.start()
        work: Coroutine[Any, Any, None] = scene(world)
        await work
        await world.supervisor.stop()
        assert world.supervisor.failure is None
        assert world.control.state == {}, "the worker ends, and so does what it told"
        await world.routing.step.stop()

    try:
        loop.run(run())
        assert loop.mistakes == []
    finally:
        loop.close()


def test_what_is_held_is_told_until_it_goes_on() -> None:
    async def scene(world: World) -> None:
        world.down = Unavailable("the customers' service is down")
        await world.read()
        await asyncio.sleep(3)
        assert world.control.state == {}, "what lasts a moment concerns nobody"
        await asyncio.sleep(60)
        now = asyncio.get_running_loop().time() + 1_900_000_000
        (told,) = worker_statuses(world.control.state, ROUTING, now)
        assert (told.state, told.lag) == ("holding", 2)
        (held,) = told.held
        assert (held.key, held.id, held.place) == ("k", "order-7", f"{TOPIC}/3/17")
        assert held.error == "Unavailable: the customers' service is down"
        assert held.times > 5
        assert world.metric("trunkline_held_partitions") == 1
        assert 60 < (world.metric("trunkline_held_seconds") or 0) < 70
        world.down = None
        await asyncio.sleep(10)
        assert world.control.state == {}
        assert world.metric("trunkline_held_partitions") == 0
        assert world.metric("trunkline_held_seconds") == 0

    supervised(scene)


def test_people_are_alerted_of_what_is_held_for_long() -> None:
    async def scene(world: World) -> None:
        world.down = Unavailable("down")
        await world.read()
        await asyncio.sleep(590)
        assert list(world.monitor.observations()) == []
        await asyncio.sleep(30)
        (seen,) = world.monitor.observations()
        assert (seen.kind, seen.error) == (HELD, "Unavailable: down")
        assert 600 < seen.amount < 630
        world.down = None
        await asyncio.sleep(10)
        assert list(world.monitor.observations()) == []

    supervised(scene)


def test_a_rebalance_is_no_new_beginning() -> None:
    """Pods are replaced one by one: what waits for an hour would alert nobody."""

    async def scene(world: World) -> None:
        world.down = Unavailable("down")
        for _ in range(4):
            await world.read()
            await asyncio.sleep(180)
            world.rebalance()
        await world.read()
        await asyncio.sleep(2)
        (seen,) = world.monitor.observations()
        assert 720 < seen.amount < 730
        assert (world.metric("trunkline_held_seconds") or 0) > 720
        world.down = None
        await asyncio.sleep(10)
        world.down = Unavailable("down")
        await world.read(19)
        await asyncio.sleep(30)
        assert list(world.monitor.observations()) == [], "another event is held, and newly"

    supervised(scene)


def test_what_another_worker_has_held_since_is_taken_over() -> None:
    async def scene(world: World) -> None:
        since = iso(time() - 700)
        told = [{"place": f"{TOPIC}/3/17", "since": since}, {"place": "odd"}, "odd"]
        await world.control.put("status/(routing)/host-1", {"state": "holding", "held": told})
        await asyncio.sleep(1)
        await world.control.put("status/(routing)/host-1", None)
        world.down = Unavailable("down")
        await world.read()
        await asyncio.sleep(2)
        (seen,) = world.monitor.observations()
        assert 700 < seen.amount < 710

    def time() -> float:
        return asyncio.get_running_loop().time() + 1_900_000_000.0

    supervised(scene)


def test_partitions_that_went_away_are_nobodys_trouble_here() -> None:
    async def scene(world: World) -> None:
        world.down = Unavailable("down")
        await world.read()
        await asyncio.sleep(10)
        world.routing.step.on_revoked([TopicPartition(TOPIC, 3)], lost=True)
        world.routing.intake._in_flight.begin_epoch()
        await asyncio.sleep(10)
        assert world.control.state == {}
        assert world.metric("trunkline_held_partitions") == 0

    supervised(scene)
