"""Counts over a sliding window, in constant memory.

The window is cut into buckets of equal length. What is counted is the current bucket and the
whole ones before it: so the count covers the window, or up to one bucket less. With 60 buckets a
window of 5 minutes forgets in steps of 5 seconds.
"""

from __future__ import annotations

from collections import deque


class SlidingWindow:
    """How many things happened within the last ``window`` seconds, and how many of them failed.

    Times are of one monotonic clock, in seconds. Holds ``buckets`` triples of numbers at most.
    ``total`` and ``failures`` are as of the last ``add`` or ``expire``.
    """

    def __init__(self, window: float, *, buckets: int = 60) -> None:
        self._width = window / buckets
        self._size = buckets
        self._buckets: deque[list[int]] = deque()  # number, total, failures
        self.total = 0
        self.failures = 0

    def add(self, now: float, total: int, failures: int) -> None:
        """Count ``total`` things that happened now, ``failures`` of them failed."""
        number = self._number(now)
        # ``now`` may be a moment older than the newest bucket, where the caller read its clock
        # before somebody else did: then it counts there.
        if self._buckets and (newest := self._buckets[-1])[0] >= number:
            newest[1] += total  # what is too old now was so when that bucket began
            newest[2] += failures
        else:
            self.expire(now)
            self._buckets.append([number, total, failures])
        self.total += total
        self.failures += failures

    def expire(self, now: float) -> None:
        """Forget what the window has left behind at ``now``."""
        oldest = self._number(now) - self._size + 1
        while self._buckets and self._buckets[0][0] < oldest:
            _, total, failures = self._buckets.popleft()
            self.total -= total
            self.failures -= failures

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self.total = self.failures = 0

    def _number(self, now: float) -> int:
        return int(now // self._width)
