"""Heads of requests that nobody should serve, whatever their URL."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from trunkline.gateway.problems import Problem, ends_connection

_VERSIONS = ("1.0", "1.1")


class Heads:
    """ASGI middleware: refuses what h11 lets through, and nothing more of such a connection is
    read. ``most``: bytes of a head."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await ends_connection(problem).response()(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        if scope["http_version"] not in _VERSIONS:  # h11 takes any of them, as "PRI * HTTP/2.0"
            return Problem("not-http", "send HTTP/1.1", status=505)
        size, names = len(scope["raw_path"]) + len(scope["query_string"]), set[bytes]()
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            names.add(name)
        # h11 counts only what is not whole yet: a head that comes at once has no bound there.
        if size > self._most:
            return Problem("head-too-large", f"at most {self._most} bytes")
        # What stands before the gateway may have believed the other one, and would take what
        # follows for the next request, of another client perhaps.
        if {b"content-length", b"transfer-encoding"} <= names:
            return Problem("not-http", "it has both Content-Length and Transfer-Encoding: send one")
        return None
