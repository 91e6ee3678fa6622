"""A route that raises Unavailable or Retryable holds its partition in FlowTest, as in a worker."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trunkline import Event, Flow, Params, Retryable, Unavailable
from trunkline.connectors.base import Sink
from trunkline.schemas.commerce import Order
from trunkline.testing import FlowTest


class Env(Params):
    pass


class Erp(Sink[Order]):
    type = Order
    accepts_deletes = True

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        raise NotImplementedError


class Service:
    """What the route asks, against all advice. ``calls``: the ids that it was asked about."""

    def __init__(self) -> None:
        self.down: Exception | None = None
        self.calls: list[str] = []

    def ask(self, event: Event[Order]) -> None:
        self.calls.append(event.id)
        if self.down is not None:
            raise self.down


def flow_of(service: Service, *, waits: bool = False) -> Flow[Env]:
    flow = Flow("sales", Env)
    orders = flow.existing_topic("orders", Order)

    @flow.destination
    def erp(env: Env) -> Erp:
        return Erp()

    if waits:

        @flow.route(orders, to=erp)
        async def everything_awaited(order: Event[Order]) -> Order:
            service.ask(order)
            return order.data
    else:

        @flow.route(orders, to=erp)
        def everything(order: Event[Order]) -> Order:
            service.ask(order)
            return order.data

    return flow


def order(number: int) -> Order:
    return Order(id="k", status="paid", total_cents=number)


def test_events_wait_in_order_until_the_route_can_tell() -> None:
    service = Service()
    flow = flow_of(service)
    (orders,), (erp,) = flow.topics, flow.destinations
    with FlowTest(flow, partitions=1) as test:
        test.publish(orders, order(0))
        service.down = Unavailable("the customers' service is down")
        ids = [test.publish(orders, order(number)) for number in (1, 2)]
        test.advance("1m")
        assert test.held == ids
        assert [e.data["total_cents"] for e in test.destination(erp).delivered] == [0]
        assert test.dead_letters(erp) == []
        service.down = None
        test.run_until_idle()
        assert test.held == []
        assert [e.data["total_cents"] for e in test.destination(erp).delivered] == [0, 1, 2]


def test_other_partitions_go_on() -> None:
    service = Service()
    flow = flow_of(service, waits=True)
    (orders,), (erp,) = flow.topics, flow.destinations
    with FlowTest(flow, partitions=8) as test:
        service.down = Retryable("not yet", after=60)
        (held,) = [test.publish(orders, order(0), key="a")]
        test.advance("1s")
        service.down = None
        test.publish(orders, order(1), key="b")
        test.advance("30s")
        assert test.held == [held]
        assert [e.key for e in test.destination(erp).delivered] == ["b"]
        test.advance("31s")
        assert [e.key for e in test.destination(erp).delivered] == ["b", "a"]


@pytest.mark.parametrize("kill", [True, False])
def test_what_is_held_survives_a_worker(kill: bool) -> None:
    service = Service()
    flow = flow_of(service)
    (orders,), (erp,) = flow.topics, flow.destinations
    with FlowTest(flow, partitions=1) as test:
        service.down = Unavailable("down")
        test.publish(orders, order(1))
        (test.crash if kill else test.restart)()
        test.publish(orders, order(2))
        assert len(test.held) == 2
        service.down = None
        test.run_until_idle()
        assert [e.data["total_cents"] for e in test.destination(erp).delivered] == [1, 2]


def test_what_never_gets_on_is_told() -> None:
    service = Service()
    flow = flow_of(service)
    (orders,) = flow.topics
    service.down = Unavailable("the customers' service is down")
    with FlowTest(flow, partitions=1) as test:
        test.publish(orders, order(1))
        with pytest.raises(AssertionError, match=r"1 events of orders/0 are held in routing.*down"):
            test.run_until_idle("1m")
