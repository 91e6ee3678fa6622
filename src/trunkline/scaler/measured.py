"""What is measured of workers: how much one of them delivers, and how long one takes to start."""

from __future__ import annotations

from collections import deque

WINDOW = 30.0
"""Seconds of work that one worker is counted on for: with more, another one is of use."""
FIRST_RATE = 100.0
"""Events a second that one worker is taken to deliver before anything was measured."""
SAMPLES = 20
ENOUGH = 5
"""Starts that must have been seen before they count."""
LONGEST_LEAD = 300.0
"""Seconds after which a worker that comes says nothing: it was not the wish that brought it."""


class Capacity:
    """How many events one worker completes, measured while it had enough to do. For one thread."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=SAMPLES)
        self._before: tuple[float, int, bool] | None = None

    def note(self, now: float, completed: int, members: int, *, busy: bool) -> None:
        """``completed``: offsets that the group has behind it, over all partitions; ``members``:
        workers that share them; ``busy``: whether events waited for them."""
        before, self._before = self._before, (now, completed, busy)
        if before is None or not (before[2] and busy and members):
            return
        seconds, count = now - before[0], completed - before[1]
        if seconds > 0 and count > 0:
            self._rates.append(count / seconds / members)

    @property
    def rate(self) -> float:
        """Events a second of one worker: the best of late, as a slow moment is no limit."""
        return max(self._rates, default=FIRST_RATE)


class Lead:
    """How long before something is due a worker must be woken: the p90 of how long it took from the
    wish for one until it was in its group; ``first`` seconds until five starts were seen. For one
    thread."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._took: deque[float] = deque(maxlen=50)
        self._wished_at: float | None = None

    def wished(self, now: float) -> None:
        """None runs, and one is wanted now."""
        self._wished_at = now

    def running(self, now: float) -> None:
        """At least one runs."""
        if self._wished_at is not None and now - self._wished_at <= LONGEST_LEAD:
            self._took.append(now - self._wished_at)
        self._wished_at = None

    def dropped(self) -> None:
        """None is wanted any more: whenever one comes, it says nothing."""
        self._wished_at = None

    @property
    def seconds(self) -> float:
        """The lead."""
        if len(self._took) < ENOUGH:
            return self._first
        ranked = sorted(self._took)
        return ranked[-(-len(ranked) * 9 // 10) - 1]
