"""Enrichment against a real HTTP service, on a real Kafka: not there yet, outages, kills, order."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
from aiohttp import web

from engine_kit import Env, Kit, eventually, headers_of, order
from trunkline import CircuitBreaker, Event, Flow, Retry, Retryable
from trunkline.connectors.base import Sink
from trunkline.schemas.commerce import Order, PickList

BREAKER = CircuitBreaker(open="200ms", longest="400ms", slow_start="0s")


@pytest.fixture
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


class Customers:
    """A service that knows who ordered. ``missing``: of whom it does not know yet."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.status = 200
        self.asked: Counter[str] = Counter()
        self.requests = 0
        self.url = ""

    async def note(self, request: httpx.Request) -> None:
        """A request is about to be sent."""
        self.requests += 1

    async def answer(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        self.asked[id_] += 1
        if self.status != 200:
            return web.Response(status=self.status)
        if id_ in self.missing:
            return web.Response(status=404)
        return web.json_response({"name": f"customer of {id_}"})


@asynccontextmanager
async def serving(customers: Customers, port: int = 0) -> AsyncIterator[Customers]:
    app = web.Application()
    app.router.add_get("/customers/{id}", customers.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    customers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield customers
    finally:
        await runner.cleanup()


class Picks(Sink[PickList]):
    """Notes what it gets: the ids by key, and the names."""

    type = PickList
    concurrency = 4

    def __init__(self, batch: int = 1) -> None:
        self.max_batch = batch
        self.ids: list[tuple[str, str]] = []
        self.names: set[str] = set()
        self.keys: set[str] = set()

    async def deliver(self, events: Sequence[Event[PickList]]) -> None:
        for event in events:
            self.ids.append((event.key, event.id))
            self.names.add(event.data["order_id"])
            self.keys.add(event.idempotency_key)

    def of(self, key: str) -> list[str]:
        """The ids of a key, in the order in which they came first."""
        return list(dict.fromkeys(id_ for other, id_ in self.ids if other == key))


def flow_to(sink: Sink[PickList], customers: Customers) -> Flow[Env]:
    flow = Flow(f"enriched-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(f"{flow.name}.orders", Order)

    @flow.destination(retry=Retry("300ms", "1s"))
    def warehouse(env: Env) -> Sink[PickList]:
        return sink

    @flow.client
    async def http(env: Env) -> AsyncIterator[httpx.AsyncClient]:
        hooks = {"request": [customers.note]}
        async with httpx.AsyncClient(base_url=customers.url, event_hooks=hooks) as client:
            yield client

    @flow.enrich(to=warehouse, breaker=BREAKER)
    async def with_customer(order: Order, http: httpx.AsyncClient) -> PickList:
        answer = await http.get(f"/customers/{order['id']}")
        if answer.status_code == 404:
            raise Retryable("the customer is not there yet")
        return PickList(order_id=answer.raise_for_status().json()["name"])

    @flow.route(orders, to=with_customer)
    def every_order(order: Event[Order]) -> Order:
        return order.data

    return flow


@pytest.mark.parametrize("batch", [1, 100])
def test_who_is_not_there_yet_waits_in_a_tier_and_others_flow(kit: Kit, batch: int) -> None:
    async def run() -> None:
        async with serving(Customers()) as customers:
            sink = Picks(batch)
            flow = flow_to(sink, customers)
            kit.create(flow)
            customers.missing.add("1")
            kit.produce(
                f"{flow.name}.orders",
                [
                    kit.event("late", "late-1", order(1)),
                    kit.event("late", "late-2", order(2)),
                    kit.event("other", "other-1", order(3)),
                ],
            )
            async with kit.running(flow):
                await eventually(lambda: sink.of("other"), "the other one is delivered")
                tier = f"{flow.name}.warehouse.retry.300ms"
                await eventually(lambda: kit.read(tier), "the late one is in its tier", asks=True)
                assert not sink.of("late")
                customers.missing.clear()
                await eventually(lambda: len(sink.of("late")) == 2, "the late ones are delivered")
            assert sink.of("late") == ["late-1", "late-2"]
            assert sink.names == {f"customer of {number}" for number in (1, 2, 3)}
            assert len(sink.keys) == 3

    asyncio.run(run())


@pytest.mark.parametrize("batch", [1, 100])
def test_an_outage_of_the_service_burns_no_attempt(kit: Kit, batch: int) -> None:
    async def run() -> None:
        async with serving(Customers()) as customers:
            sink = Picks(batch)
            flow = flow_to(sink, customers)
            kit.create(flow)
            customers.status = 503
            kit.produce(
                f"{flow.name}.orders",
                [kit.event(f"k{n % 20}", f"{n:03}", order(n)) for n in range(200)],
            )
            async with kit.running(flow):
                await eventually(lambda: customers.asked.total() > 20, "it is asked again")
                assert not sink.ids
                customers.status = 200
                await eventually(lambda: len(set(sink.ids)) == 200, "all are delivered")
            for key in range(20):
                assert sink.of(f"k{key}") == sorted(sink.of(f"k{key}"))
            assert not kit.read(f"{flow.name}.warehouse.retry.300ms")
            assert not kit.read(f"{flow.name}.warehouse.dlq")

    asyncio.run(run())


def test_what_the_service_refuses_is_a_dead_letter(kit: Kit) -> None:
    async def run() -> None:
        async with serving(Customers()) as customers:
            flow = flow_to(Picks(), customers)
            kit.create(flow)
            customers.status = 410
            kit.produce(f"{flow.name}.orders", [kit.event("gone", "gone-1", order(1))])
            async with kit.running(flow):
                dlq = f"{flow.name}.warehouse.dlq"
                await eventually(lambda: kit.read(dlq), "it is dead-lettered", asks=True)
            (letter,) = kit.read(dlq)
            headers = headers_of(letter)
            assert headers["tl_error_class"] == "Rejected"
            assert "410" in headers["tl_error"]
            assert "in the enrichment with_customer" in headers["tl_traceback"]
            # What is in the DLQ is what was in the inbox, so that it can be sent again.
            assert kit.codec.decoder(Order)(letter.value() or b"")["id"] == "1"

    asyncio.run(run())


def test_a_service_that_cannot_be_connected_to_is_an_outage(kit: Kit) -> None:
    async def run() -> None:
        customers, sink = Customers(), Picks()
        async with serving(customers):
            pass  # its port refuses connections from here on
        flow = flow_to(sink, customers)
        kit.create(flow)
        kit.produce(f"{flow.name}.orders", [kit.event("k", "k-1", order(1))])
        async with kit.running(flow):
            await eventually(lambda: customers.requests >= 5, "it is asked seldom, and again")
            async with serving(customers, int(customers.url.rpartition(":")[2])):
                await eventually(lambda: sink.of("k"), "it is delivered")
        assert not kit.read(f"{flow.name}.warehouse.retry.300ms")

    asyncio.run(run())
