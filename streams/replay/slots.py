"""How many jobs run at the same time in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

MAX_RUNNING = 4
"""Jobs that run at the same time; each has a consumer of its own."""
MAX_LENT = 12
"""Jobs beside those that wait for a system or the registry, and have lent their slot to others."""


class JobSlots:
    """The slots of one worker. For the event loop only."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MAX_RUNNING)
        self._lent = 0

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Wait for a slot, and have it."""
        async with self._free:
            yield

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[None]:
        """Let another job have the slot meanwhile; it is waited for at the end.

        Case: four jobs are held, as the system that their routes ask is away for the night. Kept,
        their slots would keep the replay of any other destination waiting as long. No more than
        MAX_LENT at a time, since each keeps its consumer.
        """
        if self._lent >= MAX_LENT:
            yield
            return
        self._lent += 1
        self._free.release()
        try:
            yield
        finally:
            await self._free.acquire()
            self._lent -= 1
