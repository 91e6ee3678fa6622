"""Key order without an engine: cases one by one, and against a model of the topics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline.event import Event, replaced
from trunkline.headers import TL_ATTEMPT, TL_DUE_AT, TL_HALTED, TL_SEQ
from trunkline.streams.retry.key_order import (
    Action,
    AskOperator,
    Discard,
    KeyOrder,
    RetryLater,
    ServiceTime,
)
from trunkline.streams.retry.tiers import Delays
from trunkline.times import iso_rounded_up

INBOX, TIER = "f.erp.inbox", "f.erp.retry.10s"
DELAY = 10.0
HALTED = {TL_ATTEMPT: "3"}


class World:
    """The clock, and how far topics are read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.read_up_to = 1 << 40
        self.reading = True

    def clock(self) -> float:
        return self.now

    def has_read_up_to(self, partition: int, sequence: int) -> bool:
        return sequence < self.read_up_to

    def reads_on(self) -> bool:
        return self.reading


def order_in(world: World, *, ordered: bool = True) -> KeyOrder:
    return KeyOrder(world, Delays(DELAY, DELAY + 1, 60.0), ordered=ordered, clock=world.clock)


def arrived(key: str, offset: int) -> Event[Any]:
    """An event of the inbox."""
    return Event(key=key, value=b"", headers=[], decode=lambda _: None, topic=INBOX, offset=offset)


def in_tier(retry: Action, offset: int = 0) -> Event[Any]:
    """The event that a retry record holds."""
    assert isinstance(retry, RetryLater)
    headers = {**retry.headers, TL_DUE_AT: iso_rounded_up(retry.due)}
    return Event(
        key=retry.event.key,
        value=b"",
        headers=replaced(retry.event.headers, {n: text.encode() for n, text in headers.items()}),
        decode=lambda _: None,
        topic=TIER,
        offset=offset,
    )


def sent(order: KeyOrder) -> list[int]:
    """The sequence numbers of all that may be sent now."""
    return [event.sequence for event in order.queues.poll(100)]


def moved(actions: Sequence[Action]) -> list[tuple[int, float]]:
    """Sequence number and due time of each that goes to a retry topic."""
    assert all(isinstance(action, RetryLater) for action in actions)
    return [(a.event.sequence, a.due) for a in actions if isinstance(a, RetryLater)]


def deliver_first(order: KeyOrder, *, key: str = "a", offset: int = 0) -> Event[Any]:
    """An event that is under way."""
    event = arrived(key, offset)
    assert order.on_arrival(event) == ()
    assert order.queues.poll(1) == [event]
    return event


def test_events_of_keys_that_nothing_waits_for_are_sent_and_lead_to_nothing() -> None:
    order = order_in(World())
    first = deliver_first(order)
    assert order.on_arrival(arrived("b", 1)) == ()
    order.on_done(first)
    assert order.release([first]) == ()
    assert sent(order) == [1]
    assert (order.blocked.count, order.buffered) == (0, 0)


def test_a_failed_event_goes_to_a_tier_and_those_behind_it_follow_when_it_is_through() -> None:
    world = World()
    order = order_in(world)
    first = deliver_first(order)
    order.on_arrival(arrived("a", 1))
    (retry,) = order.on_retry(first, world.now + DELAY, {TL_ATTEMPT: "1"})
    assert retry == RetryLater(first, 1010.0, {TL_SEQ: "0", TL_ATTEMPT: "1"})
    assert order.release([first]) == ()
    assert order.on_arrival(arrived("a", 2)) == ()
    assert sent(order) == []
    assert (order.blocked.count, order.buffered) == (3, 2)
    world.now += DELAY
    back = in_tier(retry)
    assert order.on_due(back) == ()
    assert sent(order) == [0]
    order.on_done(back)
    order.release([back])
    assert sent(order) == [1, 2]


def test_what_is_not_due_soon_keeps_nothing_in_memory() -> None:
    world = World()
    order = order_in(world)
    first = deliver_first(order)
    order.on_arrival(arrived("a", 1))
    actions = order.on_retry(first, world.now + 600, {})
    assert moved(actions) == [(0, 1600.0), (1, 1600.0)]
    assert order.buffered == 0


def test_an_event_that_is_not_due_yet_goes_round_with_its_due_time() -> None:
    world = World()
    order = order_in(world)
    (retry,) = order.on_retry(deliver_first(order), world.now + 600, {})
    order.release([retry.event])
    world.now += DELAY
    assert moved(order.on_due(in_tier(retry))) == [(0, 1600.0)]


def test_an_event_that_was_applied_behind_a_failed_one_of_its_key_is_sent_again() -> None:
    world = World()
    order = order_in(world)
    first, second = arrived("a", 0), arrived("a", 1)
    order.on_arrival(first)
    order.on_arrival(second)
    assert order.queues.poll(2) == [first, second]
    (retry,) = order.on_retry(first, world.now + DELAY, {})
    assert order.on_superseded(second) == ()
    order.release([first, second])
    world.now += DELAY
    back = in_tier(retry)
    order.on_due(back)
    order.on_done(back)
    assert sent(order) == [0, 1]


def test_while_reading_may_stop_nothing_is_buffered_for_what_is_in_a_tier() -> None:
    world = World()
    order = order_in(world)
    first = deliver_first(order)
    order.on_retry(first, world.now + DELAY, {})
    order.release([first])
    order.on_arrival(arrived("a", 1))
    assert order.buffered == 1
    world.reading = False
    assert moved(order.spill()) == [(1, 1010.0)]
    assert moved(order.on_arrival(arrived("a", 2))) == [(2, 1010.0)]
    assert order.buffered == 0


def test_a_key_that_is_released_while_reading_may_stop_spills() -> None:
    world = World()
    order = order_in(world)
    first = deliver_first(order)
    order.on_retry(first, world.now + DELAY, {})
    order.on_arrival(arrived("a", 1))
    assert order.buffered == 1
    world.reading = False
    assert order.spill() == [], "its key is in a batch"
    assert moved(order.release([first])) == [(1, 1010.0)]


def test_after_a_restart_the_first_in_a_tier_waits_until_the_inbox_was_read_up_to_it() -> None:
    world = World()
    order = order_in(world)
    world.read_up_to = 0
    order.begin([("a", 1, world.now)])
    second = in_tier(RetryLater(arrived("a", 1), world.now, {TL_SEQ: "1"}))
    assert moved(order.on_due(second)) == [(1, 1010.0)]
    world.read_up_to = 2
    assert order.on_arrival(arrived("a", 0)) == ()
    assert sent(order) == [0]
    assert order.blocked.sequences("a") == [0, 1]


def test_a_halted_event_asks_an_operator_until_there_is_a_decision() -> None:
    world = World()
    order = order_in(world)
    first = deliver_first(order)
    (retry,) = order.on_halt(first, HALTED)
    assert retry == RetryLater(first, 1060.0, {TL_SEQ: "0", TL_HALTED: "1", **HALTED})
    order.release([first])
    order.on_arrival(arrived("a", 1))
    world.now += 60
    back = in_tier(retry)
    assert order.on_due(back) == (AskOperator(back),)
    (again,) = order.on_decision(back, "")
    assert again == RetryLater(back, 1120.0, {TL_SEQ: "0"})
    assert order.on_decision(back, "retry") == ()
    assert sent(order) == [0]


def test_a_discarded_event_lets_its_key_go_on() -> None:
    world = World()
    order = order_in(world)
    first = deliver_first(order)
    order.on_retry(first, world.now + DELAY, {})
    order.release([first])
    order.on_arrival(arrived("a", 1))
    assert order.on_decision(first, "discard") == (Discard(first),)
    assert sent(order) == [1]


def test_without_order_a_failed_event_holds_up_nobody() -> None:
    world = World()
    order = order_in(world, ordered=False)
    first = deliver_first(order)
    order.on_arrival(arrived("a", 1))
    (retry,) = order.on_retry(first, world.now + DELAY, {})
    assert sent(order) == [1]
    world.now += DELAY
    assert order.on_due(in_tier(retry)) == ()
    assert sent(order) == [0]
    assert order.blocked.count == 0


def test_the_service_time_is_that_between_two_events_of_a_key() -> None:
    times = ServiceTime()
    times.ended("a", 1.0)
    assert times.seconds == 0.0
    times.ended("a", 1.16)
    assert abs(times.seconds - 0.01) < 1e-9
    times.stopped("a")
    times.ended("a", 99.0)
    assert abs(times.seconds - 0.01) < 1e-9
    times.forget()
    times.ended("a", 100.0)
    assert abs(times.seconds - 0.01) < 1e-9


class Topics(RuleBasedStateMachine):
    """Inbox and retry topic of one partition, and a worker that may die at any time.

    ``done``: delivered, by sequence number. A retry record is looked at when its tier's delay is
    over, whether it is due or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.read_up_to = 0
        self.order = order_in(self.world)
        self.inbox: list[str] = []
        self.completed: set[int] = set()
        """Offsets of the inbox that no worker reads again."""
        self.tier: dict[int, tuple[float, Event[Any]]] = {}
        """By offset: when to look at it, and the event; those that nobody is done with."""
        self.held: set[int] = set()
        """Offsets of the tier that this worker has read."""
        self.written = 0
        self.under_way: list[list[Event[Any]]] = []
        self.done: set[int] = set()
        self.last: dict[str, int] = defaultdict(lambda: -1)
        self.repeats = False

    def carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, RetryLater):
                self.tier[self.written] = self.world.now + DELAY, in_tier(action, self.written)
                self.written += 1
            assert not isinstance(action, AskOperator)
            self.complete(action.event)

    def complete(self, event: Event[Any]) -> None:
        if event.topic == INBOX:
            assert event.offset not in self.completed, "completed twice"
            self.completed.add(event.offset)
        else:
            del self.tier[event.offset]
            self.held.discard(event.offset)

    @rule(keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
    def publish(self, keys: list[str]) -> None:
        self.inbox += keys

    @rule(count=st.integers(1, 4))
    def read(self, count: int) -> None:
        for offset in range(self.world.read_up_to, len(self.inbox))[:count]:
            self.world.read_up_to = offset + 1
            if offset not in self.completed:
                self.carry_out(self.order.on_arrival(arrived(self.inbox[offset], offset)))
        if not self.world.reading:
            self.carry_out(self.order.spill())

    @rule(seconds=st.sampled_from([0.1, 5.0, 10.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds
        for offset, (at, event) in list(self.tier.items()):
            if at <= self.world.now and offset not in self.held:
                self.held.add(offset)
                self.carry_out(self.order.on_due(event))

    @rule(limit=st.integers(1, 4))
    def send(self, limit: int) -> None:
        batch = self.order.queues.poll(limit)
        call = {event.sequence for event in batch}
        busy = {event.key for other in self.under_way for event in other}
        for event in batch:
            assert event.key not in busy, "two calls have one key"
            earlier = {n for n, key in enumerate(self.inbox[: event.sequence]) if key == event.key}
            assert earlier <= self.done | call, f"{event} overtakes"
        if batch:
            self.under_way.append(batch)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        batch = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.conclude(batch, [data.draw(st.sampled_from([0.0, 0.0, DELAY, 600.0])) for _ in batch])

    def conclude(self, batch: list[Event[Any]], delays: Sequence[float]) -> None:
        """The end of a call; ``delays``: after how long each is tried again, 0 for delivered."""
        waits: set[str] = set()
        for event, delay in zip(batch, delays, strict=True):
            if event.key in waits:
                self.carry_out(self.order.on_superseded(event))
            elif delay:
                waits.add(event.key)
                self.carry_out(self.order.on_retry(event, self.world.now + delay, {}))
            else:
                assert self.repeats or event.sequence not in self.done
                self.done.add(event.sequence)
                self.last[event.key] = event.sequence
                self.order.on_done(event)
                self.complete(event)
        self.carry_out(self.order.release(batch))

    @rule(reading=st.booleans())
    def fill(self, reading: bool) -> None:
        self.world.reading = reading
        if not reading:
            self.carry_out(self.order.spill())

    @rule()
    def die(self) -> None:
        self.repeats |= bool(self.under_way)
        self.under_way, self.held = [], set()
        left = set(range(len(self.inbox))) - self.completed
        self.world.read_up_to = min(left, default=len(self.inbox))
        self.order = order_in(self.world)
        self.order.begin(
            (event.key, event.sequence, self.world.now) for _, event in self.tier.values()
        )

    @invariant()
    def counts_are_right(self) -> None:
        buffered = sum(map(len, self.order._successors.values()))
        assert self.order.buffered == buffered
        assert self.order.blocked.count == sum(map(len, self.order.blocked._sequences.values()))

    def teardown(self) -> None:
        self.world.reading = True
        for _ in range(400):
            self.read(1000)
            self.send(4)
            while self.under_way:
                batch = self.under_way.pop()
                self.conclude(batch, [0.0] * len(batch))
            if self.completed == set(range(len(self.inbox))) and not self.tier:
                break
            self.wait(DELAY)
        assert self.completed == set(range(len(self.inbox))), "lost"
        assert not self.tier
        assert self.order.blocked.count == self.order.buffered == 0
        newest = {key: number for number, key in enumerate(self.inbox)}
        assert all(self.last[key] == number for key, number in newest.items()), "an older state"


TestTopics = Topics.TestCase
TestTopics.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
