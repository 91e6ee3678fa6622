"""What is down holds events: none is lost or dead-lettered, none passes another of its key."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from urllib.parse import urlsplit

import fastavro
import pytest
from checker import disorders, ids_by_key

from threaded_server import ThreadedServer
from trunkline.local.ports import free_port
from trunkline.params import Backbone
from trunkline.schemas.codec import PREFIX
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from trunkline.schemas.types import schema_of
from worker_kit import Destination, Feed, Workers, eventually, header, read

KEYS = 50


def numbered(count: int, first: int = 0) -> list[tuple[str, int]]:
    return [(f"k{number % KEYS}", number) for number in range(first, first + count)]


def delivered(destination: Destination) -> int:
    return len({delivery.id for delivery in destination.deliveries})


def assert_complete(backbone: Backbone, name: str, destination: Destination) -> None:
    expected = ids_by_key(read(backbone, f"{name}.orders"))
    assert disorders(expected, destination.deliveries) == {}
    assert read(backbone, f"{name}.api.dlq") == []


def test_a_destination_that_is_down_loses_nothing(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    feed.orders(numbered(500))
    (worker,) = workers.started("route,deliver")
    eventually(lambda: delivered(destination) > 100, "it delivers")
    destination.down()
    feed.orders(numbered(500, 500))
    eventually(lambda: worker.says("deliveries are held"), "it is held")
    destination.up()
    eventually(lambda: delivered(destination) == 1000, "everything is delivered")
    assert_complete(backbone, name, destination)


def test_workers_that_come_and_go_during_an_outage_go_on_after_it(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url, longest="5s")
    destination.down()
    feed.orders(numbered(300))
    (first,) = workers.started("route,deliver")
    eventually(lambda: first.says("deliveries are held"), "it is held")
    (second,) = workers.started("deliver")
    eventually(lambda: second.says("deliveries are held"), "the second is held, too")
    workers.stop(second)  # the first gets everything back while its destination is down
    eventually(lambda: first.says("assigned", 4), "it has everything")
    destination.up()
    eventually(lambda: delivered(destination) == 300, "everything is delivered")
    assert_complete(backbone, name, destination)


def test_a_503_is_an_outage_and_no_reason_for_the_dlq(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    destination.status = 503
    feed.orders(numbered(300))
    workers.started("route,deliver")
    eventually(lambda: len(destination.refused) >= 3, "it is tried again")
    destination.status = 204
    eventually(lambda: delivered(destination) == 300, "everything is delivered")
    assert_complete(backbone, name, destination)


class Proxy(ThreadedServer):
    """The registry at another port, which can be unplugged. A context manager."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._port = free_port()
        self.url = self._target._replace(netloc=f"127.0.0.1:{self._port}").geturl()
        self._open: set[asyncio.StreamWriter] = set()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self._port)

    async def _end(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.hostname, self._target.port
        there_reader, there = await asyncio.open_connection(host, port)
        await asyncio.gather(self._copy(reader, there), self._copy(there_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass  # the other side went away, which closes this one as well
        finally:
            self._open.discard(writer)
            writer.close()

    async def _leave(self) -> None:
        await self._end()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def registry_proxy(registry_url: str) -> Iterator[Proxy]:
    with Proxy(registry_url) as proxy:
        yield proxy


def newer_order(backbone: Backbone, topic: str, key: str, number: int) -> bytes:
    """An order under a version of its schema that no worker has seen."""
    schema = json.loads(schema_of(Order).json)
    schema["fields"].append({"name": "note", "type": "string", "default": ""})
    with closing(Registry(backbone.registry)) as registry:
        id_ = registry.register(f"{topic}-value", json.dumps(schema))
    out = BytesIO()
    order = {"id": key, "status": "paid", "total_cents": number, "note": "new"}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), order)
    return PREFIX.pack(0, id_) + out.getvalue()


def test_a_registry_that_is_down_holds_and_dead_letters_nothing(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    registry_proxy: Proxy,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url, trunkline_registry=registry_proxy.url)
    feed.orders(numbered(100))
    (worker,) = workers.started("route,deliver")
    eventually(lambda: delivered(destination) == 100, "it delivers")
    registry_proxy.down()
    for number in range(100, 200):
        feed.raw(b"k1", newer_order(backbone, feed.topic, "k1", number))
    feed.orders(numbered(100, 200))
    eventually(lambda: worker.says("is held, others go on"), "it is held")
    registry_proxy.up()
    eventually(lambda: delivered(destination) == 300, "everything is delivered")
    assert_complete(backbone, name, destination)


def test_what_is_read_behind_a_held_batch_is_not_committed_before_it(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    registry_proxy: Proxy,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url, trunkline_registry=registry_proxy.url)
    feed.orders([("k1", 0)])
    (worker,) = workers.started("route,deliver")
    eventually(lambda: delivered(destination) == 1, "it delivers")
    registry_proxy.down()
    feed.raw(b"k1", newer_order(backbone, feed.topic, "k1", 1))
    feed.flush()
    eventually(lambda: worker.says("is held, others go on"), "it is held")
    feed.orders(("k1", number) for number in range(2, 50))
    eventually(lambda: worker.says("is held, others go on", 4), "it is tried again and again")
    workers.stop()
    registry_proxy.up()
    workers.started("route,deliver")
    eventually(lambda: destination.deliveries[-1].body["total_cents"] == 49, "the last is there")
    assert_complete(backbone, name, destination)


def test_a_kill_while_dead_letters_are_written_writes_each_once(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    destination.status, destination.delay = 422, 0.01
    total = 6000
    feed.orders(numbered(total))
    workers.started("route", "deliver", "deliver")
    for part in (1000, 2000):
        eventually(lambda n=part: len(destination.refused) > n, "it rejects")
        workers.kill(workers.of("deliver")[0])
        workers.start("deliver")
    tried = {delivery.id for delivery in destination.refused}
    assert len(tried) < total, "it was through before it was killed"
    dlq = f"{name}.api.dlq"
    eventually(lambda: len(read(backbone, dlq)) >= total, "all are dead-lettered", 120)
    workers.stop()
    letters = read(backbone, dlq)
    dead = Counter(header(message, "tl_dead_from") for message in letters)
    inbox = read(backbone, f"{name}.api.inbox")
    assert set(dead) == {f"{m.topic()}/{m.partition()}/{m.offset()}" for m in inbox}
    assert set(dead.values()) == {1}
