"""The breaker: while a destination is down, one probe at a time instead of a storm.

The seam of a full circuit breaker. Closed, everything passes. After an ``Unavailable`` it is open
for the retry policy's delay; then one batch at a time passes as a probe, and its success closes
the breaker again.
"""

from __future__ import annotations

from trunkline.streams.retry import Retry


class Breaker:
    """The breaker of one destination in one worker. Times are of one monotonic clock, seconds."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failures = 0
        self._opens_until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether the destination was unavailable when last asked."""
        return self._failures > 0

    def admits(self, now: float) -> bool:
        """Whether a batch may be sent now. While open, admitting one makes it the probe."""
        if not self.open:
            return True
        if self._probing or now < self._opens_until:
            return False
        self._probing = True
        return True

    def cancelled(self) -> None:
        """What was under way was cancelled, the probe with it."""
        self._probing = False

    def succeeded(self) -> None:
        """The destination answered: closed."""
        self._failures = 0
        self._probing = False

    def failed(self, now: float, *, after: float | None = None) -> float:
        """The destination was unavailable; returns the seconds until the next probe.

        Failures of batches that were under way when it opened count as one.
        """
        if self._probing or not self.open:
            self._failures += 1
            self._opens_until = now + self._retry.wait(self._failures, after=after)
            self._probing = False
        return max(0.0, self._opens_until - now)
