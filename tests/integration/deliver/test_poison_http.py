"""Events that kill whatever serves them, among others: on a real Kafka, with a real HTTP API."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from engine_kit import Env, Kit, eventually, headers_of, order
from trunkline import Event, Flow, Retry
from trunkline.connectors.base import Sink
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

POISON = ("502", "reset", "hang", "later")


@pytest.fixture
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


class Api:
    """Accepts what it gets, but for four keys."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.asked: Counter[str] = Counter()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key, id_ = request.match_info["key"], request.headers["Idempotency-Key"]
        self.asked[id_] += 1
        if key == "502":
            return web.Response(status=502)
        if key == "later":
            return web.Response(status=503, headers={"Retry-After": "1"})
        if key == "reset":
            assert request.transport is not None
            request.transport.abort()
        if key in ("hang", "reset"):
            await asyncio.sleep(60)
        self.taken.append(id_)
        return web.Response(status=204)


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[Api]:
    app = web.Application()
    app.router.add_post("/{key}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()


def flow_to(sink: Sink[Order], **policy: Any) -> Flow[Env]:
    flow = Flow(f"poison-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(f"{flow.name}.orders", Order)

    @flow.destination(**policy)
    def erp(env: Env) -> Sink[Order]:
        return sink

    @flow.route(orders, to=erp)
    def every_order(order: Event[Order]) -> Order:
        return order.data

    return flow


def test_one_event_of_each_class_ends_in_the_dead_letter_queue_and_all_others_flow(
    kit: Kit,
) -> None:
    async def run() -> None:
        async with serving(Api()) as api:
            sink = HttpSink(api.url, Order, path="/{key}", timeout=1.0)
            flow = flow_to(sink, retry=Retry("100ms", "300ms"))
            kit.create(flow)
            inbox = f"{flow.name}.erp.inbox"
            kit.produce(inbox, [kit.event(key, f"bad {key}", order()) for key in POISON])
            async with kit.running(flow):
                sent = 0

                def dead() -> set[str]:
                    nonlocal sent
                    kit.produce(
                        inbox, [kit.event(f"k{n}", f"good {sent}-{n}", order()) for n in range(20)]
                    )
                    sent += 1
                    return {headers_of(m)["ce_id"] for m in kit.read(f"{flow.name}.erp.dlq")}

                await eventually(lambda: len(dead()) == 4, "the poison is dead-lettered", asks=True)
                await eventually(lambda: len(set(api.taken)) == 20 * sent, "all others flow")
            assert dead() == {f"bad {key}" for key in POISON}
            letters = [headers_of(m) for m in kit.read(f"{flow.name}.erp.dlq")]
            assert {letter["tl_attempt"] for letter in letters} == {"3"}

    asyncio.run(run())


class Patient(Sink[Order]):
    """Takes everything but the key ``poison``, for which it needs an hour."""

    type = Order
    max_batch = 500
    concurrency = 4

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.waits = False
        self.released = asyncio.Event()

    async def deliver(self, events: Sequence[Event[Order]]) -> None:
        if any(event.key == "poison" for event in events):
            self.waits = True
            await self.released.wait()
        self.taken.update(event.id for event in events)


def test_what_is_completed_behind_an_open_offset_stops_no_other_partition(kit: Kit) -> None:
    """30,000 events a partition: more than a commit can tell apart, and than memory takes."""

    async def run() -> None:
        sink = Patient()
        flow = flow_to(sink, batch=500)
        kit.create(flow)
        inbox = f"{flow.name}.erp.inbox"
        kit.produce(inbox, [kit.event("poison", "poison", order())])
        (stuck,) = {message.partition() for message in kit.read(inbox)}
        data = kit.encode(order())
        more = [kit.event(f"k{n % 500}", f"{n}", data) for n in range(60_000)]
        async with kit.running(flow):
            await eventually(lambda: sink.waits, "a call has nothing but the poison")
            await asyncio.to_thread(kit.produce, inbox, more)
            others = {
                headers_of(m)["ce_id"]
                for m in await asyncio.to_thread(kit.read, inbox)
                if m.partition() != stuck
            }
            assert len(others) > 25_000
            try:
                await eventually(lambda: others <= sink.taken, "the other partition is read")
                here = len(sink.taken - others)
                assert here <= 15_000 + 10_000, "what a commit can tell, and what was under way"
            finally:
                sink.released.set()
            await eventually(lambda: len(sink.taken) == 60_001, "and then all of it")

    asyncio.run(run())
