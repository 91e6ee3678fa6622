"""Held partitions in the routing step: nothing lost, nothing twice, each partition in its order,
and all others go on. In virtual time, with the real router and the real step."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keeping_producer import KeepingProducer
from routing_kit import TOPIC, Routing
from trunkline import Event, Retryable, Unavailable
from trunkline.errors import RegistryUnavailable
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.route import step as routing_step
from trunkline.streams.route.holding import LONGEST_AFTER
from trunkline.testing.loop import VirtualLoop

Place = tuple[int, int]
"""A partition and an offset."""


class Log:
    """Three partitions that a step routes, read as the poll loop reads them: whatever is not held,
    from where the group stands. ``trouble``: how often the route fails for an event, and how."""

    def __init__(self, lengths: list[int], trouble: dict[Place, list[Exception]]) -> None:
        self.lengths = lengths
        self.trouble = trouble
        self.calls = Counter[Place]()
        self.batch = 7
        self.pause = self.lazy = 0.0
        self.leaves_in = 0.05
        self._leaving = False
        self.failing: list[float] = []
        self.rebalances: list[float] = []
        self._at: dict[int, int] = {}
        self._epoch = -1
        self._queue: asyncio.Queue[MicroBatch] = asyncio.Queue(2)

    def route(self, event: Event[Any]) -> Any:
        place = event.partition, event.offset
        self.calls[place] += 1
        if left := self.trouble.get(place):
            raise left.pop(0)
        return event.data

    def committed(self) -> dict[int, list[int]]:
        """The offsets of each partition in the order in which they stand in the inbox."""
        found: dict[int, list[int]] = {number: [] for number in range(len(self.lengths))}
        for kept in self.routing.producers:
            for keys, _ in kept.committed:
                for key in keys:
                    partition, offset = map(int, key.split(b"/"))
                    found[partition].append(offset)
        return found

    def group(self) -> dict[int, int]:
        """Where the group stands."""
        stands = dict.fromkeys(range(len(self.lengths)), 0)
        for kept in self.routing.producers:
            for _, offsets in kept.committed:
                stands |= offsets
        return stands

    @property
    def done(self) -> bool:
        return self.group() == dict(enumerate(self.lengths))

    async def run(self, seconds: float = 300.0) -> None:
        """Route until all is routed, or the time is over."""
        self.routing = Routing(self.route)
        tasks = [
            asyncio.create_task(work)
            for work in (self._read(), self._process(), self._disturb(), self._fail())
        ]
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        for _ in range(int(seconds * 20)):  # a sleep that ends in virtual time
            if self.done or loop.time() >= end:
                break
            await asyncio.sleep(0.05)
        for task in tasks:
            assert not task.done() or task.exception() is None, task.exception()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.held = [(str(one), len(one.messages), one.error) for one in self.routing.step.held]
        await self.routing.step.stop()
        assert self.routing.step.failure is None

    async def _read(self) -> None:
        intake = self.routing.intake
        while True:
            if intake.epoch != self._epoch:
                self._epoch, self._at = intake.epoch, self.group()
                intake._in_flight.rewinding = False
            messages: Any = []
            for number, length in enumerate(self.lengths):
                while (
                    not self._leaving
                    and (TOPIC, number) not in intake._in_flight.held
                    and self._at[number] < length
                    and len(messages) < self.batch
                ):
                    offset = self._at[number]
                    self._at[number] += 1
                    key = b"%d/%d" % (number, offset)
                    messages.append(StoredMessage(TOPIC, number, offset, key, b"{}"))
            if messages and intake._in_flight.received(messages) is not None:
                await self._queue.put(
                    MicroBatch(cast("list[Message]", messages), self._epoch, "metadata")
                )
            # Behind a batch the next ones wait in the queue, or come some time later.
            await asyncio.sleep(self.pause if messages else 0.05)

    async def _process(self) -> None:
        while True:
            batch = await self._queue.get()
            await asyncio.sleep(self.lazy)
            await self.routing.step.process(batch)

    async def _disturb(self) -> None:
        for after in self.rebalances:
            await asyncio.sleep(after)
            partitions = [TopicPartition(TOPIC, n) for n in range(len(self.lengths))]
            self._leaving = True
            self.routing.step.on_revoked(partitions, lost=True)
            await asyncio.sleep(self.leaves_in)
            self.routing.intake._in_flight.begin_epoch()
            self.routing.step._leaving = self._leaving = False

    async def _fail(self) -> None:
        """Commits fail at these times."""
        for after in self.failing:
            await asyncio.sleep(after)
            if self.routing.producers:
                self.routing.producer.failures.append(KafkaError(KafkaError._STATE))


def virtually(scene: Coroutine[Any, Any, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run(scene)
        assert loop.mistakes == []
    finally:
        loop.close()


ERRORS = st.sampled_from(
    [Unavailable("down"), Retryable("later", after=7), RegistryUnavailable("away")]
)
PLACES = st.tuples(st.integers(0, 2), st.integers(0, 29))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    trouble=st.dictionaries(PLACES, st.lists(ERRORS, min_size=1, max_size=6), max_size=8),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 5)),
    seconds=st.sampled_from([-1.0, 1000.0]),
    waits=st.tuples(*[st.sampled_from([0.0, 0.02, 0.3])] * 2),
    failing=st.lists(st.floats(0.0, 1.0), max_size=6),
    rebalances=st.lists(st.floats(0.01, 2), max_size=3),
    leaves_in=st.sampled_from([0.05, 2.0]),
)
def test_nothing_is_lost_nothing_comes_twice_and_order_is_kept(
    trouble: dict[Place, list[Exception]],
    sizes: tuple[int, int],
    seconds: float,
    waits: tuple[float, float],
    failing: list[float],
    rebalances: list[float],
    leaves_in: float,
) -> None:
    """Whatever a route cannot tell for now, and whatever has no time any more in a chunk, with
    transactions that fail and rebalances, while batches wait in the queue."""
    log = Log([30, 30, 30], {place: list(errors) for place, errors in trouble.items()})
    log.failing, log.rebalances, log.leaves_in = failing, rebalances, leaves_in
    (log.pause, log.lazy), (log.batch, chunk) = waits, sizes
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(routing_step, "CHUNK_EVENTS", chunk)
        patched.setattr(routing_step, "CHUNK_SECONDS", seconds)
        virtually(log.run())
    assert log.committed() == {number: list(range(30)) for number in range(3)}
    assert log.done
    assert log.routing.counted("dead_letters") == 0
    assert log.held == []


def test_the_others_go_on_while_one_is_held(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = Log([30, 30, 30], {(1, 4): [Unavailable("down")] * 100_000})
    virtually(log.run(60))
    assert log.committed() == {0: list(range(30)), 1: list(range(4)), 2: list(range(30))}
    assert log.group() == {0: 30, 1: 4, 2: 30}, "what is behind it is not committed"
    ((name, events, error),) = log.held
    assert (name, str(error)) == (f"{TOPIC}/1", "down")
    assert 0 < events <= 3 * log.batch, "its partition is not read on"
    assert 10 < log.calls[1, 4] < 30, "it is asked with growing pauses"
    told = [record.getMessage() for record in caplog.records if "is held" in record.message]
    assert told[0] == f"routing of {TOPIC}/1 is held, others go on: Unavailable: down"
    assert 2 < len(told) < 8, "not every time"


def test_it_goes_on_when_its_time_has_come(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = Log([5, 30], {(0, 2): [Unavailable("down")] * 4})
    virtually(log.run())
    assert log.done
    assert f"routing of {TOPIC}/0 goes on, it was held for" in caplog.text


@pytest.mark.parametrize(
    ("after", "longest", "calls"),
    [(60, 100, 2), (1e9, LONGEST_AFTER - 2, 1), (1e9, LONGEST_AFTER + 5, 2), (float("nan"), 9, 6)],
)
def test_a_route_may_say_when_to_ask_again(after: float, longest: float, calls: int) -> None:
    log = Log([5, 5], {(0, 2): [Retryable("busy", after=after)] * 1000})
    virtually(log.run(longest))
    assert log.calls[0, 2] <= 2 + calls, "twice where it failed first, as it is routed once more"
    assert log.committed()[1] == list(range(5))


def test_a_registry_that_hangs_holds_up_the_others_for_a_moment_only() -> None:
    asked: list[float] = []
    log = Log([5, 5], {})

    async def scene() -> None:
        loop = asyncio.get_running_loop()

        async def ask(values: Any, patience: float) -> Any:
            if b"new" not in set(values):
                return {}
            asked.append(patience)
            await asyncio.sleep(min(patience, 10.0))
            return {b"new": RegistryUnavailable("no answer")}

        routing = log.routing = Routing(log.route)
        routing.step._router._ask_for_schemas = ask
        mixed: Any = [
            StoredMessage(TOPIC, 0, 0, b"0/0", b"new"),
            StoredMessage(TOPIC, 1, 0, b"1/0", b"{}"),
        ]
        routing.intake._in_flight.received(mixed)
        await routing.step.process(MicroBatch(mixed, routing.intake.epoch, "metadata"))
        assert loop.time() < 2
        assert log.group() == {0: 0, 1: 1}
        await asyncio.sleep(5)
        more: Any = [StoredMessage(TOPIC, 1, 1, b"1/1", b"{}")]
        routing.intake._in_flight.received(more)
        began = loop.time()
        await routing.step.process(MicroBatch(more, routing.intake.epoch, "metadata"))
        assert loop.time() - began < 0.1, "somebody holds the lock while he asks"
        assert log.group() == {0: 0, 1: 2}
        await routing.step.stop()

    virtually(scene())
    assert asked[0] == routing_step.PATIENCE


def test_lag_and_age_count_what_is_held() -> None:
    log = Log([5, 5], {(0, 2): [Unavailable("down")] * 1000})

    async def scene() -> None:
        running = asyncio.create_task(log.run(30))
        await asyncio.sleep(10)
        log.routing.step.refresh()
        assert log.routing.counted("lag") == 3
        assert log.routing.counted("lag_seconds") > 1e9, "its events were written in 1970"
        await running

    virtually(scene())


def test_a_revocation_does_not_wait_for_what_is_held() -> None:
    log = Log([5, 5], {(0, 2): [Unavailable("down")] * 1000})

    async def scene() -> None:
        running = asyncio.create_task(log.run(30))
        await asyncio.sleep(10)
        assert log.routing.intake.wait_idle(0)
        await running

    virtually(scene())


def test_a_defect_ends_the_worker_and_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log([5], {(0, 2): [Unavailable("down")] * 3})

    async def scene() -> None:
        running = asyncio.create_task(log.run(5))
        await asyncio.sleep(0.05)

        def broken(self: KeepingProducer) -> None:
            raise LookupError("a defect")

        monkeypatch.setattr(KeepingProducer, "commit_transaction", broken)
        with pytest.raises(AssertionError):
            await running
        assert isinstance(log.routing.step.failure, LookupError)
        assert log.group() == {0: 2}

    virtually(scene())
