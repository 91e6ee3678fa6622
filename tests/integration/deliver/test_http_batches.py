"""HttpSink with several events in one request, headers of the event, judged answers, and what a
flow says of calls: on real HTTP servers."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from aiohttp import web

from http_api import Handler, Item, delivered, events
from trunkline.connectors.base import CallLimits
from trunkline.connectors.contract import make_event
from trunkline.connectors.http import Answer, ClientCredentials, HttpSink
from trunkline.errors import (
    ConfigurationError,
    DeliveryError,
    PartialFailure,
    Rejected,
    Retryable,
    Unavailable,
)


class Batches:
    """An API of batches; ``bad``: names that it refuses, with the whole batch, by this status."""

    def __init__(self, *bad: str, status: int = 422, item: int = 0) -> None:
        self.bad = set(bad)
        self.status = status
        self.item = item
        self.requests: list[list[str]] = []
        self.headers: list[Any] = []
        self.bodies: list[bytes] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        lines = request.headers["Content-Type"] == "application/x-ndjson"
        items = [orjson.loads(line) for line in body.splitlines()] if lines else orjson.loads(body)
        names = [item["name"] for item in items]
        self.requests.append(names)
        self.headers.append(request.headers)
        self.bodies.append(body)
        if self.item:
            statuses = [self.item if name in self.bad else 201 for name in names]
            return web.json_response({"items": statuses}, status=207)
        if self.bad & set(names):
            return web.Response(status=self.status, text="one of them is wrong")
        return web.Response(status=200)


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("array", b'[{"id":"a","name":"a"},{"id":"b","name":"b"}]'),
        ("lines", b'{"id":"a","name":"a"}\n{"id":"b","name":"b"}\n'),
    ],
)
def test_several_events_go_in_one_request(form: Any, body: bytes) -> None:
    system = Batches()
    assert delivered(system, events("a", "b"), batch=form) is None
    assert system.bodies == [body]
    assert len(system.headers[0]["Idempotency-Key"]) == 64


def test_the_same_batch_has_the_same_key_and_another_has_another() -> None:
    system, both = Batches(), events("a", "b")
    for sent in (both, both, both[:1]):
        delivered(system, sent, batch="array")
    first, again, other = (headers["Idempotency-Key"] for headers in system.headers)
    assert first == again != other


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_refused_batch_is_halved_until_the_bad_one_is_alone(form: Any, status: int) -> None:
    names = [f"n{number}" for number in range(100)]
    system = Batches("n3", "n77", status=status)
    error = delivered(system, events(*names), batch=form)
    assert isinstance(error, PartialFailure)
    assert {names[index]: type(each) for index, each in error.failures.items()} == {
        "n3": Rejected,
        "n77": Rejected,
    }
    assert len(system.requests) < 30


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Rejected), (404, Rejected), (500, Retryable), (503, Unavailable)]
)
def test_what_no_event_is_the_reason_for_is_not_halved(status: int, kind: type) -> None:
    system = Batches("a", status=status)
    error = delivered(system, events("a", "b", "c"), batch="array")
    assert isinstance(error, PartialFailure)
    assert [type(each) for each in error.failures.values()] == [kind] * 3
    assert len(system.requests) == 1


def test_an_event_that_is_no_json_is_refused_alone() -> None:
    system, (good, bad) = Batches(), events("a", "b")
    bad._data = {"id": "b", "name": object()}
    error = delivered(system, [bad, good], batch="array")
    assert isinstance(error, PartialFailure)
    assert list(error.failures) == [0]
    assert system.requests == [["a"]]


def test_an_api_answers_each_event() -> None:
    system = Batches("b", "c", item=409)
    judge = lambda answer: answer.json()["items"]  # noqa: E731
    error = delivered(system, events("a", "b", "c", "d"), batch="array", judge=judge)
    assert isinstance(error, PartialFailure)
    assert {index: each.status for index, each in error.failures.items()} == {1: 409, 2: 409}
    (single,) = [delivered(system, events("b"), batch="array", judge=judge)]
    assert isinstance(single, Rejected)


def test_another_number_of_answers_than_events_is_no_delivery() -> None:
    error = delivered(Batches(), events("a", "b"), batch="array", judge=lambda answer: [200])
    assert isinstance(error, PartialFailure)
    assert all(isinstance(each, Retryable) for each in error.failures.values())


# The body of a 2xx


def saying(body: bytes, **headers: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return handle


def judged(answer: Answer) -> DeliveryError | None:
    said = answer.json()
    return None if said["status"] == "ok" else Rejected(f"the API says {said['status']}")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"status": "ok"}', type(None)),
        (b'{"status": "error"}', Rejected),
        (b"no JSON", Retryable),
        (b" " * 2_000_000, Retryable),
    ],
)
def test_a_body_says_what_a_200_means(body: bytes, kind: type) -> None:
    assert type(delivered(saying(body), events("a"), judge=judged)) is kind


def test_a_judge_sees_what_was_compressed() -> None:
    body = gzip.compress(b'{"status": "error"}')
    compressed = saying(body, **{"Content-Encoding": "gzip"})
    assert isinstance(delivered(compressed, events("a"), judge=judged), Rejected)
    bomb = saying(gzip.compress(b" " * 50_000_000), **{"Content-Encoding": "gzip"})
    assert isinstance(delivered(bomb, events("a"), judge=judged), Retryable)


# Headers of the event


def seen_headers(**options: Any) -> list[Any]:
    seen: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.headers)
        return web.Response()

    error = delivered(handle, events("a-1"), **options)
    assert error is None, error
    return seen


def test_headers_are_the_events() -> None:
    template = {"X-Item": "{id}/{key}", "X-Fixed": "always"}
    (headers,) = seen_headers(event_headers=template, headers={"X-App": "shop"})
    assert (headers["X-Item"], headers["X-Fixed"], headers["X-App"]) == (
        "a-1/a-1",
        "always",
        "shop",
    )
    (headers,) = seen_headers(event_headers=lambda event: {"X-Name": event.data["name"]})
    assert headers["X-Name"] == "a-1"


def test_a_line_break_in_a_header_of_the_event_is_rejected() -> None:
    bad = make_event("a\r\nX-Evil: 1", Item(id="1", name="n"))
    error = delivered(saying(b""), [bad], event_headers={"X-Key": "{key}"})
    assert isinstance(error, Rejected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event_headers": {"X": "{colour}"}}, "no field colour"),
        ({"event_headers": {"X": "{id"}}, "the header X"),
        ({"event_headers": {"X": "{id}"}, "delete_method": "DELETE"}, "only its key"),
        ({"batch": "xml"}, "'array' or 'lines'"),
        ({"batch": "array", "path": "/{key}"}, "one path"),
        ({"batch": "array", "path": lambda event: "/"}, "one path"),
        ({"batch": "array", "delete_method": "DELETE"}, "of one event"),
        ({"batch": "array", "event_headers": {"X": "{id}"}}, "of one event"),
        ({"token": "t", "oauth": ClientCredentials("http://t/", "a", "b")}, "not several"),
    ],
)
def test_what_cannot_work_together_is_told_at_once(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        HttpSink("http://host/", Item, **options)


# Causes


def test_a_cause_has_nothing_of_the_event() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=422, text=f"item {request.path} ({request.path[1:]}) is odd 17")

    found = [
        delivered(handle, [make_event(key, Item(id=key, name="n"))], method="PUT", path="/{key}")
        for key in ("adgjmp", "EU-BX", "Ada")
    ]
    causes = {error.cause for error in found if error is not None}
    assert causes == {"PUT /{key} answered 422: item /{key} ({key}) is odd <n>"}
    assert "PUT http://127.0.0.1" in str(found[0])


# What a flow says of calls


def test_the_flows_timeout_replaces_the_sinks() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response()

    assert delivered(slow, events("a"), CallLimits(timeout=5.0), timeout=0.1) is None
    error = delivered(slow, events("a"), CallLimits(timeout=0.1), timeout=5.0)
    assert isinstance(error, Unavailable)
    assert "no answer in 0.1 s" in str(error)


def test_the_flows_batch_and_concurrent_reach_the_sink() -> None:
    sink: HttpSink[Item] = HttpSink("http://host/", Item, batch="lines")
    sink.configure(CallLimits(batch=500, linger=2.0, concurrent=300))
    assert (sink.max_batch, sink.concurrency) == (500, 300)


@pytest.mark.parametrize("limits", [CallLimits(batch=2), CallLimits(linger=1.0)])
def test_what_one_event_a_request_cannot_honour_is_refused(limits: CallLimits) -> None:
    sink: HttpSink[Item] = HttpSink("http://host/", Item)
    with pytest.raises(ConfigurationError, match="several events in one request"):
        sink.configure(limits)
