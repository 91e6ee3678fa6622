"""What the tests of the gateway share: a flow with operations, the system behind it, gateways as
processes, and callers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from trunkline.access.file import AccessEditor
from trunkline.access.keys import new_key
from trunkline.local.ports import free_port
from trunkline.params import Backbone
from worker_kit import Feed, Workers

FLOW = '''"""Orders reach the ERP, and others correct them."""

import os

from trunkline import Call, Event, Flow, HttpRequest, Params, Retry
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order


class Env(Params):
    erp_url: str


flow = Flow(os.environ["FLOW"], Env)
orders = flow.existing_topic(os.environ["TOPIC"], Order)


@flow.destination(retry=Retry("1s", "2s"))
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.erp_url, Order, method="PUT", path="/orders/{key}", timeout=5)


@flow.route(orders, to=erp)
def forward(order: Event[Order]) -> Order:
    return order.data


@flow.operation(to=erp, verb="update", resource="orders", key="id", wait="20s", expires="10m")
def correct_order(call: Call[Order]) -> HttpRequest:
    """Correct an order.

    As long as it is not shipped.
    """
    return HttpRequest("PATCH", f"/orders/{call.data['id']}", json=call.data)


@flow.operation(to=erp, verb="replace", resource="orders", key="id", expires="1s", wait="500ms")
def hurry_order(call: Call[Order]) -> HttpRequest:
    """Put an order at once, or not at all."""
    return HttpRequest("PUT", f"/orders/{call.data['id']}/hurry", json=call.data)


@flow.operation(to=erp, verb="create", resource="orders", key="id")
def broken_order(call: Call[Order]) -> HttpRequest:
    """A function with a defect."""
    raise KeyError(call.id)
'''


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that the system got. ``at``: monotonic."""

    at: float
    method: str
    path: str
    key: str
    body: Any


@dataclass
class System:
    """An ERP in a thread of its own. A context manager.

    ``status``: what it answers, and ``answers`` by order; ``delay``: seconds before. ``seen``: all
    requests, in their order.
    """

    status: int = 200
    delay: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, order: str) -> list[Seen]:
        """The requests about an order."""
        return [one for one in self.seen if one.path.split("/")[2] == order]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        key = request.headers["Idempotency-Key"]
        self.seen.append(Seen(time.monotonic(), request.method, request.path, key, body))
        if self.delay:
            await asyncio.sleep(self.delay)
        status = self.answers.get(request.match_info["order"], self.status)
        text = '{"revision": 12345678901234567890.10, "seen": true}'
        return web.Response(status=status, text=text, content_type="application/json")

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/orders/{order}{rest:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    def __enter__(self) -> System:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *failure: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class GatewayProcess:
    """One ``trunkline gateway``. A context manager that leaves none behind."""

    def __init__(
        self, flow: Path, access: Path, environ: Mapping[str, str], log: Path, *more: str
    ) -> None:
        self.port = free_port()
        self.log = log
        command = [sys.executable, "-m", "trunkline", "gateway", str(flow), "--access", str(access)]
        self._command = [*command, "--port", str(self.port), "--log-format", "text", *more]
        self._environ = {**os.environ, **environ}
        self.process = self._start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self._command, env=self._environ, cwd=self.log.parent, stdout=output, stderr=output
            )

    @property
    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again, after a kill."""
        self.process = self._start()

    def stop(self) -> None:
        """SIGTERM, and a clean end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()[-4000:]

    def __enter__(self) -> GatewayProcess:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.kill()


def client_key(access: Path, client: str, *patterns: str) -> str:
    """A new key of a client that may call what these patterns match."""
    key = new_key()
    AccessEditor(access).add_key(client, key, now=datetime.now(UTC))
    for pattern in patterns:
        AccessEditor(access).allow(client, pattern)
    return key.text


def order(id_: str, cents: int = 100, status: str = "paid") -> dict[str, str]:
    """The JSON of an order."""
    return {"id": id_, "status": status, "total_cents": str(cents)}


@dataclass
class Caller:
    """A client of gateways."""

    url: str
    key: str
    timeout: float = 40.0

    def __post_init__(self) -> None:
        self._http = httpx.Client(timeout=self.timeout)

    def post(
        self,
        operation: str,
        body: Any = None,
        *,
        key: str | None = None,
        prefer: str = "",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        system: str = "erp",
    ) -> httpx.Response:
        """Call an operation. ``key``: the Idempotency-Key."""
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent |= {"Idempotency-Key": key} if key is not None else {}
        sent |= {"Prefer": prefer} if prefer else {}
        sent |= headers or {}
        url = f"{self.url}/v1/systems/{system}/operations/{operation}"
        if content is not None:
            return self._http.post(url, content=content, headers=sent)
        return self._http.post(url, json=body, headers=sent)

    def get(self, path: str, prefer: str = "") -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.key}", **({"Prefer": prefer} if prefer else {})}
        return self._http.get(self.url + path, headers=sent)

    def close(self) -> None:
        self._http.close()


def wait_ready(*gateways: GatewayProcess, patience: float = 150.0) -> None:
    """Wait until all of them are."""
    until = time.monotonic() + patience
    for gateway in gateways:
        while not gateway.ready:
            assert time.monotonic() < until, gateway.log.read_text()[-4000:]
            time.sleep(0.05)


@dataclass
class World:
    """Two gateways, a worker of each role, the system and two callers of the same client."""

    erp: System
    gateways: list[GatewayProcess]
    callers: list[Caller]
    stranger: Caller
    workers: Workers
    feed: Feed
    access: Path
    flow: str
    backbone: Backbone
