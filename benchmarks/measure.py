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
class Curve:
    """CPU seconds so far, at moments (``time.time()``)."""

    at: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, cpu: float) -> None:
        self.at.append(time.time())
        self.cpu.append(cpu)

    def between(self, begin: float, end: float) -> float:
        """CPU seconds between two moments."""
        return self._value(end) - self._value(begin)

    def _value(self, moment: float) -> float:
        """Between two samples by proportion."""
        after = min(max(bisect_left(self.at, moment), 1), len(self.at) - 1)
        begin, end = self.at[after - 1], self.at[after]
        share = min(max((moment - begin) / (end - begin), 0.0), 1.0)
        return self.cpu[after - 1] + share * (self.cpu[after] - self.cpu[after - 1])


@dataclass
class Track:
    """What was seen of one system."""

    root: psutil.Process
    curve: Curve = field(default_factory=Curve)
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
        self.curve.add(sum(self.known.values()))
        self.rss.append(resident)

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Meter:
    """Samples named systems, each given by the pid of its first process; a context manager."""

    def __init__(self, **pids: int) -> None:
        self._tracks = {name: Track(psutil.Process(pid)) for name, pid in pids.items()}
        self._machine = Curve()
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
        return self._tracks[system].curve.between(begin, end)

    def others(self, begin: float, end: float) -> float:
        """CPU seconds that everything else on this machine took between two moments."""
        measured = sum(self.cpu(system, begin, end) for system in self._tracks)
        return max(0.0, self._machine.between(begin, end) - measured)

    def peak_mb(self, system: str, begin: float, end: float) -> float:
        """The most memory (RSS, all processes together) it had between two moments."""
        track = self._tracks[system]
        moments = zip(track.curve.at, track.rss, strict=True)
        during = [resident for at, resident in moments if begin <= at <= end]
        return max(during or track.rss) / 2**20

    def _run(self) -> None:
        while True:
            for track in self._tracks.values():
                track.look()
            self._machine.add(_busy())
            if self._stop.wait(INTERVAL):
                return


def _busy() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
