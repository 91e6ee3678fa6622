"""A worker whose routes look something up: it routes when its tables have caught up."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine_kit import Env, Kit, Scripted, eventually
from trunkline import Event, Flow, Index, Table, kafka
from trunkline.local.ports import free_port
from trunkline.schemas.commerce import Order
from trunkline.streams.flow.table import StoreKind


@pytest.fixture
def kit(bootstrap: str, registry_url: str, tmp_path: Path) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    made.backbone = made.backbone.model_copy(update={"data": str(tmp_path)})
    yield made
    made.close()


def flow_that_looks_up(store: StoreKind) -> Flow[Env]:
    """Each order gets the price that its key has in another topic, and the number of all open
    orders that the table has."""
    flow = Flow(f"tables-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(f"{flow.name}.orders", Order)
    prices = flow.existing_topic(f"{flow.name}.prices", Order)
    flow.table(prices, name="prices", store=store)
    flow.table(prices, by="status", name="by_status", store=store)

    @flow.destination
    def erp(env: Env) -> Scripted:
        return Scripted()

    @flow.route(orders, to=erp)
    def priced(order: Event[Order], prices: Table[Order], by_status: Index[Order]) -> Order:
        alike = len(by_status.get("open"))
        cents = prices[order.data["id"]]["total_cents"]
        return Order(id=order.data["id"], status=f"{alike} open", total_cents=cents)

    return flow


def produce(kit: Kit, topic: str, *orders: tuple[str, str, int]) -> None:
    made = [Order(id=id, status=status, total_cents=cents) for id, status, cents in orders]
    kit.produce(topic, [kit.event(one["id"], uuid.uuid4().hex, one) for one in made])


def routed(kit: Kit, flow: Flow[Any]) -> list[tuple[str, int]]:
    decode = kit.codec.decoder(Order)
    found = [decode(message.value() or b"") for message in kit.read(flow.destinations[0].inbox)]
    return sorted((order["status"], order["total_cents"]) for order in found)


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_a_route_finds_all_that_was_there_when_the_worker_started(
    kit: Kit, store: StoreKind
) -> None:
    flow = flow_that_looks_up(store)
    kit.create(flow)
    prices = [(str(n), "open" if n % 2 else "shut", n * 10) for n in range(6)]
    produce(kit, f"{flow.name}.orders", ("1", "new", 0), ("2", "new", 0))
    produce(kit, f"{flow.name}.prices", *prices)

    async def run() -> None:
        async with kit.running(flow, "route"):
            await eventually(lambda: len(routed(kit, flow)) == 2, "routed", asks=True)
        # What comes while the worker is down is there when the next one routes.
        produce(kit, f"{flow.name}.orders", ("1", "new", 0))
        produce(kit, f"{flow.name}.prices", ("1", "shut", 11))
        async with kit.running(flow, "route"):
            await eventually(lambda: len(routed(kit, flow)) == 3, "routed", asks=True)

    asyncio.run(run())
    assert routed(kit, flow) == [("2 open", 11), ("3 open", 10), ("3 open", 20)]
    assert kit.read(flow.destinations[0].dlq) == []


def test_a_worker_is_not_ready_and_routes_nothing_before_its_tables_have_caught_up(
    kit: Kit,
) -> None:
    flow = flow_that_looks_up("memory")
    kit.create(flow)
    produce(kit, f"{flow.name}.orders", ("1", "new", 0))
    open_ = kafka.producer(kit.backbone, transactional_id=flow.name)
    open_.init_transactions(30)
    open_.begin_transaction()
    key, value, headers = kit.event("1", "1", Order(id="1", status="open", total_cents=7))
    open_.produce(f"{flow.name}.prices", value, key, headers=headers)
    open_.flush(30)
    port = free_port()

    async def page() -> tuple[int, Any]:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/readyz")
            except httpx.TransportError:
                return 0, {}
        return answer.status_code, answer.json()

    async def until(status: int, reading: list[str]) -> None:
        async with asyncio.timeout(30):
            while (found := await page()) != (
                status,
                {"ready": status == 200, "held": [], "reading": reading},
            ):
                assert found[0] in (0, 503), found
                await asyncio.sleep(0.05)

    async def run() -> None:
        async with kit.running(flow, "route", port=port):
            await until(503, ["prices", "by_status"])
            assert await asyncio.to_thread(routed, kit, flow) == []
            await asyncio.to_thread(open_.commit_transaction, 30)
            await until(200, [])
            await eventually(lambda: routed(kit, flow) == [("1 open", 7)], "routed", asks=True)

    asyncio.run(run())
