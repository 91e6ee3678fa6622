"""Which jobs a worker has: for the requests that run and the partitions that are its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from replay_world import PARTITION, TOPIC, World
from trunkline.kafka import KafkaUnavailable
from trunkline.streams.replay import scheduler
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.replay.step import ReplayStep
from trunkline.testing.control import MemoryControl

OTHER = (TOPIC, 1)


class Backed(World):
    """A world whose control records come back through a control topic.

    ``fails``: transactions that fail before one succeeds.
    """

    fails = 0

    async def write(self, records: Any, at: Any, epoch: int) -> None:
        if self.fails:
            self.fails -= 1
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        assert epoch == self.epoch
        await super().write(records, at, epoch)
        for key, value in self.durable.items():
            await self.control.put(key, value)


class Worker:
    """A worker's replays over a world of five events of two keys."""

    def __init__(
        self, path_to: Callable[[World], DestinationPath] = lambda world: world.path
    ) -> None:
        self.world = world = Backed(lambda: 0)
        self.control = world.control = MemoryControl()
        for key in (b"a", b"b", b"a", b"b", b"a"):
            world.publish(key)
            world.route()
        self.away = 0
        self.step = ReplayStep(
            world.context,
            self.control,
            [TOPIC],
            count_partitions=self.count_partitions,
            path_to=lambda name: {"erp": path_to(world)}[name],
        )

    def count_partitions(self) -> Mapping[str, int]:
        """Kafka's answer, once it is not ``away`` any more."""
        if self.away:
            self.away -= 1
            raise KafkaUnavailable("away")
        return {TOPIC: 1}

    async def ask(self, **more: Any) -> None:
        """A replay ``r`` of partition 0."""
        value = {
            "kind": "replay",
            "destination": "erp",
            "ranges": {"orders/0": [0, 5]},
            "state": "running",
            **more,
        }
        self.world.durable["replay/r"] = value
        await self.control.put("replay/r", value)

    @property
    def request(self) -> Mapping[str, Any]:
        return self.control.state.get("replay/r", {})

    @property
    def replayed(self) -> list[int]:
        return [sent.offset for sent in self.world.inbox if sent.origin == "replay"]

    async def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 5
        while not true():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)

    async def soon(self) -> None:
        """Long enough for a job, had it begun."""
        await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "COOL_DOWN", 0.001)


def run(worker: Worker, scene: Callable[[Worker], Any], *owned: tuple[str, int]) -> None:
    async def whole() -> None:
        worker.step.on_assigned(frozenset(owned or [PARTITION]))
        await worker.step.start()
        try:
            await scene(worker)
        finally:
            await worker.step.stop()
        assert worker.step.failure is None

    asyncio.run(whole())


def test_a_request_is_done_and_concluded() -> None:
    async def scene(worker: Worker) -> None:
        await worker.ask()
        await worker.until(lambda: worker.request.get("state") == "done")
        assert worker.replayed == [3, 4]
        assert worker.request["counts"] == {"sent": 2, "superseded": 3}

    run(Worker(), scene)


def test_a_partition_of_another_worker_is_left_alone() -> None:
    async def scene(worker: Worker) -> None:
        await worker.ask()
        await worker.soon()
        assert worker.replayed == []
        worker.step.on_assigned(frozenset([PARTITION]))
        await worker.until(lambda: worker.request.get("state") == "done")

    run(Worker(), scene, OTHER)


def test_it_is_not_over_before_every_partition_is_done() -> None:
    async def scene(worker: Worker) -> None:
        await worker.ask(ranges={"orders/0": [0, 5], "orders/1": [0, 9]})
        await worker.until(lambda: worker.replayed == [3, 4])
        await worker.soon()
        assert worker.request["state"] == "running"
        there = {"next": 9, "counts": {"sent": 7}, "done": True}
        worker.world.durable["replay/r/orders/1"] = there
        await worker.control.put("replay/r/orders/1", there)
        await worker.until(lambda: worker.request.get("state") == "done")
        assert worker.request["counts"] == {"sent": 9, "superseded": 3}

    run(Worker(), scene)


@pytest.mark.parametrize("state", ["paused", "cancelled", "refused", "done"])
def test_only_what_runs_is_done(state: str) -> None:
    async def scene(worker: Worker) -> None:
        await worker.ask(state=state)
        await worker.soon()
        assert (worker.replayed, worker.request["state"]) == ([], state)

    run(Worker(), scene)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"mode": "events"}, "appends=True"),
        ({"destination": "crm"}, "no destination 'crm'"),
        ({"ranges": {"refunds/0": [0, 5]}}, "no route leads from refunds to erp"),
        ({"where": "total >"}, "character"),
    ],
)
def test_what_must_not_be_is_refused_with_the_reason(more: dict[str, Any], says: str) -> None:
    async def scene(worker: Worker) -> None:
        await worker.ask(**more)
        await worker.until(lambda: worker.request.get("state") == "refused")
        assert says in worker.request["reason"]
        assert worker.replayed == []

    run(Worker(), scene, PARTITION, ("refunds", 0))


def test_a_transaction_that_failed_is_repeated_from_what_is_durable() -> None:
    async def scene(worker: Worker) -> None:
        worker.world.fails = 3
        await worker.ask()
        await worker.until(lambda: worker.request.get("state") == "done")
        assert worker.replayed == [3, 4]

    run(Worker(), scene)


def test_a_new_assignment_begins_anew_where_the_old_one_came_to() -> None:
    async def scene(worker: Worker) -> None:
        await worker.ask(rate=1.0)
        await worker.until(lambda: worker.replayed)
        worker.world.epoch += 1
        worker.step.on_assigned(frozenset([PARTITION]))
        await worker.soon()
        worker.world.durable["replay/r"] = {**worker.request, "rate": None}
        await worker.ask(rate=None)
        await worker.until(lambda: worker.request.get("state") == "done")
        assert worker.replayed == [3, 4]

    run(Worker(), scene)


def test_a_record_that_is_no_request_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(worker: Worker) -> None:
        await worker.control.put("replay/x", {"kind": "dance"})
        await worker.ask()
        await worker.until(lambda: worker.request.get("state") == "done")

    run(Worker(), scene)
    assert "'replay/x' is ignored" in caplog.text


def test_a_request_about_dead_letters_waits_for_kafka_to_count_partitions() -> None:
    async def scene(worker: Worker) -> None:
        worker.away = 2
        await worker.ask(kind="discard", ranges={"f.erp.dlq/0": [0, 0]})
        await worker.until(lambda: worker.request.get("state") == "done")
        assert worker.away == 0

    run(Worker(), scene)
