"""A worker's life on real servers: its health pages, what it waits for, what it refuses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine_kit import Env, Kit, Scripted, delivering, eventually, order
from trunkline import ConfigurationError, Event, Rejected, Unavailable
from trunkline.admin.destinations import destination_status
from trunkline.admin.targets import Target
from trunkline.local.ports import free_port
from trunkline.schemas.commerce import Order
from trunkline.streams.worker.process import Options, Worker


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


class Pages:
    """A worker's health pages."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    async def status(self, page: str) -> int:
        """The page's status; 0: nobody answers."""
        try:
            return (await self._get(page)).status_code
        except httpx.ConnectError:
            return 0

    async def json(self, page: str) -> Any:
        return (await self._get(page)).json()

    async def metrics(self) -> dict[tuple[str, str], float]:
        """Every value, by the metric's name and its step, or its class of error."""
        text = (await self._get("/metrics")).text
        return {
            (sample.name, sample.labels.get("error") or sample.labels.get("step", "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def until(self, page: str, status: int) -> None:
        """Wait until the page has this status; on the way it must never fail itself."""
        while (now := await self.status(page)) != status:
            assert now in (0, 200, 503)
            await asyncio.sleep(0.02)

    async def _get(self, page: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(self._url + page)


async def stopped(worker: Worker) -> None:
    """Run a worker that is to end by itself."""
    await asyncio.wait_for(worker.run(asyncio.Event()), 30)


def test_ready_when_its_consumers_have_their_partitions(kit: Kit) -> None:
    class Opening(Scripted):
        may_open = asyncio.Event()

        async def open(self) -> None:
            await self.may_open.wait()

    async def run() -> None:
        port, sink = free_port(), Opening()
        pages = Pages(port)
        async with kit.running(delivering(sink), port=port):
            await asyncio.wait_for(pages.until("/healthz", 200), 30)
            assert await pages.status("/readyz") == 503
            assert await pages.json("/readyz") == {"ready": False, "held": []}
            sink.may_open.set()
            await asyncio.wait_for(pages.until("/readyz", 200), 30)
            assert await pages.json("/readyz") == {"ready": True, "held": []}
        assert await pages.status("/healthz") == 0

    asyncio.run(run())


@pytest.mark.parametrize("error", [ConfigurationError, Unavailable])
def test_a_destination_that_cannot_be_opened_holds_itself_alone(
    kit: Kit, error: type[Exception]
) -> None:
    """As SqlSink says where a column is missing: it is added while the worker runs."""

    class Waiting(Scripted):
        mended = False

        async def open(self) -> None:
            if not self.mended:
                raise error("table orders lacks column channel")

    async def run() -> None:
        port, sink, other = free_port(), Waiting(), Scripted()
        flow, pages = delivering(sink), Pages(port)

        @flow.destination
        def mart(env: Env) -> Scripted:
            return other

        @flow.route(flow.topics[0], to=mart)
        def to_mart(event: Event[Order]) -> Order:
            return event.data

        kit.create(flow)
        kit.produce(f"{flow.name}.orders", [kit.event("k", "1")])
        async with kit.running(flow, port=port):
            await asyncio.wait_for(pages.until("/readyz", 200), 30)
            assert await pages.json("/readyz") == {"ready": True, "held": ["erp"]}
            await eventually(lambda: other.ids == ["1"], "the other destination has it")
            target = Target.parse(f"{flow.name}.erp")
            found = await asyncio.to_thread(destination_status, kit.backbone, target)
            while not found.workers:
                found = await asyncio.to_thread(destination_status, kit.backbone, target)
            assert [(w.state, w.why) for w in found.workers] == [
                ("cannot-open", "table orders lacks column channel")
            ]
            sink.mended = True
            await eventually(lambda: sink.ids == ["1"], "delivered once it is mended")
            assert await pages.json("/readyz") == {"ready": True, "held": []}

    asyncio.run(run())


def test_metrics_count_what_happens_and_what_waits(kit: Kit) -> None:
    """Ten orders are routed; one is rejected, and then the destination is down."""
    up = asyncio.Event()

    def answer(event: Event[Order], attempt: int) -> Exception | None:
        if event.key == "bad":
            return Rejected("no")
        return None if up.is_set() or len(sink.delivered) < 4 else Unavailable("down")

    sink = Scripted(answer)
    flow = delivering(sink)
    kit.create(flow)
    events = [kit.event("bad", "bad")] + [kit.event("k", str(n), order(n)) for n in range(9)]
    kit.produce(f"{flow.name}.orders", events)

    async def run() -> None:
        port = free_port()
        pages = Pages(port)
        async with kit.running(flow, port=port):
            await eventually(lambda: len(sink.attempts) > 8, "tried while it is down")
            held = await pages.metrics()
            assert await pages.json("/readyz") == {"ready": True, "held": ["erp"]}
            up.set()
            await eventually(lambda: len(sink.delivered) == 9, "all delivered")
            done = await pages.metrics()
        assert held["trunkline_lag_messages", "deliver"] == 5
        assert held["trunkline_lag_seconds", "deliver"] > 0
        assert held["trunkline_errors_total", "Unavailable"] >= 1
        assert done["trunkline_lag_messages", "route"] == 0
        assert done["trunkline_events_in_total", "route"] == 10
        assert done["trunkline_events_out_total", "route"] == 10
        assert done["trunkline_events_in_total", "deliver"] == 10
        assert done["trunkline_events_out_total", "deliver"] == 9
        assert done["trunkline_dead_letters_total", "deliver"] == 1
        assert done["trunkline_errors_total", "Rejected"] == 1
        assert done["trunkline_transaction_failures_total", "route"] == 0
        assert done["trunkline_batch_seconds_count", "deliver"] >= 10

    asyncio.run(run())


def test_a_taken_port_is_named(kit: Kit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = Worker(delivering(Scripted()), Env(), kit.backbone, Options(port=port))
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}: .*--port"):
            asyncio.run(stopped(worker))


def test_missing_topics_are_named_where_nothing_may_be_created(kit: Kit) -> None:
    flow = delivering(Scripted())
    forbidden = kit.backbone.model_copy(update={"create": False})
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(stopped(Worker(flow, Env(), forbidden)))
    for topic in ("orders", "erp.inbox", "erp.dlq"):
        assert f"{flow.name}.{topic}" in str(caught.value)
    assert "create = true" in str(caught.value)


def test_missing_schemas_are_named_where_nothing_may_be_registered(kit: Kit) -> None:
    flow = delivering(Scripted())
    kit.create(flow)
    forbidden = kit.backbone.model_copy(update={"create": False})
    with pytest.raises(ConfigurationError, match=rf"{flow.name}\.erp\.inbox-value"):
        asyncio.run(stopped(Worker(flow, Env(), forbidden)))


def test_what_a_builder_raises_ends_the_start(kit: Kit) -> None:
    flow = delivering(Scripted())

    def erp(env: Env) -> Scripted:
        raise LookupError("no such system")

    flow.destinations[0].function = erp
    with pytest.raises(LookupError, match="no such system"):
        asyncio.run(stopped(Worker(flow, Env(), kit.backbone)))


class Gate:
    """A port that refuses until it is opened, and then leads to the real server. In a thread of
    its own, since a worker asks the registry from the event loop."""

    def __init__(self, address: str) -> None:
        self.port = free_port()
        host, _, port = address.rpartition(":")
        self._to = host, int(port)
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._led: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_server(self._enter, "127.0.0.1", self.port):
            await self._closing.wait()
            for one in self._led:
                one.cancel()
            await asyncio.gather(*self._led, return_exceptions=True)

    def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._led.add(asyncio.create_task(self._lead(reader, writer)))

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(*self._to)
        try:
            ways = (_pipe(reader, outer), _pipe(inner, writer))
            await asyncio.wait(map(asyncio.ensure_future, ways), return_when="FIRST_COMPLETED")
        finally:
            for end in (writer, outer):
                end.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # either side may hang up
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()


@pytest.mark.parametrize("down", ["kafka", "registry"])
def test_the_start_waits_for_what_is_down_and_tells_so(kit: Kit, down: str) -> None:
    """Kafka tells its own address to its clients, so the gate is only the first way in."""

    async def run() -> None:
        port, sink = free_port(), Scripted()
        flow, pages = delivering(sink), Pages(port)
        kit.create(flow)
        kit.produce(f"{flow.name}.orders", [kit.event("k", "1")])
        url = httpx.URL(kit.backbone.registry)
        gate = Gate(kit.backbone.bootstrap if down == "kafka" else f"{url.host}:{url.port}")
        way = f"127.0.0.1:{gate.port}"
        changed = (
            {"bootstrap": way}
            if down == "kafka"
            else {"registry": str(url.copy_with(host="127.0.0.1", port=gate.port))}
        )
        backbone = kit.backbone.model_copy(update=changed)
        stop = asyncio.Event()
        options = Options(roles=("route", "deliver"), port=port)
        task = asyncio.create_task(Worker(flow, Env(), backbone, options).run(stop))
        await asyncio.wait_for(pages.until("/healthz", 200), 30)
        assert await pages.status("/readyz") == 503
        gate.open()
        await eventually(lambda: task.done() or sink.ids == ["1"], "delivered")
        stop.set()
        await asyncio.wait_for(task, 30)
        gate.close()
        assert sink.ids == ["1"]

    asyncio.run(run())
