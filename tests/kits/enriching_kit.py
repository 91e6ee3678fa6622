"""A flow whose destination has an enrichment, in memory: pick lists become orders by asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from delivery_kit import Env, FlowUnderTest, flow_up_to_erp
from trunkline import Event, Flow
from trunkline.schemas.commerce import Order, PickList


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
    flow, orders, erp = flow_up_to_erp(batch=batch, **policy)

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


class EnrichTest(FlowUnderTest):
    """``enriching`` under test."""

    def __init__(self, prices: Prices, *, partitions: int = 1, **flow: Any) -> None:
        super().__init__(enriching(prices, **flow), partitions=partitions)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric of this worker."""
        wanted = labels.items()
        return sum(
            sample.value
            for family in self._parts.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and wanted <= sample.labels.items()
        )
