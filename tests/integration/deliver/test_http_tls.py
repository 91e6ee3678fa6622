"""HttpSink over TLS: it trusts whom it is told to trust, and nobody else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

import pytest
from aiohttp import web

from trunkline.connectors.contract import make_event
from trunkline.connectors.http import HttpSink
from trunkline.errors import Unavailable


class Item(TypedDict):
    id: str


@asynccontextmanager
async def server(certificate: Path) -> AsyncIterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(status=204)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/", bodies
    finally:
        await runner.cleanup()


def delivered(certificate: Path, context: ssl.SSLContext | None) -> list[bytes]:
    async def run() -> list[bytes]:
        async with server(certificate) as (url, bodies):
            sink = HttpSink(url, Item, tls_context=context)
            await sink.open()
            try:
                await sink.deliver([make_event("7", {"id": "7"})])
            finally:
                await sink.close()
            return bodies

    return asyncio.run(run())


def test_a_private_authority_is_trusted_when_given(certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    assert delivered(certificate, context) == [b'{"id":"7"}']


def test_an_unknown_certificate_is_unavailable_and_gets_nothing(certificate: Path) -> None:
    with pytest.raises(Unavailable, match="certificate verify failed"):
        delivered(certificate, None)
