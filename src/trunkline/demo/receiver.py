"""A destination of the demo: an HTTP API that keeps what it is sent, and when it came.

``python -m trunkline.demo.receiver PORT``: a process of its own, as another system's API is.
``GET /count`` and ``GET /arrivals`` tell what came, in its order.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import orjson
from aiohttp import web

_arrivals: list[tuple[float, str, Any]] = []
_keys: set[str] = set()


async def receive(request: web.Request) -> web.Response:
    """Take a message: 201. Without an idempotency key, or with a body that is no JSON: 400."""
    moment = time.time()
    key = request.headers.get("Idempotency-Key")
    if not key:
        return web.Response(status=400, text="the header Idempotency-Key is missing")
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        return web.Response(status=400, text=f"the body is no JSON: {error}")
    _keys.add(key)
    _arrivals.append((moment, key, body))
    return web.Response(status=201)


async def count(request: web.Request) -> web.Response:
    """How many different messages came."""
    return _json(len(_keys))


async def arrivals(request: web.Request) -> web.Response:
    """All that came: ``[[moment, idempotency key, body], …]``."""
    return _json(_arrivals)


def _json(content: Any) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


async def serve(port: int) -> None:
    """Until the process is told to end."""
    api = web.Application()
    api.add_routes([web.get("/count", count), web.get("/arrivals", arrivals)])
    api.add_routes([web.post("/{path:.*}", receive), web.put("/{path:.*}", receive)])
    runner = web.AppRunner(api, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
