"""A token bucket: how many events may go now, at a rate and in bursts."""

from __future__ import annotations

from trunkline.streams.admission.gate import NEVER

BURST = 0.1
"""Seconds' worth of its share that a worker may save up and send at once; at least one event."""


_EPSILON = 1e-9


class TokenBucket:
    """Lets through ``rate`` events a second; in any time T at most ``rate * T + burst``.

    It starts empty, so that shares can move between buckets without adding to the whole.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self._tokens = 0.0
        self._at = 0.0

    @property
    def burst(self) -> float:
        """The most events that it saves up; 0 without a rate."""
        return max(1.0, self.rate * BURST) if self.rate > 0 else 0.0

    def adjust(self, now: float, rate: float, credit: float = 0.0) -> None:
        """From now on ``rate``, and ``credit`` events at once."""
        self._fill(now)
        self.rate = rate
        self._tokens = min(self._tokens + credit, self.burst)

    def take(self, now: float, count: int) -> None:
        """So many events pass now."""
        self._fill(now)
        self._tokens -= count

    def tokens(self, now: float) -> int:
        """How many events may pass now."""
        self._fill(now)
        return max(0, int(self._tokens + _EPSILON))

    def full_enough_at(self, now: float) -> float:
        """When to come back: for a quarter of the burst, or one event if that is more. So a fast
        bucket is asked forty times a second and not for each event."""
        self._fill(now)
        if self.rate <= 0:
            return NEVER
        return now + max(0.0, max(1.0, self.burst / 4) - self._tokens) / self.rate

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._tokens = min(self.burst, self._tokens + passed * self.rate)
        self._at = now
