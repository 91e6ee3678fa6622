"""Slow start: how a destination that is back gets its full rate, without anybody knowing what
that is.

TCP's slow start (RFC 5681, section 3.1): each event that the destination accepts allows one more to
be under way, so that what is under way doubles with every round trip, and a failure halves it. As
round trips may take milliseconds, a clock holds it back: until the time of ``slow_start=`` is over,
it doubles ten times at most.
"""

from __future__ import annotations

from math import log2

from trunkline.streams.admission.gate import NEVER, UNLIMITED

DOUBLINGS = 10
"""How often the clock's limit doubles within the time of slow start: from 1 to 1,024 events."""

_STEP = 0.001  # seconds: so that rounding never names a moment that is not yet there


class SlowStart:
    """How many events may be under way while a destination recovers.

    ``began`` and ``now``: of one monotonic clock, in seconds; ``length``: how many seconds the
    clock holds back. No I/O.
    """

    def __init__(self, began: float, length: float) -> None:
        self._began = began
        self._length = length
        self._earned = 0.0  # events that the destination accepted, halved by each failure
        self._peak = 0

    def allowed(self, now: float) -> int:
        """How many events may be under way now: as many as were accepted, at least one, and not
        more than the clock allows."""
        return int(min(max(1.0, self._earned), self._clock_limit(now)))

    def grows_at(self, now: float) -> float:
        """When the clock allows more; NEVER if it is a success that is missing."""
        limit = self._clock_limit(now)
        if self._earned <= limit:
            return NEVER
        return self._began + self._length * log2(int(limit) + 1) / DOUBLINGS + _STEP

    def observe(self, under_way: int) -> None:
        """So many events are under way now."""
        self._peak = max(self._peak, under_way)

    def succeeded(self, count: int) -> None:
        """The destination accepted so many events."""
        self._earned += count

    def failed(self) -> None:
        """A call found the destination unavailable."""
        self._earned /= 2

    def full(self, now: float) -> bool:
        """Whether slow start is over: its time has passed, and it holds nothing back any more.

        Why not the time alone: a destination that takes 5 s for each call has accepted two events
        after the 10 s of slow start. Without a limit from there on it would get all that waits at
        once, a hundred calls where it has shown that it can do two. So slow start goes on until
        twice as much is allowed as was ever asked for.
        """
        return now - self._began >= self._length and self._earned > 2 * self._peak

    def _clock_limit(self, now: float) -> float:
        elapsed = now - self._began
        return 2 ** (DOUBLINGS * elapsed / self._length) if elapsed < self._length else UNLIMITED
