"""How long an event of a key takes whose lane has more: how soon those behind it get their turn."""

from __future__ import annotations

WEIGHT = 1 / 16
"""What the newest measurement counts in the average (exponential smoothing, Holt 1957)."""

LONGEST = 0.25
"""Seconds that one measurement counts at most: an outage is no pace."""


class Pace:
    """The average over all keys, in seconds per event; 0 until something was measured."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: dict[str, float] = {}

    def ended(self, key: str, now: float) -> None:
        """An event of the key is done with, and the next one of its lane is sent."""
        since = self._since.get(key)
        if since is not None:
            self.seconds += WEIGHT * (min(now - since, LONGEST) - self.seconds)
        self._since[key] = now

    def stopped(self, key: str) -> None:
        """The key's lane has nothing more."""
        self._since.pop(key, None)

    def forget(self) -> None:
        """All lanes are gone."""
        self._since.clear()
