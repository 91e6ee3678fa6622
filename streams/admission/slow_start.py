"""Slow start: how a destination that is back gets its full rate, without knowing what that is.

TCP's slow start (RFC 5681, section 3.1): each success earns room for one more, so that what is
under way doubles with every round trip, and a failure halves it. As round trips may take
milliseconds, a clock holds it back: until the time of ``slow_start=`` is over, it doubles ten times
at most.
"""

from __future__ import annotations

from math import log2

from trunkline.streams.admission.gate import NEVER, UNLIMITED

DOUBLINGS = 10
"""How often the pace doubles within the time of slow start: from 1 to 1,024 events under way."""

_STEP = 0.001  # seconds: so that rounding never names a moment that is not yet there


class SlowStart:
    """How many events may be under way. ``length``: seconds. Times are of one monotonic clock."""

    def __init__(self, began: float, length: float) -> None:
        self._began = began
        self._length = length
        self._earned = 0.0
        self._peak = 0

    def allowed(self, now: float) -> int:
        """How many events may be under way now: what was earned, as far as the clock allows."""
        return int(min(max(1.0, self._earned), self._pace(now)))

    def grows_at(self, now: float) -> float:
        """When the clock allows more; NEVER if only a success can."""
        pace = self._pace(now)
        if self._earned <= pace:
            return NEVER
        return self._began + self._length * log2(int(pace) + 1) / DOUBLINGS + _STEP

    def sent(self, under_way: int) -> None:
        """So many are under way now."""
        self._peak = max(self._peak, under_way)

    def succeeded(self, count: int) -> None:
        """The destination took so many events."""
        self._earned += count

    def failed(self) -> None:
        """A call found the destination unavailable."""
        self._earned /= 2

    def full(self, now: float) -> bool:
        """Whether the time is over and nothing is held back: one more doubling than was asked for
        is earned, so the limit is not what keeps down what is under way."""
        return now - self._began >= self._length and self._earned > 2 * self._peak

    def _pace(self, now: float) -> float:
        elapsed = now - self._began
        return 2 ** (DOUBLINGS * elapsed / self._length) if elapsed < self._length else UNLIMITED
