"""A destination of the demo: an HTTP API that keeps what it is sent, and when it came.

``python -m trunkline.demo.receiver PORT``: a process of its own, as another system's API is.
``GET /count`` and ``GET /arrivals`` tell what came, in its order. ``POST /outage`` with a number of
seconds puts it out of service for so long, and ``GET /refused`` tells how many requests came then.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import orjson
from aiohttp import web


class Receiver:
    """What came, and until when nothing is taken."""

    def __init__(self) -> None:
        self._arrivals: list[tuple[float, str, Any]] = []
        self._keys: set[str] = set()
        self._refused = 0
        self._down_until = 0.0

    async def receive(self, request: web.Request) -> web.Response:
        """Take a message: 201. Without an idempotency key, or with a body that is no JSON: 400.
        In an outage: 503."""
        moment = time.time()
        if time.monotonic() < self._down_until:
            self._refused += 1
            return web.Response(status=503, text="out of service")
        key = request.headers.get("Idempotency-Key")
        if not key:
            return web.Response(status=400, text="the header Idempotency-Key is missing")
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            return web.Response(status=400, text=f"the body is no JSON: {error}")
        self._keys.add(key)
        self._arrivals.append((moment, key, body))
        return web.Response(status=201)

    async def outage(self, request: web.Request) -> web.Response:
        """Take nothing for so many seconds from now on."""
        self._down_until = time.monotonic() + float(await request.text())
        return web.Response(status=204)

    async def count(self, request: web.Request) -> web.Response:
        """How many different messages came."""
        return _json(len(self._keys))

    async def refused(self, request: web.Request) -> web.Response:
        """How many requests came in an outage."""
        return _json(self._refused)

    async def arrivals(self, request: web.Request) -> web.Response:
        """All that came: ``[[moment, idempotency key, body], …]``."""
        return _json(self._arrivals)


def _json(content: Any) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


async def serve(port: int) -> None:
    """Until the process is told to end."""
    kept, api = Receiver(), web.Application()
    for path, page in (("count", kept.count), ("refused", kept.refused)):
        api.router.add_get(f"/{path}", page)
    api.router.add_get("/arrivals", kept.arrivals)
    api.router.add_post("/outage", kept.outage)
    for method in ("POST", "PUT"):
        api.router.add_route(method, "/{path:.*}", kept.receive)
    runner = web.AppRunner(api, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
