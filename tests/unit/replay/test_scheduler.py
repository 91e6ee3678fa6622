"""Jobs are begun when they are wanted, ended when they are not, and begun anew after a failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from replay_world import PARTITION, World
from trunkline.kafka import KafkaUnavailable
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.replay import scheduler as scheduling
from trunkline.streams.replay.factory import JobFactory, RequestRefused
from trunkline.streams.replay.job import Job, JobEnded, PartitionJob
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.registry import ReplayRegistry
from trunkline.streams.replay.request import PartitionProgress, Request
from trunkline.streams.replay.scheduler import JobScheduler
from trunkline.streams.replay.slots import MAX_LENT, MAX_RUNNING, JobSlots
from trunkline.testing.control import MemoryControl

KEY = ReplayKey("r", PARTITION)


class Waiting(PartitionJob):
    """A job that runs until it is told to be done, to fail, or to stop."""

    def __init__(self, scene: Scene, request: Request, partition: Partition) -> None:
        super().__init__(request, partition, scene.world.context, RateLimit(lambda: None))
        self._scene = scene
        self._end = asyncio.Event()
        self._failure: BaseException | None = None
        self.seen: list[int] = []

    def done(self, failure: BaseException | None = None) -> None:
        self._failure = failure
        self._end.set()

    def stop(self) -> None:
        super().stop()
        self.done(JobEnded())

    def on_routed(self, message: Any) -> None:
        super().on_routed(message)
        self.seen.append(message.offset())

    async def run(self) -> None:
        self._scene.running.append(self)
        try:
            await self._end.wait()
        finally:
            self._scene.running.remove(self)
        if self._failure is not None:
            raise self._failure
        self.progress = PartitionProgress(5, {}, done=True)


class Scene:
    """A scheduler, and the jobs that it runs now. ``made``: how many it had made so far."""

    def __init__(self) -> None:
        self.world = World(lambda: 0)
        self.registry = ReplayRegistry([PARTITION[0]])
        self.registry.owned = frozenset((PARTITION[0], n) for n in range(9))
        self.control = MemoryControl()
        self.slots = JobSlots()
        self.changed = asyncio.Event()
        self.failures: list[BaseException] = []
        self.running: list[Waiting] = []
        self.made = 0
        self.refusal = ""
        factory = cast(JobFactory, self)
        self.scheduler = JobScheduler(
            factory, self.registry, self.control, self.slots, self.changed, self.failures.append
        )

    async def create(self, key: ReplayKey, request: Request) -> Job:
        self.made += 1
        await asyncio.sleep(0)
        if self.refusal:
            raise RequestRefused(self.refusal)
        return Waiting(self, request, key.partition or PARTITION)

    def want(self, *keys: ReplayKey, kind: Any = "replay") -> None:
        requests = {
            key: Request(id=key.id, kind=kind, destination="erp", ranges={PARTITION: range(5)})
            for key in keys
        }
        self.scheduler.reconcile(requests, self.world.epoch)

    async def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 5
        while not true():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)

    async def soon(self) -> None:
        """Long enough for whatever could begin."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def no_cool_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "COOL_DOWN", 0.0)


def play(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> Scene:
    async def whole() -> Scene:
        scene = Scene()
        await story(scene)
        await scene.scheduler.stop()
        assert scene.running == []
        return scene

    return asyncio.run(whole())


def test_a_job_is_begun_once_and_ended_when_nobody_wants_it() -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY)
        await scene.until(lambda: scene.running)
        scene.want(KEY)
        await scene.soon()
        assert scene.made == 1
        scene.want()
        await scene.until(lambda: not scene.running)

    play(story)


def test_a_job_that_is_done_says_so_at_once() -> None:
    async def story(scene: Scene) -> None:
        request = Request(id="r", kind="replay", destination="erp", ranges={PARTITION: range(5)})
        scene.registry.on_record(ReplayKey("r"), request.to_record())
        scene.scheduler.reconcile(scene.registry.wanted(), scene.world.epoch)
        await scene.until(lambda: scene.running)
        scene.changed.clear()
        scene.running[0].done()
        await scene.until(scene.changed.is_set)
        assert scene.registry.wanted().keys() == {ReplayKey("r")}, "only its completion is left"

    play(story)


@pytest.mark.parametrize(
    "failure", [KafkaException(KafkaError(KafkaError._TRANSPORT)), KafkaUnavailable("away")]
)
def test_a_job_that_failed_begins_anew(failure: Exception) -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY)
        await scene.until(lambda: scene.running)
        scene.changed.clear()
        scene.running[0].done(failure)
        await scene.until(scene.changed.is_set)
        scene.want(KEY)
        await scene.until(lambda: scene.running)

    assert play(story).made == 2


def test_what_nobody_expected_ends_the_worker() -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY)
        await scene.until(lambda: scene.running)
        scene.running[0].done(ValueError("a bug"))
        await scene.until(lambda: scene.failures)

    assert [str(failure) for failure in play(story).failures] == ["a bug"]


def test_jobs_of_an_earlier_assignment_end() -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY)
        await scene.until(lambda: scene.running)
        (old,) = scene.running
        scene.world.epoch += 1
        scene.want(KEY)
        await scene.until(lambda: not scene.running)
        await scene.until(scene.changed.is_set)
        await scene.soon()
        scene.want(KEY)
        await scene.until(lambda: scene.running)
        assert scene.running[0].epoch == old.epoch + 1

    play(story)


def test_a_partition_that_went_away_while_its_job_was_made_is_left_alone() -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY)
        scene.registry.owned = frozenset()
        await scene.soon()
        assert (scene.made, scene.running) == (1, [])

    play(story)


def test_so_many_run_at_a_time_and_no_more() -> None:
    async def story(scene: Scene) -> None:
        scene.want(*(ReplayKey("r", (PARTITION[0], n)) for n in range(MAX_RUNNING + 2)))
        await scene.until(lambda: len(scene.running) == MAX_RUNNING)
        await scene.soon()
        assert len(scene.running) == MAX_RUNNING
        scene.running[0].done()
        await scene.until(lambda: scene.made == MAX_RUNNING + 1)
        await scene.until(lambda: len(scene.running) == MAX_RUNNING)

    play(story)


def test_jobs_that_are_held_let_others_run() -> None:
    """A system is away for the night that four jobs' routes ask: a replay to any other destination
    would wait as long."""

    async def story(scene: Scene) -> None:
        keys = [ReplayKey("r", (PARTITION[0], n)) for n in range(MAX_RUNNING + 1)]
        scene.want(*keys)
        await scene.until(lambda: len(scene.running) == MAX_RUNNING)
        held, back = scene.running[0], asyncio.Event()

        async def hold() -> None:
            async with scene.slots.lent():
                await back.wait()

        holding = asyncio.create_task(hold())
        await scene.until(lambda: len(scene.running) == MAX_RUNNING + 1)
        back.set()
        await scene.soon()
        assert not holding.done(), "it waits for a slot"
        scene.running[-1].done()
        await scene.until(holding.done)
        held.done()

    play(story)


def test_those_that_wait_behind_a_held_job_for_its_dead_letters_take_no_slot() -> None:
    """It would never have its own again."""

    async def story(scene: Scene) -> None:
        scene.want(*(ReplayKey(f"r{n}", PARTITION) for n in range(MAX_RUNNING + 2)), kind="redrive")
        await scene.until(lambda: scene.running)
        async with scene.slots.lent():
            await scene.soon()
        scene.running[0].done()

    play(story)


def test_so_many_slots_are_lent_and_no_more() -> None:
    async def story(scene: Scene) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(MAX_LENT):
                await stack.enter_async_context(scene.slots.lent())
            async with scene.slots.lent():
                scene.want(*(ReplayKey("r", (PARTITION[0], n)) for n in range(9)))
                await scene.until(lambda: len(scene.running) == 9)
            scene.want()
            await scene.until(lambda: not scene.running)

    play(story)


@pytest.mark.parametrize(("kind", "at_once"), [("redrive", 1), ("discard", 1), ("replay", 2)])
def test_requests_about_the_same_dead_letters_take_turns(kind: Any, at_once: int) -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY, ReplayKey("s", PARTITION), kind=kind)
        await scene.until(lambda: scene.running)
        await scene.soon()
        assert len(scene.running) == scene.made == at_once
        first = scene.running[0]
        first.done()
        await scene.until(lambda: scene.running and first not in scene.running)

    play(story)


def test_a_refused_request_says_why_in_the_control_topic() -> None:
    async def story(scene: Scene) -> None:
        request = Request(id="r", kind="replay", destination="crm", ranges={PARTITION: range(5)})
        scene.registry.on_record(ReplayKey("r"), request.to_record())
        scene.refusal = "there is no crm"
        scene.want(KEY)
        await scene.until(lambda: "replay/r" in scene.control.state)
        refused = Request.from_record("r", scene.control.state["replay/r"])
        assert refused == request.with_state("refused", reason="there is no crm")

    play(story)


def test_a_request_that_is_gone_is_not_written_again() -> None:
    async def story(scene: Scene) -> None:
        scene.refusal = "there is no crm"
        scene.want(KEY)
        await scene.until(scene.changed.is_set)
        assert scene.control.state == {}

    play(story)


def test_each_job_hears_what_is_routed_of_its_partition() -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY, ReplayKey("r", (PARTITION[0], 1)))
        await scene.until(lambda: len(scene.running) == 2)
        batch: Any = type(
            "Batch", (), {"messages": [StoredMessage(*PARTITION, n, b"k", b"") for n in (3, 4)]}
        )
        scene.scheduler.on_routed(batch)
        assert {job.partition: job.seen for job in scene.running} == {
            PARTITION: [3, 4],
            (PARTITION[0], 1): [],
        }

    play(story)


def test_after_a_stop_nothing_begins() -> None:
    async def story(scene: Scene) -> None:
        scene.want(KEY)
        await scene.until(lambda: scene.running)
        await scene.scheduler.stop()
        scene.want(KEY, ReplayKey("s", PARTITION))
        await scene.soon()
        assert (scene.made, scene.running) == (1, [])

    play(story)
