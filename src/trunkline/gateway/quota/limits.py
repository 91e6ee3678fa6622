"""The limits of all clients, as the URLs ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from trunkline.access.policy import Client
from trunkline.access.quota import Quota, Quotas
from trunkline.gateway.problems import Problem
from trunkline.gateway.quota.counts import DAY, MINUTE, SETTLED, JournalCounts
from trunkline.gateway.quota.seconds import SecondLimit
from trunkline.gateway.quota.standing import Standing, exceeded
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate

SEAT = "gateways"
"""The limit of which each gateway that runs holds a permit: so they know how many they are."""
SEATS = 1_000
SEAT_INTERVAL = 1.0
"""Seconds after which a gateway says again that it is there."""
MAX_CLIENTS = 10_000
"""Clients with a limit per second that are remembered at a time, while they are idle."""


class Shares(Protocol):
    """What gateways have in common: a QuotaClient."""

    @property
    def member(self) -> str:
        """The name of this one."""
        ...

    def limit(self, key: str, whole: Share, *, who: str, timeout: float | None = None) -> QuotaGate:
        """A gate of a limit."""
        ...

    def set_whole(self, gate: QuotaGate, whole: Share) -> None:
        """The limit is another one."""
        ...

    def release(self, gate: QuotaGate) -> bool:
        """The gate is not needed any more."""
        ...

    def sharers(self, key: str) -> list[str]:
        """Who shares a limit."""
        ...


class ClientLimits:
    """For the event loop. ``quotas``: what operators have changed; ``counts``: of the journal."""

    def __init__(self, shares: Shares, quotas: Quotas, counts: JournalCounts) -> None:
        self._shares = shares
        self._quotas = quotas
        self.counts = counts
        self._seconds: dict[str, SecondLimit] = {}  # the least recently used first
        self._seat = shares.limit(SEAT, Share(None, SEATS), who="gateway", timeout=SETTLED)
        self._seated_at: float | None = None

    async def keep_seat(self) -> None:
        """Say each second that this gateway is there. For ever."""
        now: Callable[[], float] = asyncio.get_running_loop().time
        while True:
            self._seat.permits(now())
            if not self._seat.share(now()).calls:
                self._seated_at = None
            elif self._seated_at is None:
                self._seated_at = now()
            self.counts.forget()
            await asyncio.sleep(SEAT_INTERVAL if self._seated_at is not None else 0.05)

    @property
    def is_seated(self) -> bool:
        """Whether all others know that this gateway is there, as they read it within a moment."""
        since = self._seated_at
        return since is not None and asyncio.get_running_loop().time() - since >= SETTLED / 2

    def quota_of(self, client: Client) -> Quota:
        """The limits that hold for a client now."""
        return self._quotas.of(client.name, client.quota)

    async def admit(self, client: Client, units: int = 1) -> None:
        """Let a request in, which takes so many units of the second. Raises Problem."""
        limit = self._second(client)
        if limit is not None and not await limit.take(units):
            raise exceeded(limit.standing(), units)

    def charge(self, client: Client, call: str, units: int) -> None:
        """Let in a call that is new, by its id, which takes so many units of the minute and of the
        day. Raises Problem; then nothing is taken. A call that is not written is given back when
        it should have been read."""
        standings = self._counted(client)
        if standings and not self.is_seated:
            wait = {"Retry-After": "1"}
            raise Problem("not-ready", "how many gateways there are is not known", headers=wait)
        for standing in standings:
            if standing.left < units:
                raise exceeded(standing, units)
        if standings:
            self.counts.let_in(client.name, call, units)

    def standings(self, client: Client) -> list[Standing]:
        """What is left of each limit of a client."""
        limit = self._second(client)
        return [*([limit.standing()] if limit else ()), *self._counted(client)]

    def _counted(self, client: Client) -> list[Standing]:
        quota, found = self.quota_of(client), []
        given = [(MINUTE, quota.per_minute), (DAY, quota.per_day)]
        members = self._shares.sharers(SEAT) if quota.per_minute or quota.per_day else []
        own = self._shares.member
        part, of = (members.index(own), len(members)) if own in members else (0, len(members) + 1)
        for window, limit in given:
            if limit is not None:
                found.append(self.counts.standing(client.name, window, limit, part, of))
        return found

    def _second(self, client: Client) -> SecondLimit | None:
        per_second = self.quota_of(client).per_second
        if per_second is None:
            return None
        found = self._seconds.pop(client.name, None)
        whole = Share(None, per_second)
        if found is None:
            self._make_room()
            key = f"client/{client.name}"
            found = SecondLimit(self._shares.limit(key, whole, who=key, timeout=1.0))
        elif found.gate.whole != whole:
            self._shares.set_whole(found.gate, whole)
        self._seconds[client.name] = found
        return found

    def _make_room(self) -> None:
        if len(self._seconds) < MAX_CLIENTS:
            return
        for name, limit in list(self._seconds.items()):
            if limit.is_idle and self._shares.release(limit.gate):
                del self._seconds[name]
                return
