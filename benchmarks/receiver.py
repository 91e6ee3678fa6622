"""The destination of the latency job, an HTTP API that notes when each request came; and the
collector of the traces job.

``python -m benchmarks.receiver PORT``; ``GET /seen`` tells ``[[total_cents, moment], …]``. In a
process of its own, so that it shares no interpreter with whoever measures.
"""

from __future__ import annotations

import sys
import time

import orjson
from aiohttp import web

_seen: list[tuple[int, float]] = []


async def receive(request: web.Request) -> web.Response:
    """Take an order."""
    moment = time.time()
    order = orjson.loads(await request.read())
    _seen.append((order["total_cents"], moment))
    return web.Response(status=201)


async def seen(request: web.Request) -> web.Response:
    """All that came, in its order; ``?count`` tells only how many."""
    found = len(_seen) if "count" in request.query else _seen
    return web.Response(body=orjson.dumps(found), content_type="application/json")


async def spans(request: web.Request) -> web.Response:
    """Take spans as a collector does, and throw them away."""
    await request.read()
    return web.Response(content_type="application/x-protobuf")


def main() -> None:
    api = web.Application()
    api.add_routes(
        [
            web.post("/orders", receive),
            web.get("/seen", seen),
            web.post("/v1/traces", spans),
        ]
    )
    web.run_app(api, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
