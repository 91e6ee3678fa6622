"""The gateway's URLs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trunkline.access.policy import Client
from trunkline.gateway.aliases import OWN, Aliases, from_url
from trunkline.gateway.answers import answer, pending, queried, state, status_of
from trunkline.gateway.asyncapi import asyncapi
from trunkline.gateway.audit import AccessAudit
from trunkline.gateway.availability import Availability
from trunkline.gateway.book import CallBook
from trunkline.gateway.calls import Calls, call_id, confirmed
from trunkline.gateway.catalog import Catalog, Offered
from trunkline.gateway.decisions import Decisions, may_decide, right_to_decide
from trunkline.gateway.events import EVENTS_JSON, EventTopics
from trunkline.gateway.heads import Heads
from trunkline.gateway.identity.callers import Callers
from trunkline.gateway.metrics import GatewayMetrics
from trunkline.gateway.openapi import openapi
from trunkline.gateway.preview import preview
from trunkline.gateway.problems import HANDLERS, KINDS, Problem
from trunkline.gateway.queries import Queries
from trunkline.gateway.quota.limits import ClientLimits
from trunkline.gateway.quota.standing import headers_of, shown
from trunkline.gateway.requests import (
    BodyReader,
    Limits,
    body_of,
    idempotency_key,
    optional_json,
    preferences,
    traceparent,
    validates_only,
)
from trunkline.gateway.writer import CallWriter
from trunkline.streams.journal.record import CallRecord

KNOWN_IN = 1.0
"""Seconds that a call has to become known to this gateway, which another one has accepted."""
ALIASED = ["GET", "POST", "PUT", "PATCH", "DELETE"]
MAX_LISTED = 100
"""Calls of one list."""
Endpoint = Callable[[Request], Awaitable[Response]]
Decide = Callable[[Client, CallRecord, Offered, Any], Awaitable[CallRecord]]


@dataclass(slots=True)
class Doors:
    """What the URLs need. ``not_ready``: why calls cannot be taken, "" if they can; ``dead``: why
    the process must be restarted, ""."""

    catalog: Catalog
    book: CallBook
    calls: Calls
    queries: Queries
    availability: Availability
    events: EventTopics
    writer: CallWriter
    decisions: Decisions
    quota: ClientLimits
    audit: AccessAudit
    callers: Callers
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
        self._aliases = Aliases(doors.catalog.all)

    def app(self) -> Starlette:
        """The ASGI application."""
        calls = "/v1/systems/{system}/operations/{operation}"
        resources = "/v1/systems/{system}/{rest:path}"
        routes = [
            Route(calls, self._counted(self.call), methods=["POST"]),
            Route(resources, self._counted(self.resource), methods=ALIASED),
            Route("/v1/topics/{topic}/events", self._counted(self.publish), methods=["POST"]),
            Route("/v1/calls", self._counted(self.for_person), methods=["GET"]),
            Route("/v1/calls/{id}:cancel", self._counted(self.cancel), methods=["POST"]),
            Route("/v1/calls/{id}:approve", self._counted(self.approve), methods=["POST"]),
            Route("/v1/calls/{id}:resolve", self._counted(self.resolve), methods=["POST"]),
            Route("/v1/calls/{id}", self._counted(self.state), methods=["GET"]),
            Route("/v1/calls/{id}/reply", self._counted(self.reply), methods=["GET"]),
            Route("/v1/quota", self._counted(self.quota), methods=["GET"]),
            Route("/openapi.json", self._counted(self.document), methods=["GET"]),
            Route("/asyncapi.json", self._counted(self.messages), methods=["GET"]),
            Route("/problems/{kind}", self.problem, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]
        heads = Middleware(Heads, most=self._doors.limits.head)
        app = Starlette(routes=routes, exception_handlers=HANDLERS, middleware=[heads])
        # A slash too many would be sent on to http:// and the host that the caller says: behind TLS
        # the key would follow in the clear.
        app.router.redirect_slashes = False
        return app

    def _counted(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, while not too many requests are under way. Its answer, whichever, says what
        is left of the client's limits."""
        doors = self._doors

        async def counted(request: Request) -> Response:
            if doors.waiting >= doors.limits.waiting:
                raise Problem("busy", headers={"Retry-After": "1"})
            doors.waiting += 1
            try:
                response = await endpoint(request)
                response.headers.update(self._limits_of(request))
                doors.audit.answered(request, response)
                return response
            except Problem as problem:
                problem.headers.update(self._limits_of(request))
                doors.audit.refused(request, problem)
                raise
            finally:
                doors.waiting -= 1

        return counted

    def _limits_of(self, request: Request) -> dict[str, str]:
        client: Client | None = getattr(request.state, "client", None)
        return headers_of(self._doors.quota.standings(client)) if client else {}

    # Operations

    async def call(self, request: Request) -> Response:
        """``POST /v1/systems/{system}/operations/{operation}``."""
        client = await self._client(request)
        offered = self._offered(request, client)
        return await self._measured(request, client, offered, None)

    async def resource(self, request: Request) -> Response:
        """An operation by its verb and resource: see ``aliases``."""
        system, rest = request.path_params["system"], request.path_params["rest"]
        own, _, name = rest.partition("/")
        if own == OWN:
            if not name or "/" in name:
                raise Problem("not-found")
            raise Problem("method-not-allowed", headers={"Allow": "POST"})
        client = await self._client(request)
        offered, id_ = self._aliases.find(request.method, system, rest)
        self._require_right(request, client, offered)
        query = request.query_params.multi_items() if request.method == "GET" else []
        query = [(name, text) for name, text in query if name != "validate_only"]
        return await self._measured(request, client, offered, from_url(offered, id_, query))

    async def _measured(
        self, request: Request, client: Client, offered: Offered, said: Mapping[str, Any] | None
    ) -> Response:
        started = time.monotonic()
        status = 500
        try:
            response = await self._called(request, client, offered, said)
            status = response.status_code
            return response
        except Problem as problem:
            status = problem.status
            raise
        finally:
            labels = (offered.system, offered.name)
            self._doors.metrics.requests.labels(*labels, str(status)).inc()
            self._doors.metrics.seconds.labels(*labels).observe(time.monotonic() - started)

    async def _called(
        self, request: Request, client: Client, offered: Offered, said: Mapping[str, Any] | None
    ) -> Response:
        """Read what is asked for, submit it, and wait for what comes of it as long as is wanted.
        ``said``: what the URL says of it, of an alias."""
        doors, cost = self._doors, offered.policy.cost
        await doors.quota.admit(client, cost)
        if validates_only(request):
            doors.audit.rename(request, "preview")
            value = await self._value(request, offered, said)
            shown = orjson.dumps(preview(offered, client, value))
            return Response(shown, media_type="application/json")
        key, prefer = idempotency_key(request, offered), preferences(request)
        value = await self._value(request, offered, said)
        if reason := doors.not_ready():
            raise Problem("not-ready", reason, headers={"Retry-After": "2"})
        if offered.is_query:
            seconds = offered.policy.wait if prefer.wait is None else prefer.wait
            trace = traceparent(request)
            return queried(await doors.queries.ask(offered, client, value, trace, seconds), offered)
        queued = prefer.respond_async or offered.policy.approve
        if not doors.calls.is_known(offered, client, key):
            if not queued:
                doors.availability.require(offered)
            doors.availability.require_capacity(offered)
            doors.quota.charge(client, call_id(client.name, offered, key), cost)
        sent = await doors.calls.submit(offered, client, key, value, traceparent(request))
        if prefer.respond_async and not sent.call.is_over:
            return pending(sent.call, offered.system, preferred=True, replayed=sent.repeated)
        if sent.call.state == "needs_approval":  # nobody approves within a request's time
            return pending(sent.call, offered.system, preferred=False, replayed=sent.repeated)
        wait = offered.policy.wait if prefer.wait is None else prefer.wait
        found = await doors.book.wait_over(sent.call.call, wait) or sent.call
        doors.calls.require_same(found, sent.fingerprint)
        if found.is_over:
            return answer(found, offered.system, replayed=sent.repeated)
        return pending(found, offered.system, preferred=False, replayed=sent.repeated)

    async def _value(
        self, request: Request, offered: Offered, said: Mapping[str, Any] | None
    ) -> Any:
        """The request of an operation, of the body, and of the URL of an alias."""
        patch = ("application/merge-patch+json",) if request.method == "PATCH" else ()
        media = ("application/json", *patch)
        bodiless = said is not None and request.method in ("GET", "DELETE")
        body = b"" if bodiless else await body_of(request, self._doors.limits, media)
        value = await self._bodies.request(body, offered, said)
        self._doors.audit.note_fields(request, offered.fields(value))
        return value

    async def _client(self, request: Request) -> Client:
        header = request.headers.get("authorization", "")
        found: Client = await self._doors.callers.client_of(header)
        request.state.client = found
        return found

    async def _admitted(self, request: Request) -> Client:
        """The client of a request that is no call: it takes one unit of its second."""
        client = await self._client(request)
        await self._doors.quota.admit(client)
        return client

    def _offered(self, request: Request, client: Client) -> Offered:
        system, name = request.path_params["system"], request.path_params["operation"]
        found = self._doors.catalog.find(system, name)
        if found is None:
            near = self._doors.catalog.nearest(system, name, client)
            raise Problem("not-found", f"did you mean {near}?" if near else "no such operation")
        self._require_right(request, client, found)
        return found

    def _require_right(self, request: Request, client: Client, offered: Offered) -> None:
        on = f"{offered.system}/{offered.name}"
        right = client.right_to("call", on)
        what = "query" if offered.is_query else "call"
        self._doors.audit.note(request, client, what, on, right)
        if not right:
            raise Problem("forbidden", f"{client.name} needs the right {on}", permission=on)

    async def publish(self, request: Request) -> Response:
        """``POST /v1/topics/{topic}/events``: one event, or several."""
        client, doors = await self._admitted(request), self._doors
        named = request.path_params["topic"]
        doors.audit.note(request, client, "publish", named, client.right_to("publish", named))
        topic = doors.events.find(named, client)
        body = await body_of(request, doors.limits, EVENTS_JSON)
        trace = traceparent(request)
        events = await self._bodies.run(len(body), topic.events_of, body, client.name, trace)
        with confirmed(""):
            await doors.writer.write_events(topic.topic, events)
        return JSONResponse({"accepted": len(events)})

    # Calls

    async def state(self, request: Request) -> Response:
        """``GET /v1/calls/{id}``: how it stands; with ``Prefer: wait=N`` once it is over."""
        call, offered = await self._seen_call(request, await self._admitted(request))
        return state(call, offered.system if offered else "")

    async def reply(self, request: Request) -> Response:
        """``GET /v1/calls/{id}/reply``: what the call was or would have been answered."""
        call, offered = await self._seen_call(request, await self._admitted(request))
        system = offered.system if offered else ""
        return answer(call, system) if call.is_over else pending(call, system, preferred=False)

    async def _seen_call(
        self, request: Request, client: Client
    ) -> tuple[CallRecord, Offered | None]:
        """A call that a client may see: its own, and those that it may decide."""
        prefer, id_ = preferences(request), request.path_params["id"]
        book = self._doors.book
        if book.get(id_) is None:
            await book.wait_change(id_, KNOWN_IN)
        call, topic = book.get(id_), book.topic_of(id_)  # a day may be over while it is waited for
        offered = self._doors.catalog.by_topic(topic, call.operation) if call else None
        seen = call is not None and (
            call.client == client.name or (offered and may_decide(client, call, offered))
        )
        if call is None or not seen:  # nobody learns that another one's is there
            raise Problem("not-found", "there is no such call of yours of the last 24 hours")
        return await book.wait_over(id_, prefer.wait or 0.0) or call, offered

    async def for_person(self, request: Request) -> Response:
        """``GET /v1/calls``: the calls that wait for a decision which the client may make."""
        client, found = await self._admitted(request), []
        for call, topic in self._doors.book.for_person():
            offered = self._doors.catalog.by_topic(topic, call.operation)
            if offered is not None and may_decide(client, call, offered):
                found.append(status_of(call, offered.system))
        page = {"calls": found[:MAX_LISTED], "more": len(found) > MAX_LISTED}
        return Response(orjson.dumps(page), media_type="application/json")

    async def cancel(self, request: Request) -> Response:
        """``POST /v1/calls/{id}:cancel``: make no attempt more."""
        return await self._decided(request, self._doors.decisions.cancel)

    async def approve(self, request: Request) -> Response:
        """``POST /v1/calls/{id}:approve``: let it run."""
        return await self._decided(request, self._doors.decisions.approve)

    async def resolve(self, request: Request) -> Response:
        """``POST /v1/calls/{id}:resolve``: say what became of it."""
        return await self._decided(request, self._doors.decisions.resolve)

    async def _decided(self, request: Request, decide: Decide) -> Response:
        """200 with the call as it is wanted, or 202 while its worker has not said so."""
        client, doors = await self._admitted(request), self._doors
        call, offered = await self._seen_call(request, client)
        if offered is None:
            raise Problem("not-found", "its operation is offered no more")
        verb, on = request.url.path.rpartition(":")[2], f"{offered.system}/{offered.name}"
        doors.audit.note(request, client, verb, on, right_to_decide(verb, client, call, offered))
        body = await optional_json(request, doors.limits)
        if reason := doors.not_ready():
            raise Problem("not-ready", reason, headers={"Retry-After": "2"})
        found = await decide(client, call, offered, body)
        done = found.state != call.state
        return state(found, offered.system, status=200 if done or found.is_over else 202)

    # What describes the gateway

    async def quota(self, request: Request) -> Response:
        """``GET /v1/quota``: what is left of the client's limits."""
        client = await self._admitted(request)
        standings = self._doors.quota.standings(client)
        return JSONResponse(shown(client.name, standings, time.time()))

    async def document(self, request: Request) -> Response:
        """``GET /openapi.json``, of what the caller may use."""
        client = await self._admitted(request)
        allowed = self._doors.catalog.allowed(client)
        found = openapi(allowed, self._aliases, self._doors.version)
        found["paths"] |= self._doors.events.paths(client)
        found["components"]["schemas"] |= self._doors.events.schemas(client)
        return Response(orjson.dumps(found), media_type="application/json")

    async def messages(self, request: Request) -> Response:
        """``GET /asyncapi.json``, of what the caller may send without waiting."""
        client, events = await self._admitted(request), self._doors.events
        allowed = self._doors.catalog.allowed(client)
        found = asyncapi(allowed, events.paths(client), self._doors.version)
        found["components"]["schemas"] |= events.schemas(client)
        return Response(orjson.dumps(found), media_type="application/json")

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
        self._doors.metrics.audit_lost.set(self._doors.audit.lost)
        for issuer, age in self._doors.callers.ages().items():
            self._doors.metrics.keys_age.labels(issuer).set(float("inf") if age is None else age)
        return Response(self._doors.metrics.text(), media_type="text/plain; version=0.0.4")
