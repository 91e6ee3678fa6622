"""Key queues against a model: order per key, whatever is taken, fails, comes back or arrives."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline.event import Event
from trunkline.streams.retry.key_queues import KeyQueues


def event(key: str, offset: int) -> Event[Any]:
    return Event(key=key, value=b"", headers=(), decode=lambda _: None, offset=offset)


def offsets(events: list[Event[Any]]) -> list[int]:
    return [one.offset for one in events]


class Delivery(RuleBasedStateMachine):
    """Batches are taken, some of their events fail, and these are freed later."""

    def __init__(self) -> None:
        super().__init__()
        self.queues = KeyQueues()
        self.count = 0
        self.under_way: list[list[Event[Any]]] = []
        self.held: list[list[Event[Any]]] = []
        self.delivered: dict[str, list[int]] = defaultdict(list)

    @rule(key=st.sampled_from("abc"))
    def arrive(self, key: str) -> None:
        self.queues.add(event(key, self.count))
        self.count += 1

    @rule(limit=st.integers(1, 4))
    def take(self, limit: int) -> None:
        batch = self.queues.poll(limit)
        assert len(batch) <= limit
        if batch:
            self.under_way.append(batch)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def conclude(self, data: st.DataObject) -> None:
        """Some keys of a batch fail, each from one of its events on; the others are through."""
        batch = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        failed: set[str] = set()
        back = []
        for one in batch:
            if one.key in failed or data.draw(st.booleans()):
                failed.add(one.key)
                back.append(one)
            else:
                self.delivered[one.key].append(one.offset)
        self.queues.requeue(back)
        self.queues.release([one for one in batch if one.key not in failed])
        if back:
            self.held.append(back)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.held) - 1))
        self.queues.release(self.held.pop(index))

    @invariant()
    def no_key_is_in_two_batches(self) -> None:
        busy = [{one.key for one in batch} for batch in self.under_way]
        assert sum(map(len, busy)) == len(set().union(*busy))

    @invariant()
    def each_key_is_delivered_in_order(self) -> None:
        for done in self.delivered.values():
            assert done == sorted(done)

    def teardown(self) -> None:
        """Nothing is lost: with no more failures everything is delivered, in order."""
        for batch in self.under_way:
            self.queues.requeue(batch)
        for batch in [*self.under_way, *self.held]:
            self.queues.release(batch)
        while self.queues.ready:
            batch = self.queues.poll(2)
            for one in batch:
                self.delivered[one.key].append(one.offset)
            self.queues.release(batch)
        self.each_key_is_delivered_in_order()
        everything = [offset for done in self.delivered.values() for offset in done]
        assert sorted(everything) == list(range(self.count))


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_without_order_events_of_a_key_are_under_way_at_once() -> None:
    queues = KeyQueues(ordered=False)
    for offset in range(3):
        queues.add(event("k", offset))
    assert [offsets(queues.poll(1)), offsets(queues.poll(1))] == [[0], [1]]


def test_a_key_waits_while_it_is_under_way() -> None:
    queues = KeyQueues()
    queues.add(event("k", 0))
    batch = queues.poll(10)
    queues.add(event("k", 1))
    assert not queues.ready
    assert queues.poll(10) == []
    queues.release(batch)
    assert offsets(queues.poll(10)) == [1]


def test_keys_take_turns() -> None:
    queues = KeyQueues()
    for offset, key in enumerate("aaab"):
        queues.add(event(key, offset))
    first = queues.poll(2)
    queues.release(first)
    assert offsets(queues.poll(2)) == [3, 2]


def test_a_batch_from_before_a_clear_may_be_released() -> None:
    queues = KeyQueues()
    queues.add(event("k", 0))
    batch = queues.poll(1)
    queues.clear()
    queues.release(batch)
    assert not queues.ready
