"""A flow of one topic and one destination, under test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trunkline import Event, Flow, Params, Record, Retry
from trunkline.connectors.base import Sink
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.commerce import Order
from trunkline.streams.flow.definition import Destination, Topic
from trunkline.testing import Attempt, FlowTest, Script
from trunkline.testing.flowtest import NEW_YEAR


class Env(Params):
    pass


class Erp(Sink[Order]):
    """What a script stands in for."""

    type = Order
    accepts_deletes = True

    def __init__(self, batch: int, concurrency: int) -> None:
        self.max_batch = batch
        self.concurrency = concurrency

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        raise NotImplementedError


def flow_up_to_erp(
    *, batch: int = 1, concurrency: int = 4, **policy: Any
) -> tuple[Flow[Env], Topic[Order], Destination[Env, Order]]:
    """Orders of a shop, and an ERP that no route leads to; its arguments are those of a
    destination, with tiers of 10 s and 1 m."""
    flow = Flow("sales", Env)

    @flow.source
    def shop(env: Env) -> WebhookSource:
        return WebhookSource(port=0, key="/id")

    @flow.topic("orders", source=shop)
    def orders(record: Record) -> Order:
        return Order(id=record.key, status="paid", total_cents=record.data["number"])

    @flow.destination(**{"retry": Retry("10s", "1m"), **policy})
    def erp(env: Env) -> Erp:
        return Erp(batch, concurrency)

    return flow, orders, erp


def flow_of(**of_erp: Any) -> Flow[Env]:
    """Orders reach an ERP; see ``flow_up_to_erp``."""
    flow, orders, erp = flow_up_to_erp(**of_erp)

    @flow.route(orders, to=erp)
    def everything(order: Event[Order]) -> Order:
        return order.data

    return flow


class FlowUnderTest(FlowTest[Env]):
    """A flow of one source, topic and destination; ``script`` is the ERP's."""

    def __init__(self, made: Flow[Env], **test: Any) -> None:
        super().__init__(made, **test)
        (self.shop,), (self.orders,), (self.erp,) = made.sources, made.topics, made.destinations
        self.script: Script[Order] = self.destination(self.erp)
        self.sent = 0

    def send(self, *keys: str) -> None:
        """An order of each of these keys. Its id is the key, ``/`` and its number in all."""
        records = []
        for key in keys:
            self.sent += 1
            records.append(Record(key=key, data={"number": self.sent}, id=f"{key}/{self.sent}"))
        self.read(self.shop, *records)

    @property
    def arrived(self) -> list[str]:
        """The ids of what was delivered, in order."""
        return ids(self.script.delivered)


class ErpTest(FlowUnderTest):
    """``flow_of`` under test."""

    def __init__(
        self,
        *,
        start: str = NEW_YEAR,
        seed: int | None = None,
        partitions: int = 1,
        **flow: Any,
    ) -> None:
        super().__init__(flow_of(**flow), start=start, seed=seed, partitions=partitions)

    def break_reading(self, error: Exception, *, times: int, of: str = "") -> None:
        """So often, a value of the key ``of``, or any, cannot be read."""
        step = self._worker.deliveries["erp"].step
        read, left = step._decode, iter(range(times))

        def decode(value: bytes) -> Any:
            data = read(value)
            if data["id"].startswith(of) and next(left, None) is not None:
                raise error
            return data

        step._decode = decode


def ids(attempts: Sequence[Attempt[Any]]) -> list[str]:
    """The ids of events that were attempted."""
    return [attempt.id for attempt in attempts]


def times(attempts: Sequence[Attempt[Any]]) -> list[float]:
    """When, to 10 ms: timers are set a millisecond late, so that nothing is early."""
    return [round(attempt.at, 2) for attempt in attempts]
