"""Nothing is sent by a worker that does not know whether its partitions are still its own."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException

from trunkline import Event, Flow, Params
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order
from trunkline.streams.deliver.ownership import LASTS, PATIENCE, OwnershipLease, OwnershipUncertain
from trunkline.testing import FlowTest, MemoryBroker, VirtualLoop


class Asked:
    """Counts how often a renewal was asked for, and answers with what ``began`` says, if so."""

    def __init__(self, began: float | None = None) -> None:
        self.times = 0
        self.lease = OwnershipLease(self.renew)
        self._began = began

    def renew(self) -> None:
        self.times += 1
        if self._began is not None:
            asyncio.get_running_loop().call_later(0.1, self.lease.renewed, self._began)


def after(seconds: float, asked: Asked) -> float:
    """Begin the lease, and ask for it so much later; returns when it was there."""

    async def run() -> float:
        now = asyncio.get_running_loop().time
        began = now()
        asked.lease.begin(began)
        await asyncio.sleep(seconds)
        await asked.lease.ensure()
        return now() - began

    loop = VirtualLoop(0.0)
    try:
        return loop.run(run())
    finally:
        loop.close()


def test_within_its_time_a_lease_costs_nothing() -> None:
    asked = Asked()
    assert after(LASTS - 0.1, asked) == pytest.approx(LASTS - 0.1)
    assert asked.times == 0


def test_a_lease_that_is_over_is_renewed_first() -> None:
    asked = Asked(began=1e9)
    assert after(LASTS, asked) == pytest.approx(LASTS + 0.1)
    assert asked.times == 1


def test_a_lease_that_nobody_renews_is_over() -> None:
    with pytest.raises(OwnershipUncertain):
        after(LASTS, Asked())


def test_a_commit_that_began_too_long_ago_renews_nothing() -> None:
    """Kafka took it, but when it is heard of, the worker has stood still meanwhile."""
    with pytest.raises(OwnershipUncertain):
        after(LASTS, Asked(began=-LASTS))


class Env(Params):
    pass


flow = Flow("sales", Env)
orders = flow.existing_topic("sales.orders", Order)


@flow.destination()
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink("http://erp", Order)


@flow.route(orders, to=erp)
def forward(order: Event[Order]) -> Order:
    return order.data


async def refused(*_: object) -> None:
    raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))


def test_a_worker_that_is_no_more_a_member_sends_nothing() -> None:
    with FlowTest(flow) as run:
        run.advance(f"{LASTS:.0f}s")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryBroker, "write", refused)
            run.publish(orders, Order(id="1", status="paid", total_cents=1))
            run.advance(f"{3 * PATIENCE:.0f}s")
            assert run.destination(erp).attempts == []
        run.advance("2s")
        assert len(run.destination(erp).delivered) == 1
