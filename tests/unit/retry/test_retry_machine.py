"""The retry state machine against a model: whatever a destination answers, whenever a worker
dies or loses its partitions, and however its broker behaves.

The model knows only what was published and what the destination saw. The engine is the real one,
on a backbone in memory and in virtual time; a new worker knows only what was committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trunkline import Event, Flow, Params, PartialFailure, Rejected, Retry, Retryable, Unavailable
from trunkline.connectors.base import Sink
from trunkline.schemas.commerce import Order
from trunkline.streams.retry import key_order
from trunkline.streams.retry.tiers import due_of, failures_of
from trunkline.testing import FlowTest

Outcome = Literal["ok", "retryable", "rejected", "unavailable", "after"]
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    ["ok", "ok", "retryable", "retryable", "rejected", "unavailable", "after"]
)
AFTER = 25.0
ATTEMPTS = 3


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("trunkline")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


class Env(Params):
    pass


class Erp(Sink[Order]):
    """What the script stands in for."""

    type = Order
    concurrency = 2

    def __init__(self, batch: int) -> None:
        self.max_batch = batch

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        raise NotImplementedError


def flow_of(batch: int, **policy: Any) -> Flow[Env]:
    flow = Flow("machine", Env)
    orders = flow.existing_topic("orders", Order)

    @flow.destination(retry=Retry("10s", "1m"), **policy)
    def erp(env: Env) -> Erp:
        return Erp(batch)

    @flow.route(orders, to=erp)
    def everything(order: Event[Order]) -> Order:
        return order.data

    return flow


class System:
    """What the destination saw and did. An event's number is its place in what was published."""

    def __init__(self, test: FlowTest[Env], *, ordered: bool, holds: bool) -> None:
        self.test = test
        self.ordered = ordered
        self.holds = holds
        self.keys: dict[int, str] = {}
        self.planned: dict[int, list[Outcome]] = {}
        self.applied: list[int] = []
        self.refused: set[int] = set()
        """Those that it will never take, or that used up their attempts."""
        self.discarded: set[int] = set()
        self.retried: set[int] = set()
        """Those that are refused no more, since somebody wants another attempt."""
        self.burnt: Counter[int] = Counter()
        self.behind_a_failed_one: set[int] = set()
        """Applied in one call with an earlier one of their key that was not: they come again."""
        self.before, self.behind = 0.0, 0.0
        self.repeats = False
        """Whether events may come twice: a worker died."""
        self.healed = False
        self.broken: AssertionError | None = None
        """The first promise that was not kept: what a sink raises is an answer to the engine."""

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        numbers = [int(event.id) for event in events]
        try:
            for event, number in zip(events, numbers, strict=True):
                self.check(event, number, set(numbers))
        except AssertionError as broken:
            self.broken = self.broken or broken
        await asyncio.sleep(self.before)
        failures = {
            i: self.fails(n, e) for i, (n, e) in enumerate(zip(numbers, events, strict=True))
        }
        raised = {i: failure for i, failure in failures.items() if failure is not None}
        self.applied += [n for i, n in enumerate(numbers) if i not in raised]
        failed = {numbers[i] for i in raised}
        self.behind_a_failed_one |= {n for n in numbers if self.is_behind(n, failed)}
        await asyncio.sleep(self.behind)
        if raised:
            raise PartialFailure(raised) if len(events) > 1 else raised[0]

    def is_behind(self, number: int, failed: set[int]) -> bool:
        """Whether an earlier one of its key is among these."""
        return any(n < number and self.keys[n] == self.keys[number] for n in failed)

    def check(self, event: Event[Order], number: int, call: set[int]) -> None:
        assert due_of(event) <= self.test.now.timestamp(), f"{number} is early"
        names = [name for name, _ in event.headers]
        assert len(names) == len(set(names)), f"{number} has a header twice: {names}"
        self.check_attempts(event, number)
        if not (self.repeats or number in self.behind_a_failed_one):
            assert number not in self.applied, f"{number} is sent again"
        if self.ordered:
            done = {*self.applied, *self.refused, *self.discarded, *call}
            earlier = {n for n in self.keys if n < number and self.keys[n] == event.key}
            assert earlier <= done, f"{number} overtakes {earlier - done}"

    def decided(self, number: int, retry: bool) -> None:
        """Somebody has decided about an event that halts its key."""
        if retry:
            self.refused.discard(number)
            self.retried.add(number)
        else:
            self.discarded.add(number)

    def check_attempts(self, event: Event[Order], number: int) -> None:
        failures = failures_of(event)
        assert failures < ATTEMPTS or event.header("tl_halted")
        assert failures <= self.burnt[number], f"{number} has {failures} of {self.burnt[number]}"

    def fails(self, number: int, event: Event[Order]) -> Any:
        planned = self.planned[number]
        outcome = planned.pop(0) if planned and not self.healed else "ok"
        if outcome == "rejected":
            self.refused.add(number)
            self.burnt[number] += 1
            return Rejected("never")
        if outcome == "unavailable" and self.holds:
            return Unavailable("down")
        if outcome == "ok":
            return None
        self.burnt[number] += 1
        if failures_of(event) + 1 >= ATTEMPTS:
            self.refused.add(number)
        if outcome == "unavailable":
            return Unavailable("down")
        return Retryable("later", after=AFTER if outcome == "after" else None)


class Machine(RuleBasedStateMachine):
    batch = 1
    policy: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        flow = flow_of(self.batch, **self.policy)
        self.test = FlowTest(flow, partitions=2)
        self.test.backbone.gaps = True
        self.test.__enter__()
        (self.orders,), (self.erp,) = flow.topics, flow.destinations
        ordered, holds = self.policy.get("order") != "none", self.policy.get("outage") != "tiers"
        self.system = System(self.test, ordered=ordered, holds=holds)
        self.test.destination(self.erp).does(self.system.deliver)
        self.topics = [self.erp.inbox, *self.erp.tiers]

    @rule(keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=4), plan=st.data())
    def publish(self, keys: list[str], plan: st.DataObject) -> None:
        for key in keys:
            number = len(self.system.keys)
            self.system.keys[number] = key
            self.system.planned[number] = plan.draw(st.lists(OUTCOMES, max_size=4))
            order = Order(id=key, status="paid", total_cents=number)
            self.test.publish(self.orders, order, id=str(number))

    @rule(duration=st.sampled_from(["50ms", "300ms", "1s", "5s", "10s", "11s", "30s", "70s"]))
    def advance(self, duration: str) -> None:
        self.test.advance(duration)

    @rule()
    def crash(self) -> None:
        self.system.repeats = True
        self.test.crash()

    @rule()
    def restart(self) -> None:
        self.system.repeats |= self.test.backbone.failures > 0
        self.test.restart()

    @rule(lost=st.booleans())
    def rebalance(self, lost: bool) -> None:
        self.system.repeats |= lost or self.test.backbone.failures > 0
        self.test.rebalance(lost=lost)

    @rule(before=st.sampled_from([0.0, 0.1, 3.0]), behind=st.sampled_from([0.0, 0.1, 3.0]))
    def slow(self, before: float, behind: float) -> None:
        self.system.before, self.system.behind = before, behind

    @rule(topic=st.integers(0, 2), on=st.booleans())
    def stall(self, topic: int, on: bool) -> None:
        self.test.backbone.stall(self.topics[topic], on)

    @rule(seed=st.integers(0, 99), batch=st.sampled_from([1, 3, 2000]))
    def read(self, seed: int, batch: int) -> None:
        self.test.backbone.shuffle, self.test.backbone.batch = Random(seed), batch

    @rule(latency=st.sampled_from([0.0, 0.3, 2.0]), failures=st.integers(0, 2))
    def commit(self, latency: float, failures: int) -> None:
        self.test.backbone.latency, self.test.backbone.failures = latency, failures

    @rule()
    def pause(self) -> None:
        self.test.pause(self.erp)

    @rule()
    def resume(self) -> None:
        self.test.resume(self.erp)

    @invariant()
    def promises_are_kept(self) -> None:
        if self.system.broken:
            raise self.system.broken

    def teardown(self) -> None:
        try:
            self.heal()
            self.test.run_until_idle("2h")
            self.promises_are_kept()
            self.check()
            self.test.__exit__(None)
        except BaseException as failure:
            self.test.__exit__(type(failure))
            raise

    def heal(self) -> None:
        """From now on everything goes well."""
        backbone, system = self.test.backbone, self.system
        backbone.failures, backbone.latency, system.before, system.behind = 0, 0.0, 0.0, 0.0
        system.healed = True
        for topic in self.topics:
            backbone.stall(topic, False)
        self.test.resume(self.erp)

    def check(self) -> None:
        system, numbers = self.system, self.numbers_in_dlq()
        assert not [n for n, count in numbers.items() if count > 1], "a dead letter came twice"
        dead = set(numbers)
        assert set(system.keys) == {*system.applied, *dead}, "lost"
        assert dead <= {*system.refused, *system.retried}
        last: dict[str, int] = {}
        for number in system.applied:
            last[system.keys[number]] = number
        live = defaultdict(list)
        for number in sorted(set(system.keys) - dead):
            live[system.keys[number]].append(number)
        if system.ordered:
            assert all(last[key] >= alive[-1] for key, alive in live.items()), "an older state"

    def numbers_in_dlq(self) -> Counter[int]:
        return Counter(int(letter.event_id) for letter in self.test.dead_letters(self.erp))


class InBatches(Machine):
    batch = 3


class WithLittleMemory(Machine):
    """Of those that follow one that failed, some are in memory when a worker dies, and some in
    tiers."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, key_order.MAX_BUFFERED = key_order.MAX_BUFFERED, 1

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            key_order.MAX_BUFFERED = self.memory


class WithoutOrder(Machine):
    policy: ClassVar[dict[str, Any]] = {"order": "none"}


class OutagesInTiers(Machine):
    policy: ClassVar[dict[str, Any]] = {"outage": "tiers"}


class Delayed(Machine):
    policy: ClassVar[dict[str, Any]] = {"delay": "5s"}


class Halting(Machine):
    policy: ClassVar[dict[str, Any]] = {"on_dead": "halt"}

    def __init__(self) -> None:
        super().__init__()
        self.decided: set[str] = set()

    @rule(which=st.floats(0, 0.99), retry=st.booleans())
    def release(self, which: float, retry: bool) -> None:
        """Somebody decides about one of the events that halt their keys."""
        letters = [x for x in self.test.dead_letters(self.erp) if x.event_id not in self.decided]
        if letters:
            letter = letters[int(which * len(letters))]
            self.decided.add(letter.event_id)
            self.test.release(letter, "retry" if retry else "discard")
            self.system.decided(int(letter.event_id), retry)

    def heal(self) -> None:
        super().heal()
        for _ in range(40):
            self.test.advance("70s")
            self.release(0.0, True)


def case(machine: type[Machine]) -> Any:
    """The machine as a test case."""
    found: Any = machine.TestCase
    found.settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return found


TestOneByOne = case(Machine)
TestInBatches = case(InBatches)
TestWithLittleMemory = case(WithLittleMemory)
TestWithoutOrder = case(WithoutOrder)
TestOutagesInTiers = case(OutagesInTiers)
TestDelayed = case(Delayed)
TestHalting = case(Halting)
