"""The right to send, as a lease that Kafka renews with each commit.

A worker that stood still (SIGSTOP, a machine that is paused or swaps) or that is cut off from
Kafka may have lost its partitions without knowing it, and what it sends then would come after
what their new owner has sent since. Kafka takes commits from members of the group's present
generation alone (KIP-447), and throws nobody out before his session is over. So whoever sends
within half a session of a commit that was taken is sure; after that he commits again, first.
Leases: Gray and Cheriton, 1989.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from trunkline.errors import TrunklineError

LASTS = 5.0
"""Seconds after the begin of a commit that was taken: half a consumer's session."""
PATIENCE = 1.0
"""Seconds until whoever waits for a renewal is told that there is none."""


class OwnershipUncertain(TrunklineError):
    """Whether the partitions are still ours is not known: nothing may be sent."""


class OwnershipLease:
    """A worker's right to send what it has read. ``renew``: asks for a commit, whose success must
    be told to ``renewed``."""

    def __init__(self, renew: Callable[[], None]) -> None:
        self._renew = renew
        self._over = 0.0
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, now: float) -> None:
        """Partitions are assigned: whoever joins is a member. Times are the event loop's."""
        self._over = now + LASTS

    def renewed(self, began: float) -> None:
        """A commit was taken that began then."""
        self._over = began + LASTS
        self._news.set()

    async def ensure(self) -> None:
        """Return at once if the right is there, else when it is again. Raises
        OwnershipUncertain."""
        if self._loop is None:  # asked for once: until Python 3.12 each time is a system call
            self._loop = asyncio.get_running_loop()
        now = self._loop.time
        if now() < self._over:
            return
        self._news.clear()
        self._renew()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), PATIENCE)
        if now() >= self._over:  # also where the commit that was taken had begun before
            raise OwnershipUncertain(
                "Kafka does not confirm that the partitions are still this worker's"
            )
