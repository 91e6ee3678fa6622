"""A flow whose destination has an enrichment, in memory: pick lists become orders by asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from trunkline import Event, Flow, Params, Record, Retry
from trunkline.connectors.base import Sink
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.commerce import Order, PickList
from trunkline.testing import FlowTest, Script


class Env(Params):
    pass


class Erp(Sink[Order]):
    """What a script stands in for."""

    type = Order
    accepts_deletes = True
    concurrency = 4

    def __init__(self, batch: int) -> None:
        self.max_batch = batch

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        raise NotImplementedError


class Prices:
    """A system that knows prices: what an enrichment asks. ``asked``: the ids, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.under_way = self.most = 0
        self.does: Callable[[str], Any] = lambda id: 100
        self.takes = 0.0
        self.opened = self.closed = 0
        self.opens: Callable[[], None] = lambda: None

    async def of(self, id: str) -> Any:
        """What the test says; an exception is raised."""
        self.asked.append(id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        found = self.does(id)
        if isinstance(found, Exception):
            raise found
        return found


def enriching(prices: Prices, *, batch: int = 1, enrich: Any = None, **policy: Any) -> Flow[Env]:
    """Pick lists reach an ERP as orders, with their price; ``enrich``: arguments of that."""
    flow = Flow("sales", Env)

    @flow.source
    def shop(env: Env) -> WebhookSource:
        raise NotImplementedError

    @flow.topic("orders", source=shop)
    def orders(record: Record) -> Order:
        return Order(id=record.key, status="paid", total_cents=record.data["number"])

    @flow.destination(**{"retry": Retry("10s", "1m"), **policy})
    def erp(env: Env) -> Erp:
        return Erp(batch)

    @flow.client
    async def price_list(env: Env) -> AsyncIterator[Prices]:
        prices.opens()
        prices.opened += 1
        yield prices
        prices.closed += 1

    @flow.enrich(to=erp, **(enrich or {}))
    async def priced(pick: PickList, env: Env, prices: Prices) -> Order | None:
        assert isinstance(env, Env)
        price = await prices.of(pick["order_id"])
        if price is None:
            return None
        pick["order_id"] += "!"  # what a function does to its argument concerns nobody else
        return Order(id=pick["order_id"], status="priced", total_cents=price)

    @flow.route(orders, to=priced)
    def picked(order: Event[Order]) -> PickList:
        return PickList(order_id=order.data["id"])

    return flow


class EnrichTest(FlowTest[Env]):
    """``enriching`` under test; ``script`` is the ERP's."""

    def __init__(self, prices: Prices, *, partitions: int = 1, **flow: Any) -> None:
        made = enriching(prices, **flow)
        super().__init__(made, partitions=partitions)
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
        return [attempt.id for attempt in self.script.delivered]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric of this worker."""
        wanted = labels.items()
        return sum(
            sample.value
            for family in self._parts.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and wanted <= sample.labels.items()
        )
