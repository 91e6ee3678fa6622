"""Bad input of every kind, as bytes on a socket, and the answer of each: one shape, and a gateway
that takes the next request as if nothing had been."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, NamedTuple

import h11
import pytest

from bad_requests import (
    CHUNKED,
    GOOD,
    HEADERS,
    LINES_OF_REQUESTS,
    NO_HTTP,
    NO_JSON,
    READY,
    WRONG,
    Everything,
)
from gateway_socket import PATH, serving
from trunkline.access.file import AccessEditor, load_policy
from trunkline.access.keys import new_key
from trunkline.access.policy import AccessPolicy
from trunkline.gateway.problems import KINDS
from trunkline.gateway.requests import Limits

LIMITS = Limits(body=200_000, body_seconds=0.5, head_seconds=0.5)


class Answer(NamedTuple):
    """What a gateway answered, and whether it closed the connection with it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool


class Served(NamedTuple):
    """A gateway in a thread of its own, and what its event loop was told of exceptions."""

    port: int
    failures: list[Mapping[str, Any]]


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> tuple[AccessPolicy, str]:
    key, file = new_key(), tmp_path_factory.mktemp("access") / "access.toml"
    AccessEditor(file).add_key("crm", key, now=datetime.now(UTC))
    AccessEditor(file).allow("crm", "*/*")
    return load_policy(file), key.text


@pytest.fixture(scope="module")
def key(access: tuple[AccessPolicy, str]) -> str:
    return access[1]


@pytest.fixture(scope="module")
def gateway(access: tuple[AccessPolicy, str]) -> Iterator[Served]:
    begun: Future[tuple[Served, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        loop, end, failures = asyncio.get_running_loop(), asyncio.Event(), list[Any]()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        async with serving(access[0], limits=LIMITS, request=Everything) as port:
            begun.set_result((Served(port, failures), loop, end))
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    served, loop, end = begun.result(30)
    yield served
    loop.call_soon_threadsafe(end.set)
    thread.join()


def head(key: str, line: str = f"POST {PATH} HTTP/1.1", **headers: str | None) -> bytes:
    """The head of a good request, with other headers: ``_`` is ``-``, and None for none."""
    said: dict[str, str | None] = {
        "host": "x",
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "idempotency-key": "k",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in said.items() if value is not None]
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1")


def whole(key: str, body: bytes, **headers: str | None) -> bytes:
    return head(key, **{"content_length": str(len(body)), **headers}) + body


async def answers(port: int, sent: bytes, method: str = "POST", count: int = 1) -> list[Answer]:
    """The answers to bytes on one connection, and whether it is closed after the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    found: list[Answer] = []
    parser = h11.Connection(h11.CLIENT)
    try:
        for _ in range(count):
            parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
            parser.send(h11.EndOfMessage())
            found.append(await _answer(parser, reader))
            if parser.our_state is h11.DONE and parser.their_state is h11.DONE:
                parser.start_next_cycle()
    finally:
        writer.close()
    return found


async def _answer(parser: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    status, headers, body = 0, dict[str, str](), b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await asyncio.wait_for(reader.read(65_536), 10))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, body, parser.their_state is h11.MUST_CLOSE)
        else:
            raise AssertionError(f"no answer: {event}")


def told(answer: Answer, kind: str, status: int | None = None) -> dict[str, Any]:
    """The problem of an answer, which is one of this kind, in the one shape."""
    assert answer.headers.get("content-type") == "application/problem+json", answer
    problem: dict[str, Any] = json.loads(answer.body)
    assert problem["type"] == f"/problems/{kind}", answer
    assert answer.status == problem["status"] == (status or KINDS[kind].status), answer
    assert (problem["title"], problem["retryable"]) == (KINDS[kind].title, KINDS[kind].retryable)
    return problem


def ask(gateway: Served, sent: bytes, method: str = "POST") -> Answer:
    """The answer to these bytes, by a gateway that is well thereafter."""
    (answer,) = asyncio.run(answers(gateway.port, sent, method))
    alive = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    (well,) = asyncio.run(answers(gateway.port, alive, "GET"))
    assert well.status == 200
    assert not gateway.failures, gateway.failures
    return answer


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json(gateway: Served, key: str, body: bytes) -> None:
    told(ask(gateway, whole(key, body)), "not-json")


@pytest.mark.parametrize(("value", "pointers"), WRONG.values(), ids=WRONG)
def test_what_is_not_acceptable(gateway: Served, key: str, value: Any, pointers: set[str]) -> None:
    problem = told(ask(gateway, whole(key, json.dumps(value).encode())), "not-acceptable")
    assert {error["pointer"] for error in problem["errors"]} == pointers
    assert all(error["detail"] for error in problem["errors"])


def test_a_thousand_errors_are_told_as_a_hundred(gateway: Served, key: str) -> None:
    body = json.dumps({"id": "1", **{f"x{n}": 0 for n in range(1000)}}).encode()
    assert len(told(ask(gateway, whole(key, body)), "not-acceptable")["errors"]) == 100


@pytest.mark.parametrize(("headers", "kind"), HEADERS.values(), ids=HEADERS)
def test_headers(gateway: Served, key: str, headers: dict[str, str | None], kind: str) -> None:
    answer = ask(gateway, whole(key, GOOD, **headers))
    told(answer, kind)
    if kind in ("not-http", "head-too-large"):
        assert answer.closed


@pytest.mark.parametrize(("headers", "body", "kind", "status"), CHUNKED.values(), ids=CHUNKED)
def test_bodies_in_chunks(
    gateway: Served,
    key: str,
    headers: dict[str, str | None],
    body: bytes,
    kind: str,
    status: int | None,
) -> None:
    answer = ask(gateway, head(key, **{"transfer_encoding": "chunked", **headers}) + body)
    told(answer, kind, status)
    assert answer.closed or kind != "not-http"


def test_a_request_hidden_in_a_body_of_two_lengths_is_not_run(
    gateway: Served,
    key: str,
) -> None:
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    sent = head(key, transfer_encoding="chunked", content_length=str(5 + len(hidden)))
    answer = ask(gateway, sent + b"0\r\n\r\n" + hidden)
    told(answer, "not-http")
    assert answer.closed


def test_bad_framing_after_an_answer_ends_the_connection_alone(
    gateway: Served,
    key: str,
) -> None:
    """Who has no key is answered before the body is there; what is wrong with it comes later."""

    async def run() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head("none", transfer_encoding="chunked"))
        first = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        writer.write(b"no size\r\n")
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return first

    assert asyncio.run(run()).startswith(b"HTTP/1.1 401")
    assert not gateway.failures


@pytest.mark.parametrize(
    ("method", "line", "kind", "status"), LINES_OF_REQUESTS.values(), ids=LINES_OF_REQUESTS
)
def test_lines_of_requests(
    gateway: Served, key: str, method: str, line: str, kind: str, status: int | None
) -> None:
    sent = head(key, line, content_length=str(len(GOOD))) + GOOD
    answer = ask(gateway, sent, method)
    told(answer, kind, status)
    if kind == "method-not-allowed":
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http(gateway: Served, key: str, sent: bytes) -> None:
    answer = ask(gateway, sent)
    told(answer, "not-http")
    assert answer.closed


def test_requests_in_a_row_on_one_connection_are_answered_in_their_order(
    gateway: Served,
    key: str,
) -> None:
    """The last of them is no HTTP: those before have their answers."""

    sent = whole(key, b"{") + whole(key, b"{}") + whole(key, GOOD) + b"\0\r\n\r\n"
    found = asyncio.run(answers(gateway.port, sent, count=4))
    for answer, kind in zip(found, ["not-json", "not-acceptable", READY, "not-http"], strict=True):
        told(answer, kind)
    assert [answer.closed for answer in found] == [False, False, False, True]


def test_the_head_alone_of_an_answer_has_no_body(gateway: Served, key: str) -> None:
    answer = ask(gateway, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
