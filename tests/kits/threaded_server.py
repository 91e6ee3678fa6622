"""A server in an event loop of its own, in a thread: tests ask it from theirs."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from aiohttp import web


class ThreadedServer:
    """A context manager: it runs ``_listen`` on entering and ``_leave`` on leaving, both in the
    loop, and leaves no thread behind."""

    _runner: web.AppRunner

    async def _listen(self) -> None:
        raise NotImplementedError

    async def _end(self) -> None:
        await self._runner.cleanup()

    async def _leave(self) -> None:
        await self._end()

    async def _serve(self, app: web.Application, port: int = 0) -> str:
        """Serve on the port, or a free one; the address."""
        self._runner = web.AppRunner(app, shutdown_timeout=0, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def up(self) -> None:
        """Accept connections."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def down(self) -> None:
        """Refuse connections, and break those there are."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *failure: object) -> None:
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
