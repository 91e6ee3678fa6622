"""The HTTP server of webhooks: one a process and address, whatever sources listen there.

Whoever reaches the port can open connections, and nobody is known before a body is read. So a
request has its time to come, and of the connections that wait for one only so many are kept: slow
callers take neither the process's files, which its health pages need too, nor its memory.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web
from aiohttp.http import HttpProcessingError

from trunkline.connectors.webhook.port import PortClaim
from trunkline.errors import SourceError

log = logging.getLogger(__name__)

REQUEST_TIMEOUT = 10.0
"""Seconds in which a connection brings a whole header."""

BODY_TIMEOUT = 30.0
"""Seconds in which the body comes after it."""

IDLE_TIMEOUT = 75.0
"""Seconds for which a connection is kept for another request."""

MAX_CONNECTIONS = 500
"""Connections at a time; at the most a quarter of the files that the process may open. With more,
the one that has waited longest for a request, or for the rest of one, is closed."""

TOLD_AGAIN = 30.0
"""Seconds until it is said again that connections are closed."""

STOP_TIMEOUT = 60.0
"""Seconds that a stop waits for requests under way."""

Handle = Callable[[web.BaseRequest, bytes], Awaitable[web.Response]]
"""What a source answers to a request and its body as it was sent."""


def answered(
    what: dict[str, object], status: int, headers: dict[str, str] | None = None
) -> web.Response:
    """An answer that does not tell which server in which version gives it."""
    return web.json_response(
        what, status=status, headers={"Server": "trunkline", **(headers or {})}
    )


def refusal(status: int, why: str, headers: dict[str, str] | None = None) -> web.Response:
    """An answer that says what is wrong. It repeats nothing of the request: a malformed header may
    hold a token."""
    return answered({"error": why}, status, headers)


@dataclass(slots=True, eq=False)
class Route:
    """A source's part of a listener. ``max_body``: bytes; ``under_way``: requests that it answers;
    ``leaving``: whether it takes no more."""

    handle: Handle
    max_body: int
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)
    leaving: bool = False


class Listener:
    """The sources that listen on one address, by path. For one event loop."""

    _of_process: ClassVar[dict[tuple[asyncio.AbstractEventLoop, str, int], Listener]] = {}

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._key = (asyncio.get_running_loop(), host, port)
        self._routes: dict[str, Route] = {}
        self._lock = asyncio.Lock()  # one joins or leaves at a time
        self._server: _Server | None = None
        self._runner: web.ServerRunner | None = None
        self._claim: PortClaim | None = None

    @classmethod
    def at(cls, host: str, port: int) -> Listener:
        """The listener of an address in this process; of port 0 a new one each time."""
        if port == 0:
            return cls(host, port)
        key = (asyncio.get_running_loop(), host, port)
        if key not in cls._of_process:
            cls._of_process[key] = cls(host, port)
        return cls._of_process[key]

    async def join(self, path: str, handle: Handle, *, max_body: int, owner: str) -> None:
        """Give the requests to a path to ``handle``; the first who joins begins to listen.

        Raises SourceError if the path is taken, or the port cannot be had.
        """
        async with self._lock:
            if path in self._routes:
                raise SourceError(
                    f"webhook on {self.host}:{self.port}: two sources have the path {path}: "
                    "give one of them another"
                )
            if self._runner is None:
                await self._listen(owner)
            self._routes[path] = Route(handle, max_body)

    async def leave(self, path: str) -> None:
        """Answer what was accepted on a path, up to a minute, and accept nothing more there; the
        last who leaves releases the port."""
        route = self._routes.get(path)
        if route is None:
            return
        route.leaving = True
        if all(each.leaving for each in self._routes.values()) and self._runner is not None:
            for site in list(self._runner.sites):
                await site.stop()  # connections are refused from now on, which all callers retry
        if route.under_way:
            await asyncio.wait(route.under_way, timeout=STOP_TIMEOUT)
        async with self._lock:
            del self._routes[path]
            if not self._routes:
                await self._close()

    async def _listen(self, owner: str) -> None:
        self._server = _Server(self._dispatch)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=STOP_TIMEOUT)
        await self._runner.setup()
        try:
            if self.port:
                self._claim = PortClaim(self.port, owner)
                self._claim.take()
            # reuse_port: each worker of a machine runs this source, and they share its port.
            await web.TCPSite(self._runner, self.host, self.port, reuse_port=True).start()
        except (OSError, SourceError) as error:
            await self._close()
            why = error.strerror if isinstance(error, OSError) else error
            raise SourceError(f"webhook on {self.host}:{self.port}: {why}") from error
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        runner, self._runner = self._runner, None
        self._of_process.pop(self._key, None)
        if runner is not None:
            await runner.cleanup()
        if self._claim is not None:
            self._claim.release()

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer of the source that listens on the request's path."""
        route = self._routes.get(request.path)
        if route is None:
            return refusal(404, "nobody listens on this path")
        if route.leaving:  # a 404 would make most callers give up
            return refusal(503, "stopping: send it again", {"Retry-After": "5"})
        if request.method != "POST":
            return refusal(405, "send a POST", {"Allow": "POST"})
        task: Any = asyncio.current_task()
        route.under_way.add(task)
        assert self._server is not None
        try:
            with self._server.waiting_for_body(request.protocol):
                body = await _read(request, route.max_body)
            return await route.handle(request, body) if isinstance(body, bytes) else body
        finally:
            route.under_way.discard(task)
            self._server.idle(request.protocol)


async def _read(request: web.BaseRequest, limit: int) -> bytes | web.Response:
    """A request's body of up to ``limit`` bytes, or the answer to one that is none."""
    too_large = refusal(413, f"the body has more than {limit} bytes")
    if (request.content_length or 0) > limit:
        return too_large
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    return too_large
    except TimeoutError:
        return refusal(408, f"the body did not come within {BODY_TIMEOUT:g} seconds")
    except (web.RequestPayloadError, ConnectionError, ValueError):
        return refusal(400, "the body broke off")
    return bytes(body)


class _Connection(web.RequestHandler):
    """One connection, whose mistakes are answered and not logged one by one."""

    __slots__ = ()

    def log_exception(self, *args: Any, **more: Any) -> None:
        """A body that broke off was answered; aiohttp finds that once more."""
        if not isinstance(more.get("exc_info"), web.RequestPayloadError | HttpProcessingError):
            super().log_exception(*args, **more)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP: short, since the caller may be anybody; and no traceback
        in the log, which would fill at his pleasure."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        log.debug("a request that is no HTTP was refused")
        answer = refusal(status, "this is no proper HTTP request")
        answer.force_close()
        return answer


class _Server(web.Server):
    """Closes connections that wait for too long, and the longest waiting one of too many."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(
            handler,
            access_log=None,
            logger=log,
            keepalive_timeout=IDLE_TIMEOUT,
            lingering_time=1.0,
            auto_decompress=False,  # callers sign what they send
        )
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._limit = MAX_CONNECTIONS if files < 0 else max(1, min(MAX_CONNECTIONS, files // 4))
        self._waiting: dict[web.RequestHandler, asyncio.TimerHandle] = {}  # the longest first
        self._told_at = -TOLD_AGAIN

    def __call__(self) -> web.RequestHandler:
        """A connection's protocol."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """A connection is open, and must bring a request now."""
        super().connection_made(handler, transport)
        self._wait(handler, REQUEST_TIMEOUT)
        if len(self._connections) > self._limit:
            self._tell()
            next(iter(self._waiting)).force_close()

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """A connection is closed."""
        super().connection_lost(handler, exc)
        self._stop_waiting(handler)

    @contextmanager
    def waiting_for_body(self, handler: web.RequestHandler) -> Iterator[None]:
        """Within this the connection may be closed for another one; after it, while the request is
        published, it is not."""
        # Longer than the body has: who is too slow for that hears 408.
        self._wait(handler, BODY_TIMEOUT + REQUEST_TIMEOUT)
        try:
            yield
        finally:
            self._stop_waiting(handler)

    def idle(self, handler: web.RequestHandler) -> None:
        """A request was answered: another one may come."""
        self._wait(handler, IDLE_TIMEOUT)

    def _wait(self, handler: web.RequestHandler, seconds: float) -> None:
        self._stop_waiting(handler)
        self._waiting[handler] = self._loop.call_later(seconds, handler.force_close)

    def _stop_waiting(self, handler: web.RequestHandler) -> None:
        if (timer := self._waiting.pop(handler, None)) is not None:
            timer.cancel()

    def _tell(self) -> None:
        if self._loop.time() - self._told_at >= TOLD_AGAIN:
            self._told_at = self._loop.time()
            log.warning(
                "webhook: more than %d connections, so those that have waited longest for a "
                "request are closed: is there a caller that is slow, or keeps too many?",
                self._limit,
            )
