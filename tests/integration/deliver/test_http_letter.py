"""HttpSink and servers that speak out of turn or badly, on raw sockets: no library answers so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import pytest

from trunkline.connectors.contract import make_event
from trunkline.connectors.http import HttpSink
from trunkline.errors import ConfigurationError, Unavailable


class Item(TypedDict):
    id: str


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Say = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Answers request number n of a connection."""


class Raw:
    """A server that reads whole requests and answers as ``say`` does."""

    def __init__(self, say: Say) -> None:
        self.keys: list[str] = []
        self.url = ""
        self._say = say

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            number = 0
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(length)
                self.keys.append(head.split(b"\r\nIdempotency-Key: ")[1].split(b"\r\n")[0].decode())
                await self._say(writer, number)
                await writer.drain()
                number += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw(say: Say) -> AsyncIterator[Raw]:
    server = Raw(say)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def outcomes(
    say: Say, count: int, pause: float = 0.0, **options: Any
) -> tuple[list[str], list[str]]:
    """The ids of the events that the server saw, and of those that the sink delivered."""

    async def run() -> tuple[list[str], list[str]]:
        delivered, failed = [], 0
        ids: dict[str, str] = {}
        async with raw(say) as server:
            sink = HttpSink(server.url, Item, **options)
            await sink.open()
            for number in range(count):
                event = make_event("7", Item(id="7"), id=f"e{number}")
                ids[event.idempotency_key] = event.id
                try:
                    await sink.deliver([event])
                    delivered.append(event.id)
                except Unavailable:
                    failed += 1
                await asyncio.sleep(pause)
            await sink.close()
            assert len(delivered) + failed == count
            return [ids[key] for key in server.keys], delivered

    return asyncio.run(run())


def late(answer: bytes, *, close: bool = False) -> Say:
    """200, and 20 ms later, unasked, something more on the idle connection."""
    tasks = set()

    async def say(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(OK)

        async def more() -> None:
            await asyncio.sleep(0.02)
            writer.write(answer)
            if close:
                writer.close()

        task = asyncio.create_task(more())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return say


UNASKED = {
    "a second 200": late(OK),
    "a 408": late(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
    "a 400 and the end": late(
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", close=True
    ),
    "half an answer": late(b"HTTP/1.1 200 "),
    "noise": late(b"\x00\x01"),
    "an interim answer": late(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize("say", UNASKED.values(), ids=UNASKED.keys())
def test_an_answer_that_was_there_before_the_request_is_no_answer_to_it(say: Say) -> None:
    seen, delivered = outcomes(say, 8, pause=0.05)
    assert seen == delivered == [f"e{number}" for number in range(8)]


def test_what_came_while_the_loop_was_busy_is_no_answer_either() -> None:
    """The bytes are in the socket, and nobody has read them yet."""

    async def run() -> None:
        async with raw(late(OK)) as server:
            sink = HttpSink(server.url, Item)
            await sink.open()
            events = [make_event("7", Item(id="7"), id=f"e{number}") for number in range(4)]
            for event in events:
                await sink.deliver([event])
                time.sleep(0.04)  # noqa: ASYNC251 - nobody reads what comes meanwhile
                await asyncio.sleep(0)
            await sink.close()
            assert server.keys == [event.idempotency_key for event in events]

    asyncio.run(run())


def once(answer: bytes, *, then: float = 0.0, drip: bytes = b"") -> Say:
    async def say(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(answer)
        for _n in range(40 if drip else 0):
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.write(drip)
        if then:
            await asyncio.sleep(then)

    return say


HEAD = b"HTTP/1.1 200 OK\r\n"
ACCEPTED = {
    "204 with a body": once(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    "brotli": once(HEAD + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nhello"),
    "gzip that is none": once(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
    "a header of 60 KB": once(HEAD + b"X: " + b"p" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n"),
    "a header of 1 MB": once(HEAD + b"X: " + b"p" * 1_000_000 + b"\r\nContent-Length: 0\r\n\r\n"),
    "2,000 headers": once(HEAD + b"X: 1\r\n" * 2000 + b"Content-Length: 0\r\n\r\n"),
    "length and chunks": once(
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "two lengths": once(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    "a length that is none": once(HEAD + b"Content-Length: two\r\n\r\nok"),
    "a header without a colon": once(HEAD + b"Content-Length 2\r\n\r\nok"),
    "chunks that are none": once(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "events for ever": once(HEAD + b"Content-Type: text/event-stream\r\n\r\n", drip=b"data: 1\n\n"),
    "headers for ever": once(HEAD, drip=b"X: 1\r\n"),
    "early hints before it": once(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 201 Created\r\nContent-Length: x\r\n\r\n"
    ),
}


@pytest.mark.parametrize("say", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_2xx_status_line_is_delivery_whatever_follows(say: Say) -> None:
    seen, delivered = outcomes(say, 2, timeout=1.5)
    assert delivered == ["e0", "e1"]
    assert seen == delivered, "an accepted event is not sent again"


REFUSED = {
    "nothing": once(b"", then=2.0),
    "half a status line": once(b"HTTP/1.1 20", then=2.0),
    "no HTTP": once(b"220 smtp.example.org ESMTP ready\r\n", then=2.0),
    "an interim answer alone": once(b"HTTP/1.1 102 Processing\r\n\r\n", then=2.0),
}


@pytest.mark.parametrize("say", REFUSED.values(), ids=REFUSED.keys())
def test_without_a_final_status_line_nothing_is_delivered(say: Say) -> None:
    _, delivered = outcomes(say, 1, timeout=0.3)
    assert delivered == []


@pytest.mark.parametrize("url", ["http://h:99999/", "http://[::1", "http://h:x/"])
def test_an_address_that_cannot_be_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="HttpSink"):
        HttpSink(url, Item)
