"""Asynchronous clients, called from the thread of a source."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from trunkline.connectors.files.lines import Stopped

T = TypeVar("T")

_LOOK = 0.1
"""Seconds from one look at ``stop`` to the next."""
_PARTING = 2.0
"""Seconds that a call has to end once it is cancelled."""


class Calls:
    """Runs coroutines one after the other, in a loop of its own, which stands still between them.
    For one thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, call: Coroutine[Any, Any, T], stop: threading.Event) -> T:
        """The call's result. Raises what it raises, and Stopped soon after ``stop`` is set, however
        long the system does not answer."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(_until(call, stop))

    def close(self) -> None:
        """Release the loop, without waiting for what its threads still ask for."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            # Its threads end by themselves. Waiting for one that asks a name server which does not
            # answer would hold up the worker's stop for as long.
            self._loop.close()
            self._loop = None


async def _until(call: Coroutine[Any, Any, T], stop: threading.Event) -> T:
    task = asyncio.ensure_future(call)
    while not task.done():
        await asyncio.wait([task], timeout=_LOOK)
        if stop.is_set() and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_PARTING)
            if task.done():
                with suppress(asyncio.CancelledError):
                    task.exception()
            raise Stopped
    return task.result()


class Patience:
    """For how long a system may be silent: ``heard`` begins it anew."""

    def __init__(self, seconds: float, limit: asyncio.Timeout) -> None:
        self._seconds = seconds
        self._limit = limit

    def heard(self) -> None:
        """The system has answered."""
        self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[Patience]:
    """Raises TimeoutError where nothing is heard for so long."""
    async with asyncio.timeout(seconds) as limit:
        yield Patience(seconds, limit)
