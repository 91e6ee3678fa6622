"""Lanes against a model: order per key holds whatever is taken, fails, comes back or arrives."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline.event import Event
from trunkline.streams.deliver.key_queues import KeyQueues


def event(key: str, offset: int) -> Event[Any]:
    return Event(key=key, value=b"", headers=(), decode=lambda _: None, offset=offset)


def offsets(events: list[Event[Any]]) -> list[int]:
    return [one.offset for one in events]


class Delivery(RuleBasedStateMachine):
    """Batches are taken, some of their events fail, and these are freed later."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = KeyQueues()
        self.count = 0
        self.under_way: list[list[Event[Any]]] = []
        self.held: list[list[Event[Any]]] = []
        self.delivered: dict[str, list[int]] = defaultdict(list)

    @rule(key=st.sampled_from("abc"))
    def arrive(self, key: str) -> None:
        self.lanes.add(event(key, self.count))
        self.count += 1

    @rule(limit=st.integers(1, 4))
    def take(self, limit: int) -> None:
        batch = self.lanes.poll(limit)
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
        self.lanes.requeue(back)
        self.lanes.release([one for one in batch if one.key not in failed])
        if back:
            self.held.append(back)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.held) - 1))
        self.lanes.release(self.held.pop(index))

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
            self.lanes.requeue(batch)
        for batch in [*self.under_way, *self.held]:
            self.lanes.release(batch)
        while self.lanes.ready:
            batch = self.lanes.poll(2)
            for one in batch:
                self.delivered[one.key].append(one.offset)
            self.lanes.release(batch)
        self.each_key_is_delivered_in_order()
        everything = [offset for done in self.delivered.values() for offset in done]
        assert sorted(everything) == list(range(self.count))


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_without_order_events_of_a_key_are_under_way_at_once() -> None:
    lanes = KeyQueues(ordered=False)
    for offset in range(3):
        lanes.add(event("k", offset))
    assert [offsets(lanes.poll(1)), offsets(lanes.poll(1))] == [[0], [1]]


def test_a_key_waits_while_it_is_under_way() -> None:
    lanes = KeyQueues()
    lanes.add(event("k", 0))
    batch = lanes.poll(10)
    lanes.add(event("k", 1))
    assert not lanes.ready
    assert lanes.poll(10) == []
    lanes.release(batch)
    assert offsets(lanes.poll(10)) == [1]


def test_keys_take_turns() -> None:
    lanes = KeyQueues()
    for offset, key in enumerate("aaab"):
        lanes.add(event(key, offset))
    first = lanes.poll(2)
    lanes.release(first)
    assert offsets(lanes.poll(2)) == [3, 2]


def test_a_batch_from_before_a_clear_may_be_released() -> None:
    lanes = KeyQueues()
    lanes.add(event("k", 0))
    batch = lanes.poll(1)
    lanes.clear()
    lanes.release(batch)
    assert not lanes.ready
