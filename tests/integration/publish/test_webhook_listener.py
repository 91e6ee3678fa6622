"""The server of webhooks on real sockets: whose a port is; callers who are slow or confused."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import aiohttp
import pytest

from trunkline.connectors.webhook import WebhookSource, listener
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record
from trunkline.local.ports import free_port

PATIENCE = 30.0


class Receiver:
    """A source on a real socket, and what it published."""

    def __init__(self, port: int, path: str = "/", owner: str = "", **options: Any) -> None:
        self.source = WebhookSource(port=port, path=path, **{"key": "id", **options})
        self.source.owner = owner
        self.records: list[Record] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def publish(self, records: Sequence[Record]) -> None:
        await self.hold.wait()
        self.records += records

    async def start(self) -> None:
        await self.source.start(self.publish)


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), PATIENCE))


async def post(port: int, path: str = "/", body: bytes = b'{"id":1}') -> int:
    """The status of one request on a connection of its own."""
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
        return answer.status


async def answer_to(port: int, text: bytes) -> bytes:
    """What comes back for these bytes, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    try:
        return await reader.read()
    finally:
        writer.close()


# Whose a port is


def test_two_sources_of_a_process_share_a_port_by_their_paths() -> None:
    async def scene() -> None:
        port = free_port()
        pay, refund = Receiver(port, "/payments"), Receiver(port, "/refunds")
        await pay.start()
        await refund.start()
        statuses = [await post(port, path) for _ in range(20) for path in ("/payments", "/refunds")]
        assert statuses == [202] * 40
        assert (len(pay.records), len(refund.records)) == (20, 20)
        assert await post(port, "/others") == 404
        await pay.source.stop()
        assert await post(port, "/refunds") == 202, "the other one listens on"
        await refund.source.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(port, "/refunds")

    run(scene)


def test_where_it_listens_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        receiver = Receiver(0, "/payments")
        await receiver.start()
        told = f"webhook: 127.0.0.1:{receiver.source.port} takes calls to /payments"
        assert caplog.messages == [told]
        await receiver.source.stop()

    with caplog.at_level(logging.INFO):
        run(scene)


def test_two_sources_of_a_process_on_one_path_are_a_mistake() -> None:
    async def scene() -> None:
        port = free_port()
        first, second = Receiver(port), Receiver(port)
        await first.start()
        with pytest.raises(SourceError, match="two sources have the path /"):
            await second.start()
        assert await post(port) == 202
        await first.source.stop()

    run(scene)


OTHER = """
    import asyncio, sys
    from trunkline.connectors.webhook import WebhookSource

    async def publish(records):
        pass

    async def main():
        source = WebhookSource(port=int(sys.argv[1]), key="id", path=sys.argv[3])
        source.owner = sys.argv[2]
        await source.start(publish)
        print("listens", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await source.stop()

    asyncio.run(main())
"""


class Other:
    """A process that listens, until the end of the stack. ``said``: how it began."""

    def __init__(self, stack: ExitStack, port: int, owner: str, path: str = "/") -> None:
        program = [sys.executable, "-c", textwrap.dedent(OTHER), str(port), owner, path]
        self.process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(self.end)
        assert self.process.stdout is not None
        self.listens = self.process.stdout.readline().strip() == "listens"

    def end(self) -> str:
        """Let it stop; what it wrote to its error output."""
        with suppress(ValueError):
            return self.process.communicate(timeout=PATIENCE)[1]
        return ""


@pytest.mark.parametrize("path", ["/", "/refunds"])
def test_a_port_of_another_flow_is_refused_and_its_owner_is_named(path: str) -> None:
    port = free_port()
    with ExitStack() as stack:
        pay = Other(stack, port, "flow pay on kafka:9092")
        assert pay.listens
        for owner in ("flow refund on kafka:9092", "flow pay on staging:9092"):
            second = Other(stack, port, owner, path)
            assert not second.listens
            said = second.end()
            assert f"port {port} of this machine belongs to flow pay on kafka:9092" in said


def test_workers_of_one_flow_share_a_port_and_it_is_free_when_they_are_gone() -> None:
    port = free_port()
    with ExitStack() as stack:
        first, second = (Other(stack, port, "flow pay on kafka:9092") for _ in range(2))
        assert (first.listens, second.listens) == (True, True)
        first.process.kill()  # as a worker dies
        first.process.wait(PATIENCE)
        assert not Other(stack, port, "flow refund on kafka:9092").listens, "one is there still"
        second.end()
        assert Other(stack, port, "flow refund on kafka:9092").listens


@pytest.mark.parametrize(("port", "path"), [(70_000, "/"), (-1, "/"), (8085, "hook"), (8085, "")])
def test_an_address_that_is_none_is_a_configuration_error(port: int, path: str) -> None:
    with pytest.raises(ConfigurationError, match="WebhookSource"):
        WebhookSource(port=port, path=path, key="id")


# Callers who are slow, or say nonsense


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow is what takes a fifth of a second, and more than four connections are too many."""
    monkeypatch.setattr(listener, "REQUEST_TIMEOUT", 0.2)
    monkeypatch.setattr(listener, "BODY_TIMEOUT", 0.2)
    monkeypatch.setattr(listener, "IDLE_TIMEOUT", 0.2)
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 4)


HALF = {
    "nothing": b"",
    "half a request line": b"POST /",
    "half a header": b"POST / HTTP/1.1\r\nHost: x\r\nX-",
    "half a body": b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"id"',
    "a chunk of several": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n",
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("text", HALF.values(), ids=HALF.keys())
def test_a_request_that_does_not_come_is_not_waited_for(text: bytes) -> None:
    async def scene() -> None:
        receiver = Receiver(0, token="s3cret")
        await receiver.start()
        said = await answer_to(receiver.source.port, text)  # returns, since the server closes
        assert not said or said.startswith(b"HTTP/1.1 408 ")
        await receiver.source.stop()

    run(scene)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("text", HALF.values(), ids=HALF.keys())
def test_many_slow_callers_lock_out_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    for name in ("REQUEST_TIMEOUT", "BODY_TIMEOUT"):
        monkeypatch.setattr(listener, name, PATIENCE)

    async def scene() -> None:
        receiver = Receiver(0)
        await receiver.start()
        port = receiver.source.port
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in slow:
            writer.write(text)
        assert [await post(port) for _ in range(10)] == [202] * 10
        assert len(receiver.source._listener._server._connections) <= 5  # type: ignore[union-attr]  # it listens
        for _, writer in slow:
            writer.close()
        await receiver.source.stop()

    with caplog.at_level(logging.WARNING):
        run(scene)
    (warning,) = caplog.records
    assert "more than 4 connections" in warning.getMessage()


@pytest.mark.usefixtures("short")
def test_a_request_that_is_being_published_is_not_closed_for_others() -> None:
    async def scene() -> None:
        receiver = Receiver(0)
        await receiver.start()
        receiver.hold.clear()
        taken = [asyncio.create_task(post(receiver.source.port)) for _ in range(3)]
        await asyncio.sleep(0.5)  # longer than a request may take to come
        slow = [await asyncio.open_connection("127.0.0.1", receiver.source.port) for _ in range(9)]
        receiver.hold.set()
        assert [await task for task in taken] == [202] * 3
        for _, writer in slow:
            writer.close()
        await receiver.source.stop()

    run(scene)


NONSENSE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a header with a blank": b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer MARKED\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "no gzip": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n"
    b"Connection: close\r\n\r\n"
    b'{"id":1}',
    "too large": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000000\r\n"
    b"Connection: close\r\n\r\n",
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("text", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_refused_in_a_line_and_fills_no_log(
    caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    async def scene() -> None:
        receiver = Receiver(0)
        await receiver.start()
        said = await answer_to(receiver.source.port, text)
        assert said.split(b" ")[1] in (b"400", b"413")
        assert b"MARKED" not in said
        assert b"aiohttp" not in said.lower()
        assert await post(receiver.source.port) == 202
        await receiver.source.stop()

    with caplog.at_level(logging.INFO):
        run(scene)
    assert [text for text in caplog.messages if "takes calls to" not in text] == []


def test_an_upload_that_breaks_off_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        receiver = Receiver(0)
        await receiver.start()
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.source.port)
        writer.write(HALF["half a body"])
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await writer.wait_closed()
        assert await post(receiver.source.port) == 202
        await receiver.source.stop()

    with caplog.at_level(logging.INFO):
        run(scene)
    assert [text for text in caplog.messages if "takes calls to" not in text] == []


def test_a_caller_that_asks_before_it_sends_is_told_to_go_on() -> None:
    async def scene() -> None:
        receiver = Receiver(0)
        await receiver.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.source.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b'{"id":1}')
        assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")
        writer.close()
        await receiver.source.stop()

    run(scene)
