"""The clients of an enrichment: opened before it is called, closed when its destination ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from trunkline.errors import Unavailable
from trunkline.tasks import awaited_cancellation_fails

log = logging.getLogger(__name__)

BuildClient = Callable[[], AsyncIterator[Any]]
"""Opens a client, yields it once, and closes it."""


class ClientScope:
    """Clients by the parameter that gets them. ``builds``: what opens each."""

    def __init__(self, builds: Mapping[str, BuildClient]) -> None:
        self._builds = builds
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def open(self) -> dict[str, Any]:
        """Open all, and return them by parameter. Raises Unavailable where one cannot be opened;
        then none is open, and it may be tried again."""
        if not self._builds:
            return {}
        # One task opens and closes them: a client may have a task group or a time-out inside, which
        # must end in the task that it began in.
        self._closing = asyncio.Event()
        opened: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_open(opened), name="enrichment-clients")
        try:
            return await opened
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all that are open. What a client raises then is logged: nothing depends on it."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._closing.set()
        if not (await asyncio.wait({task}, timeout=CLOSE_TIMEOUT))[0]:
            task.cancel()
            log.warning("clients of an enrichment do not close in %g s", CLOSE_TIMEOUT)
        await asyncio.gather(task, return_exceptions=True)

    async def _keep_open(self, opened: asyncio.Future[dict[str, Any]]) -> None:
        clients: dict[str, Any] = {}
        name = ""
        try:
            async with AsyncExitStack() as stack:
                for name, build in self._builds.items():
                    with awaited_cancellation_fails():
                        opening = stack.enter_async_context(asynccontextmanager(build)())
                        clients[name] = await opening
                if not opened.done():
                    opened.set_result(clients)
                    await self._closing.wait()
        except Exception as error:
            if opened.done():
                log.warning("a client of an enrichment did not close", exc_info=error)
                return
            what = f"{type(error).__name__}: {error}"
            failure = Unavailable(f"its client {name} cannot be opened: {what}")
            failure.__cause__ = error
            opened.set_exception(failure)


CLOSE_TIMEOUT = 10.0
"""Seconds that clients may take to close."""
