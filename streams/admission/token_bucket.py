"""A token bucket: how many events may go now, at a rate and in bursts."""

from __future__ import annotations

from trunkline.streams.admission.gate import NEVER

BURST = 0.1
"""Seconds' worth of its rate that a worker may save up and send at once; at least one event."""

_EPSILON = 1e-9  # from 0.2 to 0.3 s, 10 a second make 0.9999999999999998 events: that is one


class TokenBucket:
    """Lets through ``rate`` events a second; in any time T at most ``rate * T + burst``.

    Times are of one monotonic clock, in seconds. It starts empty and without a rate.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        # Empty: a limit of 100 events a second moves from worker to worker in shares. Did each new
        # share come with a full burst, moving it to and fro would let more than the limit through.
        self._tokens = 0.0
        self._at = 0.0

    @property
    def burst(self) -> float:
        """The most events that it saves up; 0 without a rate."""
        return max(1.0, self.rate * BURST) if self.rate > 0 else 0.0

    def adjust(self, now: float, rate: float, credit: float = 0.0) -> None:
        """Fill at ``rate`` from now on. ``credit``: events that may go at once, besides."""
        self._fill(now)
        self.rate = rate
        self._tokens = min(self._tokens + credit, self.burst)

    def take(self, now: float, count: int) -> None:
        """So many events pass now. Taking more than there are leaves a debt, to be filled first."""
        self._fill(now)
        self._tokens -= count

    def tokens(self, now: float) -> int:
        """How many events may pass now."""
        self._fill(now)
        return max(0, int(self._tokens + _EPSILON))

    def full_enough_at(self, now: float) -> float:
        """When to come back: a quarter of the burst is there then, or one event if that is more;
        NEVER without a rate."""
        self._fill(now)
        # Not for each event: at 10,000 a second the loop would be woken for every one of them. A
        # quarter of the burst, which is a tenth of a second's worth, means forty times a second.
        if self.rate <= 0:
            return NEVER
        return now + max(0.0, max(1.0, self.burst / 4) - self._tokens) / self.rate

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._tokens = min(self.burst, self._tokens + passed * self.rate)
        self._at = now
