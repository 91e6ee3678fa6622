"""HttpSink against real HTTP servers, most of them misbehaving."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any, TypedDict
from uuid import UUID

import orjson
import pytest
from aiohttp import web

from trunkline import errors
from trunkline.connectors.contract import make_event
from trunkline.connectors.http import HttpSink
from trunkline.event import replaced
from trunkline.params import Secret


class Item(TypedDict):
    id: str
    name: str


ITEM = Item(id="7", name="bolt")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Seen:
    """A server on a free port that answers as told and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.connections: set[Any] = set()
        self.url = ""
        self._answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.connections.add(request.transport)
        self.bodies.append(await request.read())
        return await self._answer(request)


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[Seen]:
    seen = Seen(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", seen.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    seen.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield seen
    finally:
        await runner.cleanup()


def answers(status: int, body: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, headers=named)

    return answer


async def send(sink: HttpSink[Any], *events: Any) -> None:
    await sink.open()
    try:
        for event in events:
            await sink.deliver([event])
    finally:
        await sink.close()


def error_of(answer: Answer, **options: Any) -> errors.DeliveryError:
    """What HttpSink raises when the server answers so."""

    async def run() -> errors.DeliveryError:
        async with server(answer) as seen:
            with pytest.raises(errors.DeliveryError) as caught:
                await send(HttpSink(seen.url, Item, **options), make_event("7", ITEM))
            assert len(seen.requests) == 1, "a failing request is not repeated by the sink"
            return caught.value

    return asyncio.run(run())


def requested(*events: Any, base: str = "", **options: Any) -> Seen:
    """What the server sees of these events."""

    async def run() -> Seen:
        async with server(answers(204)) as seen:
            await send(HttpSink(seen.url + base, Item, **options), *events)
            return seen

    return asyncio.run(run())


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_2xx_is_delivered(status: int) -> None:
    async def run() -> None:
        async with server(answers(status)) as seen:
            await send(HttpSink(seen.url, Item), make_event("7", ITEM))
            assert len(seen.requests) == 1

    asyncio.run(run())


def test_the_request_carries_data_idempotency_key_and_trace() -> None:
    event = make_event("7", ITEM, id="event-1")
    seen = requested(event)
    request = seen.requests[0]
    assert request.method == "POST"
    assert orjson.loads(seen.bodies[0]) == ITEM
    assert request.headers["Idempotency-Key"] == event.idempotency_key
    assert request.headers["traceparent"] == event.traceparent
    assert request.headers["Content-Type"] == "application/json"


def test_rich_values_have_documented_forms() -> None:
    rich: Any = {
        "time": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        "price": Decimal("12.30"),
        "uuid": UUID("12345678-1234-5678-1234-567812345678"),
        "raw": b"\x00\xff",
        "nested": {"list": [1, None, "é"]},
    }
    assert orjson.loads(requested(make_event("7", rich)).bodies[0]) == {
        "time": "2024-02-29T12:30:00+00:00",
        "price": "12.30",
        "uuid": "12345678-1234-5678-1234-567812345678",
        "raw": base64.b64encode(b"\x00\xff").decode(),
        "nested": {"list": [1, None, "é"]},
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (300, errors.Rejected),
        (302, errors.Rejected),
        (304, errors.Rejected),
        (400, errors.Rejected),
        (401, errors.Rejected),
        (404, errors.Rejected),
        (409, errors.Rejected),
        (422, errors.Rejected),
        (408, errors.Retryable),
        (425, errors.Retryable),
        (429, errors.Retryable),
        (500, errors.Retryable),
        (501, errors.Retryable),
        (507, errors.Retryable),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.Unavailable),
    ],
)
def test_each_status_is_an_instruction(status: int, error: type[Exception]) -> None:
    caught = error_of(answers(status, "" if status == 304 else "because of this"))
    assert type(caught) is error
    assert str(status) in str(caught)


def test_the_error_quotes_the_answer_but_not_all_of_it() -> None:
    message = str(error_of(answers(400, "name is too long: " + "x" * 10_000)))
    assert "name is too long" in message
    assert len(message) < 700


def test_a_redirect_is_rejected_and_named() -> None:
    assert "https://elsewhere/" in str(error_of(answers(302, Location="https://elsewhere/")))


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds(status: int) -> None:
    caught = error_of(answers(status, Retry_After="17"))
    assert isinstance(caught, errors.Retryable | errors.Unavailable)
    assert caught.after == 17


def test_retry_after_as_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    caught = error_of(answers(429, Retry_After=then))
    assert isinstance(caught, errors.Retryable)
    assert caught.after is not None
    assert 60 < caught.after <= 90


def test_a_wrong_retry_after_costs_nothing() -> None:
    caught = error_of(answers(429, Retry_After="soon"))
    assert isinstance(caught, errors.Retryable)
    assert caught.after is None


def test_secrets_never_show_even_when_echoed() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=401, text=f"bad {request.headers}")

    hidden = {"X-Api": Secret("k3y-in-a-header")}
    message = str(error_of(echo, token=Secret("t0ken"), headers=hidden))
    assert "***" in message
    assert "t0ken" not in message
    assert "k3y-in-a-header" not in message


def test_a_hanging_server_is_unavailable() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    caught = error_of(hang, timeout=0.2)
    assert type(caught) is errors.Unavailable
    assert "0.2 s" in str(caught)


def test_a_server_that_closes_without_an_answer_is_unavailable() -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    assert type(error_of(drop)) is errors.Unavailable


def test_a_refusal_cut_half_way_is_unavailable() -> None:
    """An accepted event's answer may be cut: see test_http_letter.py."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=400, headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    assert type(error_of(cut)) is errors.Unavailable


def test_a_refused_connection_is_unavailable() -> None:
    with socket.socket() as taken:  # bound but not listening: the port refuses
        taken.bind(("127.0.0.1", 0))
        sink = HttpSink(f"http://127.0.0.1:{taken.getsockname()[1]}", Item)
        with pytest.raises(errors.Unavailable):
            asyncio.run(send(sink, make_event("7", ITEM)))


def test_bytes_that_are_not_http_are_unavailable() -> None:
    async def run() -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.com ESMTP\r\n")
            await writer.drain()
            writer.close()

        babbler = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = babbler.sockets[0].getsockname()[1]
        with pytest.raises(errors.Unavailable):
            await send(HttpSink(f"http://127.0.0.1:{port}", Item), make_event("7", ITEM))
        babbler.close()

    asyncio.run(run())


def test_one_connection_serves_many_events() -> None:
    seen = requested(*(make_event(str(n), ITEM) for n in range(20)))
    assert len(seen.requests) == 20
    assert len(seen.connections) == 1


def test_a_connection_that_the_server_closed_meanwhile_costs_nothing() -> None:
    async def run() -> None:
        async with server(answers(204)) as seen:
            sink = HttpSink(seen.url, Item)
            await sink.open()
            for number in range(3):
                await sink.deliver([make_event(str(number), ITEM)])
                for transport in seen.connections:
                    transport.close()
                await asyncio.sleep(0.05)  # the news travels
            await sink.close()
            assert len(seen.requests) == 3

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("", "", "/"),
        ("", "/hook", "/hook"),
        ("", "/hook/", "/hook/"),
        ("/items", "/api/", "/api/items"),
        ("/items/{key}", "/api", "/api/items/a%2Fb%20%C3%A9"),
        ("/items/{id}?name={name}", "", "/items/7?name=bolt"),
        ("?name={name}", "/api", "/api?name=bolt"),
        (lambda event: f"/by/{event.data['name']}", "", "/by/bolt"),
    ],
)
def test_paths(path: Any, base: str, expected: str) -> None:
    seen = requested(make_event("a/b é", ITEM), path=path, base=base)
    assert seen.requests[0].raw_path == expected


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_a_key_that_would_make_another_path_is_rejected(key: str) -> None:
    with pytest.raises(errors.Rejected, match="another path"):
        requested(make_event(key, ITEM), path="/items/{key}")


def test_a_function_cannot_send_the_event_to_another_host() -> None:
    with pytest.raises(errors.Rejected, match="begin with"):
        requested(make_event("7", ITEM), path=lambda _: "@127.0.0.2/")


def test_a_line_break_in_a_header_is_rejected() -> None:
    event = make_event("7", ITEM)
    event.headers = replaced(event.headers, {"traceparent": b"a\r\nX-Evil: 1"})
    with pytest.raises(errors.Rejected):
        requested(event)


def test_what_is_not_json_is_rejected() -> None:
    with pytest.raises(errors.Rejected, match="not JSON"):
        requested(make_event("7", {"id": object()}))


def test_deletes_use_their_own_method_and_no_body() -> None:
    seen = requested(
        make_event("7", change="delete"), method="PUT", path="/i/{key}", delete_method="DELETE"
    )
    assert (seen.requests[0].method, seen.requests[0].path, seen.bodies[0]) == (
        "DELETE",
        "/i/7",
        b"",
    )


def test_deletes_are_rejected_unless_asked_for() -> None:
    assert HttpSink("http://h", Item).accepts_deletes is False
    assert HttpSink("http://h", Item, delete_method="DELETE").accepts_deletes is True
    with pytest.raises(errors.Rejected, match="only its key"):
        requested(make_event("7", change="delete"))


def test_authorization() -> None:
    assert (
        requested(make_event("7", ITEM), token=Secret("abc")).requests[0].headers["Authorization"]
        == "Bearer abc"
    )
    basic = requested(make_event("7", ITEM), auth=("me", Secret("pw"))).requests[0]
    assert basic.headers["Authorization"] == "Basic " + base64.b64encode(b"me:pw").decode()


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://host/", {}, "not an http"),
        ("warehouse", {}, "not an http"),
        ("http://me:pw@host/", {}, "use auth="),
        ("http://host/?a=b", {}, "query"),
        ("http://host/", {"path": "/{colour}"}, "no field colour"),
        ("http://host/", {"path": "/{id"}, "expected '}'"),
        ("http://host/", {"path": "/{id!r}"}, "plain name"),
        ("http://host/", {"path": "items"}, "begin with"),
        ("http://host/", {"path": "/{id}", "delete_method": "DELETE"}, "only its key"),
        ("http://host/", {"token": "a", "auth": ("b", "c")}, "not several"),
    ],
)
def test_what_cannot_work_is_told_at_once(url: str, options: Any, message: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=message) as caught:
        HttpSink(url, Item, **options)
    assert "pw" not in str(caught.value)
