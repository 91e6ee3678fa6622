"""Secrets that are found again wherever they come to, whole, in part or encoded; and systems that
repeat all that they are sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx
from aiohttp import web

from threaded_server import ThreadedServer


class Marked:
    """Secrets, each with characters that addresses, forms and JSON write in another way, and a head
    and a tail of its own: half of one is a leak, too."""

    def __init__(self) -> None:
        self._kinds: list[str] = []

    def secret(self, kind: str) -> str:
        """A new one of this kind, as ``hdKind7x/m@r%kiND9zTl``."""
        self._kinds.append(kind)
        return f"hd{kind}7x/m@r%20k+{kind}9zTl"

    def found(self, text: bytes) -> set[str]:
        """The kinds of those that are in it, whatever form they have."""
        return {kind for kind in self._kinds if any(mark in text for mark in _marks(kind))}


def _marks(kind: str) -> Iterable[bytes]:
    for half in (f"hd{kind}7x".encode(), f"{kind}9zTl".encode()):
        yield half
        for before in range(3):  # in base64 it looks different behind one, two or three bytes
            coded = base64.b64encode(b"." * before + half)
            yield coded[4 if before else 0 : len(coded) // 4 * 4 - 4]


def in_url(secret: str) -> str:
    """As it must be written in an address."""
    return quote(secret, safe="")


@dataclass
class Parrot(ThreadedServer):
    """HTTP systems in a thread of their own. A context manager.

    A path that is in ``refusing`` answers with its status, and a JSON that repeats the request, its
    slashes escaped. ``/registry/…`` hands on to the registry at ``behind``, for whoever has the
    ``password`` of Basic authorization. ``asked``: every path with how often it was asked.
    """

    behind: str
    password: str
    refusing: dict[str, int] = field(default_factory=dict)
    answers: Mapping[str, object] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    url: str = ""

    async def _take(self, request: web.Request) -> web.Response:
        first = "/" + request.path.split("/")[1]
        self.asked[first] = self.asked.get(first, 0) + 1
        body = await request.read()
        if status := self.refusing.get(first):
            return web.Response(
                status=status,
                text=_repeated(request, body),
                content_type="application/json",
                headers={"Location": f"/elsewhere?was={request.query_string}"},
            )
        if first == "/registry":
            return await self._registry(request, body)
        return web.json_response(self.answers.get(first, {"ok": True}))

    async def _registry(self, request: web.Request, body: bytes) -> web.Response:
        pair = base64.b64encode(f"marked:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {pair}":
            text = _repeated(request, body)
            return web.Response(status=401, text=text, content_type="application/json")
        path = request.raw_path.removeprefix("/registry")
        answer = await self._client.request(
            request.method,
            self.behind + path,
            content=body,
            headers={"Content-Type": request.headers.get("Content-Type", "application/json")},
        )
        return web.Response(
            status=answer.status_code, body=answer.content, content_type="application/json"
        )

    async def _listen(self) -> None:
        self._client = httpx.AsyncClient(timeout=30)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self.url = await self._serve(app)

    async def _end(self) -> None:
        await super()._end()
        await self._client.aclose()


def _repeated(request: web.Request, body: bytes) -> str:
    said = {
        "message": f"not for {request.headers.get('Authorization')}",
        "error": request.headers.get("Authorization", "none").rpartition(" ")[2],
        "headers": dict(request.headers),
        "url": str(request.url),
        "body": body.decode(errors="replace"),
    }
    return json.dumps(said).replace("/", "\\/")
