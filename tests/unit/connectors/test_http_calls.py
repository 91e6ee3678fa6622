"""HttpSink runs operations: one request a call, its answer word for word, errors as in delivery."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from http_api import Handler, Item, api
from trunkline.connectors.base import HttpReply, HttpRequest
from trunkline.connectors.http import Answer, HttpSink
from trunkline.errors import DeliveryError, Rejected, Retryable, Unavailable
from trunkline.event import Event
from trunkline.local.ports import free_port

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def called(handle: Handler, request: HttpRequest, **options: Any) -> HttpReply | DeliveryError:
    """What a call comes to."""

    async def run() -> HttpReply | DeliveryError:
        async with api(handle) as url:
            sink: HttpSink[Item] = HttpSink(url, Item, **options)
            await sink.open()
            try:
                return await sink.call(request, "call-1", TRACE)
            except DeliveryError as error:
                return error
            finally:
                await sink.close()

    return asyncio.run(run())


def test_a_call_is_one_request_and_its_answer_word_for_word() -> None:
    seen: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, await request.text(), dict(request.headers)))
        return web.Response(status=201, text='{"n": 1.10}')

    request = HttpRequest(
        "PATCH",
        "/orders/a%2Fb?x=1",
        json={"at": datetime(2026, 11, 29, tzinfo=UTC), "n": Decimal("1.10"), "big": 2**60},
        headers={"X-Desk": "7"},
    )
    assert called(handle, request, token="secret") == HttpReply(201, b'{"n": 1.10}')
    ((method, path, body, headers),) = seen
    assert (method, path) == ("PATCH", "/orders/a%2Fb?x=1")
    assert body == '{"at":"2026-11-29T00:00:00+00:00","n":"1.10","big":1152921504606846976}'
    assert headers["Idempotency-Key"] == "call-1"
    assert headers["traceparent"] == TRACE
    assert headers["Authorization"] == "Bearer secret"
    assert headers["X-Desk"] == "7"


def test_a_call_without_a_body_and_a_path() -> None:
    seen: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, await request.text()))
        return web.Response(status=204)

    assert called(handle, HttpRequest("DELETE")) == HttpReply(204, b"")
    assert seen == [("DELETE", "/", "")]


@pytest.mark.parametrize(
    ("status", "kind"), [(422, Rejected), (401, Rejected), (500, Retryable), (503, Unavailable)]
)
def test_a_status_means_what_it_means_in_delivery(status: int, kind: type[DeliveryError]) -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=status, text="no")

    error = called(handle, HttpRequest("POST", "/x"))
    assert isinstance(error, kind)
    assert error.status == status


def test_an_answer_that_is_too_slow_is_an_outage_and_a_body_that_never_ends_none() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    assert isinstance(called(silent, HttpRequest("POST"), timeout=0.2), Unavailable)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.sleep(5)
        return response

    # The status line said that it is done: sending it again would do it twice.
    reply = called(endless, HttpRequest("POST"), timeout=0.3)  # type: ignore[arg-type]
    assert reply == HttpReply(200, b"")


def test_an_answer_that_is_longer_than_what_is_read_is_a_success_without_a_body() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1_100_000)

    assert called(handle, HttpRequest("POST")) == HttpReply(200, b"")


def test_the_judge_sees_answers_of_calls_too() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.json_response({"ok": request.path == "/good"})

    def judge(answer: Answer) -> DeliveryError | None:
        return None if answer.json()["ok"] else Rejected("it says no", status=409)

    assert called(handle, HttpRequest("POST", "/good"), judge=judge) == HttpReply(
        200, b'{"ok": true}'
    )
    refused = called(handle, HttpRequest("POST", "/bad"), judge=judge)
    assert isinstance(refused, Rejected)


@pytest.mark.parametrize("path", ["orders", "/a b", "/100%", "@elsewhere"])
def test_a_path_that_is_not_encoded_is_rejected_and_nothing_sent(path: str) -> None:
    async def handle(request: web.Request) -> web.Response:
        raise AssertionError("nothing is sent")

    assert isinstance(called(handle, HttpRequest("POST", path)), Rejected)


@pytest.mark.parametrize("batch", [None, "array"])
def test_a_call_whose_flow_has_no_operations_any_more_is_no_event(batch: Any) -> None:
    """Its request may be of the events' type, and would be sent as one of them."""

    async def handle(request: web.Request) -> web.Response:
        raise AssertionError("nothing is sent")

    async def run() -> None:
        async with api(handle) as url:
            sink: HttpSink[Item] = HttpSink(url, Item, batch=batch)
            await sink.open()
            headers = [("ce_id", b"1"), ("tl_operation", b"correct_order")]
            event: Event[Any] = Event("o", b"{}", headers, lambda _: {"id": "o"}, "f.erp.inbox")
            with pytest.raises(Rejected, match="correct_order"):
                await sink.deliver([event])
            await sink.close()

    asyncio.run(run())


def test_what_was_never_sent_and_what_may_have_been_is_told_apart() -> None:
    """Whoever must not repeat a call asks for that: see ``doubt=`` of operations."""

    async def nobody() -> DeliveryError:
        sink: HttpSink[Item] = HttpSink(f"http://127.0.0.1:{free_port()}", Item)
        await sink.open()
        with pytest.raises(Unavailable) as raised:
            await sink.call(HttpRequest("POST", "/x"), "call-1")
        await sink.close()
        return raised.value

    async def breaks(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def refuses(request: web.Request) -> web.Response:
        return web.json_response({"code": "QTY_MIN"}, status=422)

    assert asyncio.run(nobody()).unsent
    broken, refused = (called(one, HttpRequest("POST", "/x")) for one in (breaks, refuses))
    assert isinstance(broken, Unavailable)
    assert not broken.unsent
    assert isinstance(refused, Rejected)
    assert refused.code == "QTY_MIN"
    bad = called(refuses, HttpRequest("POST", "/a b"))
    assert isinstance(bad, Rejected)
    assert bad.unsent
