"""What the tests of the gateway share: a flow with operations, the system behind it, gateways as
processes, and callers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from threaded_server import ThreadedServer
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


received = flow.received_topic(os.environ["TOPIC"] + ".received", Order, key="id")


@flow.destination(retry=Retry("1s", "2s"))
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.erp_url, Order, method="PUT", path="/orders/{key}", timeout=5)


@flow.route(orders, to=erp)
def forward(order: Event[Order]) -> Order:
    return order.data


@flow.route(received, to=erp)
def forward_received(order: Event[Order]) -> Order:
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


@flow.operation(to=erp, verb="get", resource="orders", key="id", wait="2s")
def get_order(call: Call[Order]) -> HttpRequest:
    """Whether the correction with this id was made."""
    return HttpRequest("GET", f"/orders/{call.data['id']}/corrections/{call.id}")


@flow.operation(to=erp, verb="ship", resource="orders", key="id", doubt="ask", wait="20s")
def ship_order(call: Call[Order]) -> HttpRequest:
    """Ship an order, once."""
    return HttpRequest("POST", f"/orders/{call.data['id']}/ship", json=call.data)


@flow.operation(
    to=erp, verb="pay", resource="orders", key="id", doubt="check:get_order", wait="20s"
)
def pay_order(call: Call[Order]) -> HttpRequest:
    """Pay an order, once."""
    return HttpRequest("POST", f"/orders/{call.data['id']}/pay", json=call.data)


@flow.operation(
    to=erp, verb="refund", resource="orders", key="id", approve="order-lead", wait="20s"
)
def refund_order(call: Call[Order]) -> HttpRequest:
    """Give the money back, if somebody approves."""
    return HttpRequest("POST", f"/orders/{call.data['id']}/refund", json=call.data)


@flow.operation(to=erp, verb="move", resource="orders", key="id", max_backlog="1s", wait="20s")
def move_order(call: Call[Order]) -> HttpRequest:
    """Move an order, unless too much waits."""
    return HttpRequest("POST", f"/orders/{call.data['id']}/move", json=call.data)


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
class System(ThreadedServer):
    """An ERP in a thread of its own. A context manager.

    ``status``: what it answers, and ``answers`` by order; ``delay``: seconds before. ``breaks``: by
    order, that the connection breaks once, "after" the request is done or "before". ``seen``: all
    requests that were done, in their order; ``asked``: all that change nothing.
    """

    status: int = 200
    breaks: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, order: str) -> list[Seen]:
        """The requests about an order."""
        return [one for one in self.seen if one.path.split("/")[2] == order]

    async def _take(self, request: web.Request) -> web.Response:
        order, key = request.match_info["order"], request.headers["Idempotency-Key"]
        if request.method == "GET":
            return await self._tell(request, order)
        body = await request.json()
        breaks = self.breaks.pop(order, "")
        if breaks != "before":
            self.seen.append(Seen(time.monotonic(), request.method, request.path, key, body))
        if breaks and request.transport is not None:
            request.transport.abort()
            return web.Response()
        if self.delay:
            await asyncio.sleep(self.delay)
        status = self.answers.get(request.match_info["order"], self.status)
        text = '{"revision": 12345678901234567890.10, "seen": true}'
        if status >= 400:
            return web.json_response({"error": {"code": f"E{status}"}}, status=status)
        return web.Response(status=status, text=text, content_type="application/json")

    async def _tell(self, request: web.Request, order: str) -> web.Response:
        """Whether what has this key was done."""
        self.asked.append(request.path)
        if self.delay:
            await asyncio.sleep(self.delay)
        key = request.path.rpartition("/")[2]
        done = any(one.key == key for one in self.seen) or order in self.answers
        status = self.answers.get(order, 200 if done else 404)
        return web.json_response({"asked": key}, status=status)

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/orders/{order}{rest:.*}", self._take)
        await self._serve(app, self.port)


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

    def decide(self, path: str, body: Any = None) -> httpx.Response:
        """``POST`` to a call, as ``/v1/calls/x:cancel``."""
        sent = {"Authorization": f"Bearer {self.key}"}
        return self._http.post(self.url + path, json=body, headers=sent)

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
    """Two gateways, a worker of each role, the system, two callers of the same client, and one who
    approves and resolves."""

    erp: System
    gateways: list[GatewayProcess]
    callers: list[Caller]
    stranger: Caller
    boss: Caller
    workers: Workers
    feed: Feed
    access: Path
    flow: str
    backbone: Backbone
