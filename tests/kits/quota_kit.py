"""What the tests of the gateway's limits share: gateways that divide limits without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from trunkline.access.quota import Quotas
from trunkline.gateway.quota.counts import JournalCounts
from trunkline.gateway.quota.limits import ClientLimits
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate
from trunkline.streams.quota.member import QuotaMember
from trunkline.streams.quota.records import QuotaRecord


class SharedLog:
    """The topic of shares, in memory: what is said reaches everybody after a moment of the loop's
    time. ``latency``: seconds, of each record and reader."""

    def __init__(self, latency: float = 0.01) -> None:
        self.latency = latency
        self.records: list[QuotaRecord] = []
        self._readers: list[MemoryShares] = []

    def append(self, record: QuotaRecord) -> None:
        self.records.append(record)
        for reader in self._readers:
            # Not the record itself: timers of one moment come in any order, a log does not.
            asyncio.get_running_loop().call_later(self.latency, reader.read_next)

    def follow(self, reader: MemoryShares) -> None:
        self._readers.append(reader)


class MemoryShares:
    """A gateway's part in dividing limits, as a QuotaClient has it on Kafka."""

    def __init__(self, log: SharedLog, name: str) -> None:
        self._log = log
        self._member = QuotaMember(name, random=Random(name), compares=False)
        self._member.wake = self._schedule
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0

    def start(self) -> None:
        while self._next < len(self._log.records):
            self.read_next()
        self._log.follow(self)
        self._member.complete = True
        self._schedule()

    @property
    def member(self) -> str:
        return self._member.member

    def limit(self, key: str, whole: Share, *, who: str, timeout: float | None = None) -> QuotaGate:
        return self._member.register(key, whole, who=who, grace=timeout or 30.0)

    def set_whole(self, gate: QuotaGate, whole: Share) -> None:
        gate.whole = whole
        self._member.changed(gate)

    def release(self, gate: QuotaGate) -> bool:
        return self._member.unregister(gate)

    def sharers(self, key: str) -> list[str]:
        return self._member.sharers(asyncio.get_running_loop().time(), key)

    def read_next(self) -> None:
        """One record more has arrived."""
        offset, self._next = self._next, self._next + 1
        self._member.read(asyncio.get_running_loop().time(), offset, self._log.records[offset])
        self._speak()

    def _speak(self) -> None:
        for record in self._member.due(asyncio.get_running_loop().time()):
            self._log.append(record)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        at = self._member.next_at(loop.time())
        self._timer = loop.call_at(max(at, loop.time()), self._speak) if at < 1e9 else None


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes as soon as nothing is left to do at it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1_000.0
        select = self._selector.select  # type: ignore[attr-defined]

        def pass_time(timeout: float | None) -> object:
            # A little passes always: asyncio takes a timer for due that is early by a nanosecond,
            # and whoever then looks at the clock and waits again would do so for ever.
            self._now += (timeout or 0.0) + 1e-7
            return select(0)

        self._selector.select = pass_time  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now


@contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """A loop of virtual time to run things in."""
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        loop.close()


def memory_limits(log: SharedLog, name: str, quotas: Quotas | None = None) -> ClientLimits:
    """The limits of one gateway. In a loop; its clock of epoch seconds is the loop's."""
    shares, loop = MemoryShares(log, name), asyncio.get_running_loop()
    counts = JournalCounts(loop.time, lambda topic, operation: 1)
    found = ClientLimits(shares, quotas or Quotas(), counts)
    shares.start()
    return found
