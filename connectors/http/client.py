"""aiohttp's client, to the letter of HTTP where a destination's events depend on it.

Two rules that aiohttp (3.14) does not keep. An answer that was there before the request was written
is no answer to it (RFC 9112, 9.3: a connection that received data while it was idle is closed).
And a 2xx status line is delivery, whatever headers and body follow.
"""

from __future__ import annotations

import select
from collections.abc import Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter

MAX_HEADER = 262_144
"""Bytes of one header line that an answer may have: some send policies of tens of kilobytes."""
MAX_HEADERS = 1_000
_STATUS_LINE = 12  # HTTP/1.1 200
_HEAD = 65_536  # of interim answers (1xx) before the final one
_AT_ONCE = 32_768
"""Bytes of a body that a connection takes without waiting (asyncio's limit is 64 KiB)."""


class Exchange:
    """One request and what is known of its answer, whether aiohttp can read that or not."""

    __slots__ = ("protocol",)

    def __init__(self) -> None:
        self.protocol: Protocol | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the answer's status line says 2xx."""
        return self.protocol is not None and 200 <= self.protocol.status < 300


exchange: ContextVar[Exchange] = ContextVar("exchange")
"""The exchange of the current task; set it before each request of a ``new_session``."""


class Protocol(ResponseHandler):
    """A connection that knows the status line of its newest answer, and when it is out of step."""

    status = 0
    """The final status of the answer to the newest request; 0 while there is none."""

    def connection_made(self, transport: Any) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._head: bytes | bytearray | None = None
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def is_connected(self) -> bool:
        """Whether it can be used: asked when the pool hands it out again.

        Why more than the pool asks: a server that answers twice, or says 408 to an idle
        connection just before it closes it, would have its second answer taken for the next
        event's: delivered without being sent, or dead-lettered without being looked at. What came
        is either parsed already (``_buffer``, ``_tail``) or still in the socket.
        """
        if self._buffer or self._tail or not super().is_connected():
            return False
        return self.status == 0 or not self._poll.poll(0)

    def set_response_params(self, **params: Any) -> None:
        """A request of the current task begins: its answer is still to come."""
        exchange.get().protocol = self
        self.status, self._head = 0, b""
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._head is not None:
            is_whole = not self._head and len(data) >= _STATUS_LINE
            if is_whole and data.startswith(b"HTTP/1.1 2") and data[10:12].isdigit():
                self.status, self._head = int(data[9:12]), None  # nearly every answer
            else:
                self._look_at_head(data)
        super().data_received(data)

    def _look_at_head(self, data: bytes) -> None:
        """Find the final status line. aiohttp tells no status of an answer whose headers it cannot
        parse, as one with both Content-Length and Transfer-Encoding."""
        assert self._head is not None
        self._head = head = bytearray(self._head)
        head += data[: _HEAD - len(head)]
        while len(head) >= _STATUS_LINE:
            digits = bytes(head[9:12])
            if not head.startswith(b"HTTP/1.") or not digits.isdigit():
                break
            status = int(digits)
            if status >= 200 or status == 101:
                self.status = status
                break
            _, end, rest = head.partition(b"\r\n\r\n")  # an interim answer: another one follows
            if not end:
                return
            head[:] = rest
        else:
            return
        self._head = None


class _Request(aiohttp.ClientRequest):
    """A request whose body, if it is small, is written without a task.

    aiohttp writes each body in a task of its own, so that an answer can be read while the body is
    on its way. A body that is on its way at once needs none, and the task was a twelfth of what an
    event costs.

    It is written in the loop's next round all the same, as the task would: what many senders begin
    in one round goes out in a row. Written one by one, between the work for two events, it woke a
    server on the same machine for each (its CPU per request was 1.6 times as much).
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write it; the answer is still to be started."""
        protocol = conn.protocol
        assert protocol is not None
        size = self.body.size if isinstance(self.body, aiohttp.BytesPayload) else None
        is_odd = self.chunked or self.compress or self._continue is not None
        if not size or size > _AT_ONCE or protocol.writing_paused or is_odd:
            return await super().send(conn)
        # As aiohttp does, less the proxy, which no session of ours has.
        writer = StreamWriter(protocol, self.loop)
        await writer.write_headers(f"{self.method} {self.url.raw_path_qs} HTTP/1.1", self.headers)
        writing = self.write_bytes(writer, conn, self._get_content_length())
        self.loop.call_soon(_run_to_its_end, writing)
        response = self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=self._traces,
            loop=self.loop,
            session=self._session,
            stream_writer=writer,
        )
        self.response = response  # type: ignore[assignment]  # which aiohttp declares as None
        return response


def _run_to_its_end(writing: Coroutine[Any, Any, None]) -> None:
    """Run what never waits: less than a connection's buffer takes, into an empty one."""
    try:
        writing.send(None)
    except StopIteration:
        return
    writing.close()
    raise RuntimeError("a body that a connection takes without waiting was waited for")


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: Any = partial(Protocol, loop=self._loop)


def new_session(*, connections: int, tls: Any, headers: dict[str, str]) -> aiohttp.ClientSession:
    """A session for requests that are independent of each other: no cookies, no time limit of its
    own, bodies as they are. For the running event loop."""
    return aiohttp.ClientSession(
        connector=_Connector(limit=connections, ssl=tls),
        request_class=_Request,
        timeout=aiohttp.ClientTimeout(total=None),  # the deadline's affair
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # nobody reads a body but people, in an error
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        max_headers=MAX_HEADERS,
    )
