"""CPU and memory of systems made of processes, and latencies.

A system is a process with all its descendants. Its CPU is sampled while it runs, so that the CPU
between two moments can be told afterwards: start-up before the first event is not counted.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

import psutil

INTERVAL = 0.1


@dataclass
class Track:
    """What was seen of one system: moments (``time.time()``), CPU seconds so far, bytes."""

    root: psutil.Process
    at: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    known: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        """Take a sample. The CPU of a process that has ended stays counted."""
        resident = 0
        for process in self._processes():
            try:
                times = process.cpu_times()
                self.known[process.pid] = times.user + times.system
                resident += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.at.append(time.time())
        self.cpu.append(sum(self.known.values()))
        self.rss.append(resident)

    def cpu_at(self, moment: float) -> float:
        """CPU seconds at a moment, between two samples by proportion."""
        after = min(max(bisect_left(self.at, moment), 1), len(self.at) - 1)
        begin, end = self.at[after - 1], self.at[after]
        share = min(max((moment - begin) / (end - begin), 0.0), 1.0)
        return self.cpu[after - 1] + share * (self.cpu[after] - self.cpu[after - 1])

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Meter:
    """Samples named systems, each given by the pid of its first process; a context manager."""

    def __init__(self, **pids: int) -> None:
        self._tracks = {name: Track(psutil.Process(pid)) for name, pid in pids.items()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter")

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def cpu(self, system: str, begin: float, end: float) -> float:
        """CPU seconds that the system took between two moments."""
        track = self._tracks[system]
        return track.cpu_at(end) - track.cpu_at(begin)

    def peak_mb(self, system: str, begin: float, end: float) -> float:
        """The most memory (RSS, all processes together) it had between two moments."""
        track = self._tracks[system]
        during = [r for at, r in zip(track.at, track.rss, strict=True) if begin <= at <= end]
        return max(during or track.rss) / 2**20

    def _run(self) -> None:
        while True:
            for track in self._tracks.values():
                track.look()
            if self._stop.wait(INTERVAL):
                return


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
