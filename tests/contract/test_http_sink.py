"""HttpSink passes the acceptance suite, on an API that keeps what it is sent."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, Literal, TypedDict

import pytest
from aiohttp import web

from trunkline.connectors.contract import SinkContract
from trunkline.connectors.http import HttpSink
from trunkline.event import Event


class Item(TypedDict):
    id: str
    revision: int


class Api:
    """PUT and DELETE of items, idempotent by Idempotency-Key, in a thread of its own."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}
        self.seen: set[str] = set()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Api:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        app = web.Application()
        app.router.add_put("/items/{key}", self._put)
        app.router.add_delete("/items/{key}", self._delete)
        app.router.add_post("/items", self._post)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _put(self, request: web.Request) -> web.Response:
        item = json.loads(await request.read())
        if item["revision"] < 0:
            return web.Response(status=422, text="revisions are not negative")
        if self._is_new(request):
            self.items[request.match_info["key"]] = item["revision"]
        return web.Response(status=204)

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        lines = request.headers["Content-Type"] == "application/x-ndjson"
        items = [json.loads(line) for line in body.splitlines()] if lines else json.loads(body)
        if any(item["revision"] < 0 for item in items):
            return web.Response(status=422, text="revisions are not negative")
        if self._is_new(request):
            self.items |= {item["id"]: item["revision"] for item in items}
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        if self._is_new(request):
            self.items.pop(request.match_info["key"], None)
        return web.Response(status=204)

    def _is_new(self, request: web.Request) -> bool:
        id = request.headers["Idempotency-Key"]
        new = id not in self.seen
        self.seen.add(id)
        return new


class OnApi(SinkContract):
    secrets = ("t0ken",)
    delete_method: str | None

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with Api() as self.api:
            yield

    def sink(self) -> HttpSink[Item]:
        return self.on_port(self.api.port)

    def on_port(self, port: int) -> HttpSink[Item]:
        url = f"http://127.0.0.1:{port}/items"
        return HttpSink(
            url,
            Item,
            method="PUT",
            path="/{key}",
            token="t0ken",
            delete_method=self.delete_method,
        )

    def contents(self) -> dict[str, int]:
        return dict(self.api.items)

    def effects(self) -> int:
        return len(self.api.seen)

    def unreachable_sink(self) -> HttpSink[Item]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return self.on_port(taken.getsockname()[1])

    def unacceptable(self, key: str) -> Event[Any]:
        return self.event(key, -1)


class TestWithDeletes(OnApi):
    delete_method = "DELETE"


class TestWithoutDeletes(OnApi):
    delete_method = None


class OfBatches(OnApi):
    form: Literal["array", "lines"]

    def on_port(self, port: int) -> HttpSink[Item]:
        url = f"http://127.0.0.1:{port}/items"
        return HttpSink(url, Item, token="t0ken", batch=self.form)


class TestArrays(OfBatches):
    form = "array"


class TestLines(OfBatches):
    form = "lines"
