"""A real HTTP API on a free port, and what a delivery to it comes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from aiohttp import web

from trunkline.connectors.base import CallLimits
from trunkline.connectors.contract import make_event
from trunkline.connectors.http import HttpSink
from trunkline.errors import DeliveryError
from trunkline.event import Event

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Item(TypedDict):
    id: str
    name: str


def events(*names: str) -> list[Event[Any]]:
    return [make_event(name, Item(id=name, name=name)) for name in names]


@asynccontextmanager
async def api(handle: Handler) -> AsyncIterator[str]:
    """A server on a free port; yields its address."""

    async def route(request: web.Request) -> web.Response:
        return await handle(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", route)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def delivered(
    handle: Handler, sent: Sequence[Event[Any]], limits: CallLimits | None = None, **options: Any
) -> DeliveryError | None:
    """What a delivery of one call comes to."""

    async def run() -> DeliveryError | None:
        async with api(handle) as url:
            sink: HttpSink[Item] = HttpSink(url, Item, **options)
            sink.configure(limits or CallLimits())
            await sink.open()
            try:
                await sink.deliver(sent)
            except DeliveryError as error:
                return error
            finally:
                await sink.close()
            return None

    return asyncio.run(run())
