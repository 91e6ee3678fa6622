"""What happens later: an event whose time has not come, a key that rests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from delivery_parts import FLOW, INBOX, Parts, event
from trunkline.event import Event
from trunkline.headers import TL_ATTEMPT, TL_DUE_AT, TL_SEQ
from trunkline.streams.deliver.poison import FIRST_REST
from trunkline.streams.deliver.schedule import Schedule
from trunkline.streams.retry.decisions import RetryDecisions
from trunkline.testing import VirtualLoop
from trunkline.times import iso_rounded_up

TIER = FLOW.destinations[0].tiers[0]


class Planned:
    """A schedule in virtual time. ``sent``: sequence numbers and when they could be sent."""

    def __init__(self) -> None:
        parts = self.parts = Parts()
        self.decisions = RetryDecisions(self.now)
        self.sent: list[tuple[int, float]] = []
        self.schedule = Schedule(
            INBOX, parts.tiers, parts.order, parts.runner, self.decisions, parts.metrics, self.now
        )
        self.schedule.start(self.look)

    def now(self) -> float:
        """Epoch seconds: the loop's."""
        self.parts.clock.now = asyncio.get_running_loop().time()
        return float(self.parts.clock.now)

    def look(self) -> None:
        """Take what may be sent."""
        queues = self.parts.order.queues
        self.sent += [(one.sequence, round(self.now(), 1)) for one in queues.poll(10)]


def of_tier(sequence: int, due: float, key: str = "a") -> Event[Any]:
    """An event that waits in the shortest tier."""
    headers = {TL_SEQ: str(sequence), TL_ATTEMPT: "1", TL_DUE_AT: iso_rounded_up(due)}
    return event(sequence, key=key, topic=TIER, **headers)


def run(scene: Callable[[Planned], Awaitable[None]]) -> Planned:
    made: list[Planned] = []

    async def play() -> None:
        made.append(Planned())
        await scene(made[0])

    loop = VirtualLoop()
    try:
        loop.run_until_complete(play())
    finally:
        loop.close()
    assert loop.mistakes == []
    return made[0]


def test_an_event_that_is_due_may_be_sent_at_once() -> None:
    async def scene(planned: Planned) -> None:
        await asyncio.sleep(20)
        planned.parts.order.begin([("a", 1, 10.0)])
        planned.schedule.add(of_tier(1, 10.0), 0.0)
        planned.look()

    planned = run(scene)
    assert planned.sent == [(1, 20.0)]
    assert planned.parts.metric("trunkline_retry_lateness_seconds_sum") == 10.0


def test_events_that_were_read_early_come_when_they_are_due_each_in_its_time() -> None:
    async def scene(planned: Planned) -> None:
        planned.parts.order.begin([("a", 1, 30.0), ("b", 2, 10.0)])
        planned.schedule.add(of_tier(1, 9.0), 0.0)
        planned.schedule.add(of_tier(2, 5.0, "b"), 0.0)  # a new timer, before the first
        await asyncio.sleep(60)

    assert run(scene).sent == [(2, 5.0), (1, 9.0)]


def test_what_is_forgotten_comes_no_more() -> None:
    async def scene(planned: Planned) -> None:
        planned.parts.order.begin([("a", 1, 9.0)])
        planned.schedule.add(of_tier(1, 9.0), 0.0)
        planned.schedule.clear()
        await asyncio.sleep(60)

    assert run(scene).sent == []


def test_a_held_key_rests_and_is_sent_again() -> None:
    async def scene(planned: Planned) -> None:
        queues, held = planned.parts.order.queues, event(3)
        queues.add(held)
        queues.requeue(queues.poll(1))
        planned.schedule.hold([held], FIRST_REST)
        planned.look()
        await asyncio.sleep(60)

    assert run(scene).sent == [(3, round(FIRST_REST, 1))]


def test_a_key_that_rested_when_its_partition_went_is_not_freed() -> None:
    """It may be under way again in a new assignment, and would be sent twice at a time."""

    async def scene(planned: Planned) -> None:
        queues, held = planned.parts.order.queues, event(3)
        queues.add(held)
        queues.requeue(queues.poll(1))
        planned.schedule.hold([held], FIRST_REST)
        planned.schedule.clear()
        await asyncio.sleep(60)

    assert run(scene).sent == []
