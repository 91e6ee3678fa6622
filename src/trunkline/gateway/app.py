"""The gateway's URLs."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trunkline.access.policy import AccessPolicy, Client
from trunkline.gateway.answers import answer, pending, state
from trunkline.gateway.book import CallBook
from trunkline.gateway.calls import Calls
from trunkline.gateway.catalog import Catalog, Offered
from trunkline.gateway.metrics import GatewayMetrics
from trunkline.gateway.openapi import openapi
from trunkline.gateway.problems import KINDS, Problem
from trunkline.gateway.requests import (
    BodyReader,
    Limits,
    body_of,
    idempotency_key,
    preferences,
    traceparent,
)
from trunkline.streams.journal.record import CallRecord

log = logging.getLogger(__name__)

KNOWN_IN = 1.0
"""Seconds that a call has to become known to this gateway, which another one has accepted."""
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Doors:
    """What the URLs need. ``policy``: the newest one; ``not_ready``: why calls cannot be taken, ""
    if they can; ``dead``: why the process must be restarted, ""."""

    catalog: Catalog
    book: CallBook
    calls: Calls
    policy: Callable[[], AccessPolicy]
    not_ready: Callable[[], str]
    dead: Callable[[], str]
    version: str
    limits: Limits = field(default_factory=Limits)
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    waiting: int = 0


class Gateway:
    """The endpoints. For one event loop."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._bodies = BodyReader()

    def app(self) -> Starlette:
        """The ASGI application."""
        calls = "/v1/systems/{system}/operations/{operation}"
        routes = [
            Route(calls, self._counted(self.call), methods=["POST"]),
            Route("/v1/calls/{id}", self._counted(self.state), methods=["GET"]),
            Route("/v1/calls/{id}/reply", self._counted(self.reply), methods=["GET"]),
            Route("/openapi.json", self._counted(self.document), methods=["GET"]),
            Route("/problems/{kind}", self.problem, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]
        handlers = {Problem: _problem, HTTPException: _http_problem, Exception: _defect}
        app = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
        # A slash too many would be sent on to http:// and the host that the caller says: behind TLS
        # the key would follow in the clear.
        app.router.redirect_slashes = False
        return app

    def _counted(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, while not too many requests are under way."""
        doors = self._doors

        async def counted(request: Request) -> Response:
            if doors.waiting >= doors.limits.waiting:
                raise Problem("busy", headers={"Retry-After": "1"})
            doors.waiting += 1
            try:
                return await endpoint(request)
            finally:
                doors.waiting -= 1

        return counted

    # Operations

    async def call(self, request: Request) -> Response:
        """``POST /v1/systems/{system}/operations/{operation}``."""
        started = time.monotonic()
        client = self._client(request)
        offered = self._offered(request, client)
        status = 500
        try:
            response = await self._called(request, client, offered)
            status = response.status_code
            return response
        except Problem as problem:
            status = problem.status
            raise
        finally:
            labels = (offered.system, offered.name)
            self._doors.metrics.requests.labels(*labels, str(status)).inc()
            self._doors.metrics.seconds.labels(*labels).observe(time.monotonic() - started)

    async def _called(self, request: Request, client: Client, offered: Offered) -> Response:
        """Read what is asked for, submit it, and wait for what comes of it as long as is wanted."""
        doors = self._doors
        key, prefer = idempotency_key(request, offered), preferences(request)
        value = await self._bodies.request(await body_of(request, doors.limits), offered)
        if reason := doors.not_ready():
            raise Problem("not-ready", reason, headers={"Retry-After": "2"})
        sent = await doors.calls.submit(offered, client, key, value, traceparent(request))
        if prefer.respond_async and not sent.call.is_over:
            return pending(sent.call, offered.system, preferred=True, replayed=sent.repeated)
        wait = offered.policy.wait if prefer.wait is None else prefer.wait
        found = await doors.book.wait_over(sent.call.call, wait) or sent.call
        doors.calls.require_same(found, sent.fingerprint)
        if found.is_over:
            return answer(found, offered.system, replayed=sent.repeated)
        return pending(found, offered.system, preferred=False, replayed=sent.repeated)

    def _client(self, request: Request) -> Client:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        found = self._doors.policy().client_of(key.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Problem(
                "unauthorized",
                "send Authorization: Bearer and an API key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return found

    def _offered(self, request: Request, client: Client) -> Offered:
        system, name = request.path_params["system"], request.path_params["operation"]
        found = self._doors.catalog.find(system, name)
        if found is None:
            near = self._doors.catalog.nearest(system, name, client)
            raise Problem("not-found", f"did you mean {near}?" if near else "no such operation")
        if not client.may_call(system, name):
            right = f"{system}/{name}"
            raise Problem("forbidden", f"{client.name} needs the right {right}", permission=right)
        return found

    # Calls

    async def state(self, request: Request) -> Response:
        """``GET /v1/calls/{id}``: how it stands; with ``Prefer: wait=N`` once it is over."""
        call, system = await self._own_call(request)
        return state(call, system)

    async def reply(self, request: Request) -> Response:
        """``GET /v1/calls/{id}/reply``: what the call was or would have been answered."""
        call, system = await self._own_call(request)
        return answer(call, system) if call.is_over else pending(call, system, preferred=False)

    async def _own_call(self, request: Request) -> tuple[CallRecord, str]:
        client, prefer = self._client(request), preferences(request)
        book, id_ = self._doors.book, request.path_params["id"]
        if book.get(id_) is None:
            await book.wait_change(id_, KNOWN_IN)
        call, topic = book.get(id_), book.topic_of(id_)  # a day may be over while it is waited for
        if call is None or call.client != client.name:  # nobody learns that another one's is there
            raise Problem("not-found", "there is no such call of yours of the last 24 hours")
        call = await book.wait_over(id_, prefer.wait or 0.0) or call
        offered = self._doors.catalog.by_topic(topic, call.operation)
        return call, offered.system if offered else ""

    # What describes the gateway

    async def document(self, request: Request) -> Response:
        """``GET /openapi.json``, of what the caller may use."""
        allowed = self._doors.catalog.allowed(self._client(request))
        return Response(
            orjson.dumps(openapi(allowed, self._doors.version)), media_type="application/json"
        )

    async def problem(self, request: Request) -> Response:
        """``GET /problems/{kind}``: what a problem's ``type`` means."""
        name = request.path_params["kind"]
        if name not in KINDS:
            raise Problem("not-found")
        return JSONResponse({"type": f"/problems/{name}", **KINDS[name]._asdict()})

    async def health(self, request: Request) -> Response:
        """``GET /healthz``."""
        dead = self._doors.dead()
        return JSONResponse({"healthy": not dead, "why": dead}, 503 if dead else 200)

    async def ready(self, request: Request) -> Response:
        """``GET /readyz``."""
        reason = self._doors.not_ready()
        return JSONResponse({"ready": not reason, "why": reason}, 503 if reason else 200)

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        self._doors.metrics.waiting.set(self._doors.waiting)
        self._doors.metrics.known.set(len(self._doors.book))
        return Response(self._doors.metrics.text(), media_type="text/plain; version=0.0.4")


async def _problem(request: Request, problem: Problem) -> Response:
    return problem.response()


async def _http_problem(request: Request, error: HTTPException) -> Response:
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "internal-error")
    return Problem(kind, status=error.status_code, headers=error.headers).response()


async def _defect(request: Request, error: Exception) -> Response:
    log.error("a request failed in an unforeseen way", exc_info=error)
    return Problem("internal-error").response()
