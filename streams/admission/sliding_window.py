"""Counts over a sliding window, in constant memory.

The window is cut into buckets of equal length. A count is exact for whole buckets: the current
one and those before it, so that it covers the window and at most one bucket less.
"""

from __future__ import annotations

from collections import deque


class SlidingWindow:
    """How many things happened within the last ``window`` seconds, and how many of them badly.

    Times are of one monotonic clock, in seconds. Holds ``buckets`` pairs of numbers at most.
    """

    def __init__(self, window: float, *, buckets: int = 60) -> None:
        self._width = window / buckets
        self._size = buckets
        self._buckets: deque[tuple[int, int, int]] = deque()
        self.total = 0
        self.failures = 0

    def add(self, now: float, total: int, bad: int) -> None:
        """So many happened now, ``bad`` of them badly."""
        self.expire(now)
        number = self._number(now)
        if self._buckets and self._buckets[-1][0] >= number:
            number, before, bad_before = self._buckets.pop()
            self._buckets.append((number, before + total, bad_before + bad))
        else:
            self._buckets.append((number, total, bad))
        self.total += total
        self.failures += bad

    def expire(self, now: float) -> None:
        """Forget what the window has left behind; ``total`` and ``bad`` are then of ``now``."""
        oldest = self._number(now) - self._size + 1
        while self._buckets and self._buckets[0][0] < oldest:
            _, total, bad = self._buckets.popleft()
            self.total -= total
            self.failures -= bad

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self.total = self.failures = 0

    def _number(self, now: float) -> int:
        return int(now // self._width)
