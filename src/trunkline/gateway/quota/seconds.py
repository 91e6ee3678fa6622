"""At most so many units in any second, over all gateways, for one client.

A unit is a permit that is held for a second and comes back then: as many are held at a time as are
let in within a second. So the limit is one of calls at a time, which the room ``streams/quota``
divides by demand and never exceeds: a gateway's permits are lowered at once, and raised by those
alone that are free.
"""

from __future__ import annotations

import asyncio
from collections import deque

from trunkline.gateway.quota.standing import Standing
from trunkline.streams.quota.limiter import QuotaGate

HELD = 1.0
"""Seconds of the window."""
PATIENCE = 0.25
"""Seconds that a request waits for another gateway to give up what it does not use."""
FIRST_PATIENCE = 3.0
"""The same where this gateway has nothing yet: a coordinator may have to be found."""
MAX_WAITING = 20
"""Requests of a client that wait so; more are refused at once, so that whoever floods a gateway
does not fill it with what waits."""


class SecondLimit:
    """One client's permits at this gateway. For the event loop."""

    def __init__(self, gate: QuotaGate) -> None:
        self.gate = gate
        gate.on_capacity = self._changed
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, int]] = deque()  # until when, and how many
        self._units = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, units: int) -> bool:
        """Whether a request may be let in; what it takes comes back after a second."""
        until: float | None = None
        while not self._taken(units):
            now = self._loop.time()
            share, whole = self.gate.share(now).calls or 0, self._whole
            if until is None:
                until = now + (PATIENCE if share else FIRST_PATIENCE)
            # Nobody else has anything to give up, or gives it up in time.
            if share >= whole or units > whole or now >= until or len(self._waiting) >= MAX_WAITING:
                return False
            await self._change(until - now)
        return True

    def standing(self) -> Standing:
        """What this gateway may let in just now."""
        now = self._loop.time()
        self._release(now)
        left = min(self.gate.left(now), max(0, self._whole - self._units))
        return Standing("second", self._whole, 1, left, 1)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held or waited for."""
        return not self._held and not self._waiting

    @property
    def _whole(self) -> int:
        return self.gate.whole.calls or 0

    def _taken(self, units: int) -> bool:
        now = self._loop.time()
        self._release(now)
        if self._units + units > self._whole or not self.gate.take(now, units):
            return False
        self._units += units
        self._held.append((now + HELD, units))
        if self._timer is None:
            self._timer = self._loop.call_at(now + HELD, self._over)
        return True

    def _release(self, now: float) -> None:
        while self._held and self._held[0][0] <= now:
            _, units = self._held.popleft()
            self._units -= units
            for _ in range(units):
                self.gate.finish(now, 1, None)

    def _over(self) -> None:
        self._release(self._loop.time())
        # The gate must hear when all is given back, though nobody asks any more.
        self._timer = self._loop.call_at(self._held[0][0], self._over) if self._held else None
        self._changed()

    def _changed(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self, seconds: float) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            self._waiting.discard(waiter)
