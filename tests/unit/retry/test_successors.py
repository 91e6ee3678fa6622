"""How events wait behind a failed one of their key: cheaply, so that time is left for sending."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from trunkline import Event, Flow, Params, Retry, Retryable
from trunkline.connectors.base import Sink
from trunkline.schemas.commerce import Order
from trunkline.testing import FlowTest

EVENTS, KEYS, ATTEMPTS = 600, 12, 4


class Env(Params):
    pass


class Erp(Sink[Order]):
    """What the script stands in for."""

    type = Order
    concurrency = 4

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        raise NotImplementedError


def flow_with(**policy: Any) -> Flow[Env]:
    flow = Flow("successors", Env)
    orders = flow.existing_topic("orders", Order)

    @flow.destination(retry=Retry("500ms", "2s", "5s"), **policy)
    def erp(env: Env) -> Erp:
        return Erp()

    @flow.route(orders, to=erp)
    def everything(order: Event[Order]) -> Order:
        return order.data

    return flow


def written(test: FlowTest[Env], topics: Sequence[str]) -> int:
    """How many records retry topics ever had."""
    return sum(test.backbone.end((topic, number)) for topic in topics for number in range(4))


@pytest.mark.parametrize("died", [False, True])
def test_a_backlog_behind_failing_events_is_written_to_tiers_as_often_as_it_fails(
    died: bool,
) -> None:
    """One in five of a backlog fails for half a minute. With short delays each event behind them
    was written twenty times before its turn came, thousands a second, and on a busy machine there
    was no time to send."""
    flow, random = flow_with(), Random(7)
    (orders,), (erp,) = flow.topics, flow.destinations
    bad = {str(number) for number in range(EVENTS) if random.random() < 0.2}
    failed, arrived = [0], dict[str, list[int]]()

    async def deliver(events: Sequence[Event[Order]]) -> None:
        await asyncio.sleep(0.02)
        for event in events:
            if event.id in bad and test.elapsed < 30:
                failed[0] += 1
                raise Retryable("later")
            arrived.setdefault(event.key, []).append(int(event.id))

    with FlowTest(flow) as test:
        test.destination(erp).does(deliver)
        for number in range(EVENTS):
            order = Order(id=f"k{random.randrange(KEYS)}", status="paid", total_cents=number)
            test.publish(orders, order, id=str(number))
        if died:
            test.advance("7s")
            test.crash()
        test.run_until_idle()
        dead = len(test.dead_letters(erp))
        assert sum(map(len, arrived.values())) == EVENTS - dead
        assert all(numbers == sorted(numbers) for numbers in arrived.values())
        assert written(test, erp.tiers) <= failed[0] + (EVENTS if died else 0)


def test_successors_of_a_halted_key_do_not_stay_in_memory() -> None:
    """It waits for a person, perhaps for days; they would hold back the committed offsets."""
    flow = flow_with(on_dead="halt")
    (orders,), (erp,) = flow.topics, flow.destinations
    with FlowTest(flow) as test:
        test.destination(erp).rejects(lambda event: event.id == "0")
        for number in range(20):
            test.publish(orders, Order(id="k", status="paid", total_cents=1), id=str(number))
        test.advance("1m")
        assert test.destination(erp).delivered == []
        waiting = test.waiting(erp)
        assert len(waiting) == 20
        assert {wait.tier for wait in waiting} <= {"500ms", "2s", "5s"}, "none of them is open"
        test.release(test.dead_letters(erp)[0], "retry")
        test.destination(erp).recovers()
        test.run_until_idle()
        assert [int(one.id) for one in test.destination(erp).delivered] == list(range(20))
