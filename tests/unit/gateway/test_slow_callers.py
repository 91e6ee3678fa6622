"""Slow, large and too many callers against a real server: each is ended in time, and good ones are
answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import httpx
import pytest

from gateway_socket import PATH, serving
from trunkline.access.file import AccessEditor, load_policy
from trunkline.access.keys import new_key
from trunkline.access.policy import AccessPolicy
from trunkline.gateway.catalog import Offered
from trunkline.gateway.requests import BodyReader, Limits
from trunkline.schemas.plain.read import FieldError

SLOW = int(os.environ.get("SLOW_CALLERS", "300"))
"""Callers that never finish, at once. 5,000 need 11,000 open files."""
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def access(tmp_path: Path) -> tuple[AccessPolicy, str]:
    key, file = new_key(), tmp_path / "access.toml"
    AccessEditor(file).add_key("crm", key, now=datetime.now(UTC))
    AccessEditor(file).allow("crm", "*/*")
    return load_policy(file), key.text


def head(key: str, length: int) -> bytes:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nIdempotency-Key: k\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def dripped(port: int, text: bytes, first: int) -> bytes:
    """What is answered to a request that comes a byte at a time after ``first`` of them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drip() -> None:
        for byte in text[first:]:
            await asyncio.sleep(0.05)
            writer.write(bytes([byte]))

    writer.write(text[:first])
    dripping = asyncio.create_task(drip())
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()


def test_a_head_that_drips_is_ended_and_good_callers_are_answered_meanwhile(
    access: tuple[AccessPolicy, str],
) -> None:
    policy, key = access

    async def run() -> None:
        async with serving(policy) as port:
            slow = [asyncio.create_task(dripped(port, head(key, 2) + b"{}", 20)) for _ in range(30)]
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{port}/healthz")
            assert answer.status_code == 200
            assert await asyncio.wait_for(asyncio.gather(*slow), 10) == [b""] * 30

    asyncio.run(run())


def test_a_connection_that_says_nothing_is_ended(access: tuple[AccessPolicy, str]) -> None:
    async def run() -> None:
        async with serving(access[0]) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    asyncio.run(run())


def test_a_body_that_drips_is_told_and_ended(access: tuple[AccessPolicy, str]) -> None:
    policy, key = access

    async def run() -> bytes:
        async with serving(policy) as port:
            text = head(key, 100) + b'{"id":' + b" " * 94
            return await dripped(port, text, len(text) - 90)

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body-too-slow" in answer


@pytest.mark.parametrize("told", [True, False], ids=["told", "chunked"])
def test_a_body_that_is_too_large_is_refused(access: tuple[AccessPolicy, str], told: bool) -> None:
    policy, key = access

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100

    async def run() -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {key}",
            "Idempotency-Key": "k",
            "Content-Type": "application/json",
        }
        async with serving(policy) as port, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}{PATH}"
            content = b" " * 3000 if told else chunks()
            return await client.post(url, content=content, headers=headers)

    answer = asyncio.run(run())
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/body-too-large")


def test_too_many_requests_and_too_many_connections(access: tuple[AccessPolicy, str]) -> None:
    policy, key = access

    async def run() -> None:
        async with serving(policy) as port:
            whole = head(key, 10)
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
            for _, writer in held:
                writer.write(whole)  # and no body
            answers = [await asyncio.wait_for(reader.readline(), 5) for reader, _ in held]
            statuses = sorted(int(line.split()[1]) for line in answers)
            assert statuses == [408] * 5 + [503]
            more = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
            ended = [asyncio.create_task(_ended_soon(reader)) for reader, _ in more]
            assert sum(await asyncio.gather(*ended)) >= 10
            for _, writer in [*held, *more]:
                writer.close()

    asyncio.run(run())


async def _ended_soon(reader: asyncio.StreamReader) -> bool:
    """Whether a connection is refused, and not ended later for its silence."""
    try:
        await asyncio.wait_for(reader.read(), 0.3)
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_while_it_is_not_ready_calls_are_to_be_repeated(access: tuple[AccessPolicy, str]) -> None:
    policy, key = access

    async def run() -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
        body = {"id": "o", "status": "paid", "total_cents": "1"}
        async with serving(policy) as port, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}"
            assert (await client.get(f"{url}/readyz")).status_code == 503
            return await client.post(f"{url}{PATH}", json=body, headers=headers)

    answer = asyncio.run(run())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json()["retryable"] is True


@pytest.mark.parametrize(("key", "fits"), [("", False), ("x" * 1000, True), ("x" * 1001, False)])
def test_a_key_must_name_an_entity(access: tuple[AccessPolicy, str], key: str, fits: bool) -> None:
    """Of an empty one ``/orders/{id}`` would be all orders; a long one is kept for a day."""
    policy, secret = access

    async def run() -> httpx.Response:
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k"}
        body = {"id": key, "status": "paid", "total_cents": "1"}
        async with serving(policy) as port, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}{PATH}"
            return await client.post(url, content=json.dumps(body), headers={**headers, **JSON})

    answer = asyncio.run(run())
    assert answer.status_code == (503 if fits else 422)
    if not fits:
        assert answer.json()["errors"][0]["pointer"] == "#/id"


def test_a_large_body_is_read_out_of_the_event_loop() -> None:
    """Nobody else would be answered while it is."""
    threads: dict[int, str] = {}

    class Reads:
        def read(self, value: str) -> tuple[str, list[FieldError]]:
            threads[len(value)] = threading.current_thread().name
            return value, []

    async def run() -> list[str]:
        bodies, offered = BodyReader(), cast(Offered, Reads())
        return [await bodies.request(b'"' + b"x" * n + b'"', offered) for n in (10, 100_000)]

    assert [len(value) for value in asyncio.run(run())] == [10, 100_000]
    assert threads[10] == threading.current_thread().name
    assert threads[100_000].startswith("gateway-body")


def test_a_slash_too_many_sends_no_key_elsewhere(access: tuple[AccessPolicy, str]) -> None:
    policy, key = access

    async def run() -> httpx.Response:
        async with serving(policy) as port, httpx.AsyncClient() as client:
            headers = {"Authorization": f"Bearer {key}", "Host": "elsewhere"}
            return await client.post(f"http://127.0.0.1:{port}{PATH}/", headers=headers)

    answer = asyncio.run(run())
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert "Location" not in answer.headers


def test_callers_that_never_finish_leave_good_ones_untouched(
    access: tuple[AccessPolicy, str],
) -> None:
    """A third says nothing, a third half of a head, a third has a good key and never sends all of
    its body. Those would fill all places of requests, and each good caller be told to come again.
    """
    policy, key = access
    limits = Limits(waiting=SLOW // 10, reading=SLOW // 20, connections=SLOW + 100)
    begun = (b"", head(key, 10)[:40], head(key, 1000) + b"{")
    good = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    body = {"id": "o", "status": "paid", "total_cents": "1"}

    async def run() -> tuple[list[str], int]:
        async with serving(policy, limits=limits) as port, httpx.AsyncClient() as client:
            held = []
            for number in range(SLOW):
                held.append(await asyncio.open_connection("127.0.0.1", port))
                held[-1][1].write(begun[number % 3])
            url, kinds = f"http://127.0.0.1:{port}{PATH}", []
            for _ in range(30):
                answer = await client.post(url, json=body, headers=good)
                kinds.append(answer.json()["type"])
            still_open = sum(not reader.at_eof() for reader, _ in held)
            for _, writer in held:
                writer.transport.abort()
            return kinds, still_open

    kinds, still_open = asyncio.run(run())
    assert kinds == ["/problems/not-ready"] * 30, "as far as a gateway without Kafka lets them"
    assert still_open >= SLOW // 2, "they were answered while slow ones were there"


def test_an_answer_that_nobody_reads_is_given_up(access: tuple[AccessPolicy, str]) -> None:
    """Its connection would be held for ever: it is not idle."""
    policy, key = access
    limits = Limits(write_seconds=0.3, head_seconds=60)
    asked = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"

    async def run() -> bool:
        async with serving(policy, limits=limits) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            until = asyncio.get_running_loop().time() + 60
            while not writer.transport.is_closing():
                assert asyncio.get_running_loop().time() < until
                writer.write(asked.encode() * 50)
                await asyncio.sleep(0.05)
            return True

    assert asyncio.run(run())
