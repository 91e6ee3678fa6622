"""The rate of one partition's part in a request: how large its chunks are, and when each may go."""

from __future__ import annotations

from collections.abc import Callable

MAX_CHUNK = 200
"""Most events of one transaction: live batches wait for it, and are up to 25 times as large."""
CATCH_UP = 1.0
"""Seconds that a slow transaction may be behind its rate and catch up."""


class RateLimit:
    """Keeps to a rate. ``rate``: events a second as of now, or None for no limit.

    It is asked anew each time: a partition gets a larger part once another one is done.
    """

    def __init__(self, rate: Callable[[], float | None]) -> None:
        self._rate = rate
        self._next = 0.0

    @property
    def chunk(self) -> int:
        """How many events to send at once: about two chunks a second."""
        rate = self._rate()
        return MAX_CHUNK if rate is None else max(1, min(MAX_CHUNK, int(rate / 2)))

    def wait(self, count: int, now: float) -> float:
        """Seconds to wait before so many events are sent; counts them as sent then.

        ``now``: seconds of a clock that never goes back.
        """
        rate = self._rate()
        # After a transaction of 5 s at 100/s, 500 events are owed: sent at once, they would hit the
        # destination with what the rate was to spare it. So only the last second of it is made up.
        start = max(now - CATCH_UP, self._next or now)
        self._next = start + (count / rate if rate else 0.0)
        return max(0.0, start - now)
