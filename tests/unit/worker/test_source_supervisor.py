"""What a worker tells of a source, and what it obeys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Any, cast

import pytest

from trunkline.connectors.base import SnapshotRequest
from trunkline.streams.control.records import SourceKey
from trunkline.streams.publish.source_lag import SourceStatus
from trunkline.streams.publish.source_step import SourceStep
from trunkline.streams.worker import source_supervisor
from trunkline.streams.worker.source_supervisor import SourceSupervisor
from trunkline.testing.control import MemoryControl


class Step(SourceStep):
    """What the supervisor knows of a step: how it is, and what it was told."""

    def __init__(self) -> None:
        self.name = "db"
        self.now: SourceStatus | None = None
        self.told: list[Any] = []
        self.takes_snapshots = True
        self.snapshots: dict[str, Any] = {}
        self.read_records = 0

    @property
    def status(self) -> SourceStatus | None:
        return self.now

    def pause(self, until: float) -> None:
        self.told.append(until)

    def allow(self) -> None:
        self.told.append("allow")

    def request_snapshots(self, requests: Sequence[SnapshotRequest]) -> None:
        self.told.append([(one.id, one.stream, one.where, one.state) for one in requests])

    def restart(self) -> None:
        self.told.append("restart")


class World:
    """A supervised step, and the control topic. ``now``: epoch seconds."""

    def __init__(self) -> None:
        self.step, self.control, self.now = Step(), MemoryControl(), 1000.0
        self.supervisor = SourceSupervisor(self.step, self.control, "w1", clock=lambda: self.now)

    @property
    def status(self) -> Mapping[str, Any]:
        return self.control.state.get(SourceKey("db", "status").text, {})

    async def put(self, what: str, value: Mapping[str, Any] | None) -> None:
        await self.control.put(SourceKey("db", what).text, value)
        await turns()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(test: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World()
        world.supervisor.start()
        await turns()
        await test(world)
        await world.supervisor.stop()
        await turns()

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_supervisor, "TICK", 0)


def test_a_worker_that_does_not_have_it_tells_nothing() -> None:
    async def test(world: World) -> None:
        assert world.status == {}

    run(test)


def test_each_change_is_told_and_a_lasting_state_every_30_seconds() -> None:
    async def test(world: World) -> None:
        world.step.now = SourceStatus("running", "", 990.0)
        await turns()
        assert (world.status["state"], world.status["worker"]) == ("running", "w1")
        assert world.status["late_since"] == "1970-01-01T00:16:30.000+00:00"
        first = dict(world.status)
        world.now += 29
        await turns()
        assert world.status == first
        world.now += 1
        await turns()
        assert (world.status["since"], world.status["at"]) == (first["since"], iso(1030))
        world.step.now = SourceStatus("failing", "SourceError: away", 990.0)
        await turns()
        assert world.status["error"] == "SourceError: away"
        assert world.status["since"] == iso(1030)

    run(test)


def iso(at: float) -> str:
    return source_supervisor.iso(at)


def test_the_record_goes_with_the_worker_unless_another_has_taken_over() -> None:
    async def ends(world: World) -> None:
        world.step.now = SourceStatus("running")
        await turns()
        await world.supervisor.stop()
        await turns()
        assert world.status == {}

    run(ends)

    async def handed_on(world: World) -> None:
        world.step.now = SourceStatus("running")
        await turns()
        world.step.now = None
        await turns()
        await world.put("status", {"worker": "w2", "state": "running"})
        await world.supervisor.stop()
        await turns()
        assert world.status["worker"] == "w2"

    run(handed_on)


def test_what_stopped_it_stays_to_be_read() -> None:
    async def test(world: World) -> None:
        world.step.now = SourceStatus("stopped", "slot db is lost")
        await world.supervisor.stop()
        await turns()
        assert (world.status["state"], world.status["error"]) == ("stopped", "slot db is lost")

    run(test)


def test_commands_are_obeyed_and_those_of_another_are_not() -> None:
    async def test(world: World) -> None:
        await world.put("command", {"state": "paused", "by": "ada"})
        await world.put("command", {"state": "auto", "by": "ada"})
        await world.put("reset", {"by": "ada"})
        await world.put("command", None)
        await world.control.put("source/db2/command", {"state": "paused"})
        await turns()
        assert world.step.told == [inf, -inf, "allow", "restart", -inf, "allow"]

    run(test)


def test_a_step_that_its_system_calls_is_told_too() -> None:
    async def test(world: World) -> None:
        world.step.now = SourceStatus("listening")
        await turns()
        assert world.status["state"] == "listening"

    run(cast(Callable[[World], Awaitable[None]], test))


def test_snapshots_are_handed_on_and_taken_away_once_they_are_done() -> None:
    async def test(world: World) -> None:
        await world.put("snapshot/a", {"state": "running", "table": "orders", "where": "n > 1"})
        await world.put("snapshot/b", {"state": "paused", "table": "items"})
        await world.put("snapshot/c", {"state": "nonsense", "table": "items"})
        a, b = ("a", "orders", "n > 1", "running"), ("b", "items", "", "paused")
        assert world.step.told == [[a], [a, b], [a, b]]
        world.step.now = SourceStatus("running")
        world.step.snapshots = {"a": {"rows": 7, "done": True}}
        await turns()
        assert "source/db/snapshot/a" not in world.control.state
        assert world.step.told[-1] == [b]

    run(test)


def test_a_snapshot_that_failed_says_why_and_one_that_is_stopped_goes_once_it_is_over() -> None:
    async def test(world: World) -> None:
        world.step.now = SourceStatus("running")
        world.step.snapshots = {"a": {"done": True, "error": "no such table"}, "b": {"rows": 1}}
        await world.put("snapshot/a", {"state": "running", "table": "x", "by": "ada"})
        await world.put("snapshot/b", {"state": "stopped", "table": "x"})
        await turns()
        failed = world.control.state["source/db/snapshot/a"]
        assert (failed["state"], failed["error"], failed["by"]) == (
            "failed",
            "no such table",
            "ada",
        )
        assert "source/db/snapshot/b" in world.control.state, "the source has not heard it yet"
        world.step.snapshots = {}
        await turns()
        assert "source/db/snapshot/b" not in world.control.state

    run(test)


def test_a_source_that_takes_none_says_so() -> None:
    async def test(world: World) -> None:
        world.step.now, world.step.takes_snapshots = SourceStatus("running"), False
        await world.put("snapshot/a", {"state": "running", "table": "x"})
        await turns()
        error = world.control.state["source/db/snapshot/a"]["error"]
        assert error == "this kind of source reads no snapshots on demand"

    run(test)
