"""How much of a limit one worker has used of late, and so what it asks for."""

from __future__ import annotations

from trunkline.streams.admission.gate import NEVER
from trunkline.streams.quota.fair_share import NOTHING, Share

WINDOW = 0.9
"""Seconds for which use is measured at least."""


IDLE = 3.0
"""Seconds without an event after which a share is given back."""


class Usage:
    """What one gate was asked for and let through of late, and so what it wants."""

    def __init__(self) -> None:
        self._asked_at = -NEVER
        self._since = -NEVER
        self._events = self._peak = 0
        self._slow = self._full = self._waits = False
        self._last = NOTHING

    def asked(self, now: float) -> None:
        """Somebody has something to send, or a call ended."""
        self._asked_at = now

    def sent(self, count: int, under_way: int) -> None:
        """One call began."""
        self._events += count
        self._peak = max(self._peak, under_way)

    def blocked(self, slow: bool, full: bool, *, waits: bool) -> None:
        """There was more to send than the rate, or the permits, allow. ``waits``: this
        worker's share is nothing, so the sender sleeps until it has some and does not ask again
        before. It counts as demand all the while: its silence would else be taken for having
        nothing to send, and it would be given nothing for ever."""
        self._slow |= slow
        self._full |= full
        self._waits |= waits

    def served(self, now: float) -> None:
        """Whoever waits is told that there is more: if it has something to send, it asks again."""
        self._asked_at = now
        self._waits = False

    def wants(self, now: float, whole: Share, under_way: int) -> Share:
        """All where it was blocked; else what it used and half as much again, falling slowly, so
        that a pause of a second is not punished."""
        if now - self._asked_at > IDLE and not under_way and not self._waits:
            return NOTHING
        return Share(self._rate(now, whole.rate), self._calls(whole.calls, under_way))

    def reported(self, now: float, whole: Share, under_way: int) -> None:
        """Begin to measure anew, but once a second at most: less would tell nothing."""
        if now - self._since < WINDOW:
            return
        self._last = self.wants(now, whole, under_way)
        self._since, self._events, self._peak = now, 0, under_way
        self._slow = self._full = False

    def _rate(self, now: float, whole: float | None) -> float | None:
        if whole is None or self._slow:
            return whole
        used = self._events / max(WINDOW, now - self._since)
        return min(whole, max(used * 1.5, (self._last.rate or 0.0) / 2, whole / 100))

    def _calls(self, whole: int | None, under_way: int) -> int | None:
        if whole is None or self._full:
            return whole
        return min(whole, max(1, self._peak, under_way, (self._last.calls or 0) // 2))
