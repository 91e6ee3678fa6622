"""A world for workers that divide a limit: a log, messages on their way, clocks that disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import orjson

from trunkline.streams.admission.gate import Permit
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate
from trunkline.streams.quota.member import QuotaMember
from trunkline.streams.quota.records import QuotaRecord, record_of

KEY = "system/erp"
GRACE = 3.0


@dataclass
class Worker:
    """One worker with one limited destination. ``skew``: what its clock is ahead of the truth."""

    member: QuotaMember
    gate: QuotaGate
    skew: float
    position: int = 0
    demand: bool = False
    calls: list[float] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)
    sent: int = 0


class World:
    """Workers, a log of one partition, and what is on its way to it. ``now``: the true time."""

    def __init__(self, whole: Share, seed: int = 0) -> None:
        self.whole = whole
        self.now = 0.0
        self.log: list[bytes] = []
        self.under_way: list[bytes] = []
        self.workers: list[Worker] = []
        self.crashed: list[Worker] = []
        self.sent_at: list[float] = []
        self._random = Random(seed)

    def join(self, skew: float = 0.0) -> Worker:
        """A worker starts and has not read anything yet."""
        name = f"w{len(self.workers) + len(self.crashed)}"
        member = QuotaMember(name, random=Random(self._random.random()))
        gate = member.register(KEY, self.whole, who=f"orders.{name}", grace=GRACE)
        worker = Worker(member, gate, skew)
        self.workers.append(worker)
        return worker

    def crash(self, worker: Worker) -> None:
        """It is gone, and its calls are cut; what it has produced may still arrive."""
        self.workers.remove(worker)
        self.crashed.append(worker)

    def clock(self, worker: Worker) -> float:
        """The worker's own time."""
        return self.now + worker.skew

    def read(self, worker: Worker, count: int = 1_000_000) -> None:
        """It reads the next records of the log."""
        for offset in range(worker.position, min(len(self.log), worker.position + count)):
            worker.member.read(self.clock(worker), offset, record_of(self.log[offset]))
            worker.position = offset + 1
        worker.member.complete |= worker.position == len(self.log)

    def speak(self, worker: Worker) -> None:
        """It puts on its way whatever it has to say."""
        self.put_on_its_way(worker.member.due(self.clock(worker)))

    def put_on_its_way(self, records: Iterable[QuotaRecord]) -> None:
        """As bytes, so that nothing is shared with who sent it."""
        self.under_way += [orjson.dumps(record.to_json()) for record in records]

    def arrive(self, index: int = 0, *, lost: bool = False, twice: bool = False) -> None:
        """A message reaches the log, is lost on its way, or will come once more."""
        record = self.under_way[index] if twice else self.under_way.pop(index)
        if not lost:
            self.log.append(record)

    def send(self, worker: Worker) -> None:
        """It sends one event, if it may."""
        now = self.clock(worker)
        if worker.gate.permits(now) > 0:
            worker.permits.append(worker.gate.acquire(now, 1))
            worker.calls.append(self.now)
            worker.sent += 1
            self.sent_at.append(self.now)

    def end(self, worker: Worker) -> None:
        """Its oldest call ends."""
        worker.calls.pop(0)
        worker.permits.pop(0).finish(self.clock(worker), 1, None)

    def advance(self, seconds: float) -> None:
        """Time passes; no call lasts longer than its timeout."""
        self.now += seconds
        for worker in self.workers:
            while worker.calls and worker.calls[0] + GRACE <= self.now:
                self.end(worker)

    def in_use(self) -> Share:
        """What all workers that run may be using just now, taken together."""
        held = [worker.gate.holds(self.clock(worker)) for worker in self.workers]
        calls = [max(h.calls or 0, len(w.calls)) for h, w in zip(held, self.workers, strict=True)]
        return Share(sum(h.rate or 0 for h in held), sum(calls) if self.whole.calls else 0)

    def run(self, seconds: float, step: float = 0.02, latency: int = 1) -> None:
        """Everybody works, orderly: what is said arrives after ``latency`` steps, in order."""
        coming: list[int] = []
        for _ in range(round(seconds / step)):
            for worker in self.workers:
                self.read(worker)
                self._work(worker)
                self.speak(worker)
            coming.append(len(self.under_way) - sum(coming))
            if len(coming) > latency:
                for _ in range(coming.pop(0)):
                    self.arrive()
            self.advance(step)
            self.check()

    def _work(self, worker: Worker) -> None:
        for _ in range(10 if worker.demand else 0):
            self.send(worker)
        while worker.calls and worker.calls[0] + 0.1 <= self.now:
            self.end(worker)

    def check(self) -> None:
        """The promise: never more than the whole."""
        used = self.in_use()
        assert (used.rate or 0.0) <= (self.whole.rate or 0.0) + 1e-6, used
        assert (used.calls or 0) <= (self.whole.calls or 0), used
