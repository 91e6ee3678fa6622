"""Which events wait in tiers, per key: the memory that keeps order through retries.

Of each event only its sequence number is kept, so a hundred thousand blocked keys take some
megabytes. It is never stored: the tiers themselves are the state, read again on assignment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable


class BlockedKeys:
    """Per key, the sequence numbers that wait, growing, and when the first one is due."""

    def __init__(self, entries: Iterable[tuple[str, int, float]] = ()) -> None:
        """``entries``: key, sequence number and due time of each event that waits."""
        self._lines: dict[str, list[int]] = {}
        self._due: dict[str, float] = {}
        self.count = 0
        for key, sequence, due in entries:
            self.join(key, sequence, due)

    def __contains__(self, key: str) -> bool:
        return key in self._lines

    def join(self, key: str, sequence: int, due: float) -> None:
        """An event waits from now on, if it does not yet. ``due`` counts if it is the first of
        its key."""
        line = self._lines.setdefault(key, [])
        place = bisect_left(line, sequence)
        if place == len(line) or line[place] != sequence:
            line.insert(place, sequence)
            self.count += 1
            if place == 0:
                self._due[key] = due

    def first(self, key: str) -> int | None:
        """The sequence number whose turn it is; None if nothing of the key waits."""
        line = self._lines.get(key)
        return line[0] if line else None

    def sequences(self, key: str) -> list[int]:
        """The sequence numbers of the key that wait, growing; not to be changed."""
        return self._lines[key]

    def rank(self, key: str, sequence: int) -> int:
        """How many of the key wait before this one."""
        return bisect_left(self._lines[key], sequence)

    def due(self, key: str) -> float:
        """When the first of the key is due, as far as is known."""
        return self._due[key]

    def postpone(self, key: str, due: float) -> None:
        """The first of the key is due then."""
        self._due[key] = due

    def leave(self, key: str) -> None:
        """The first of the key is delivered or dead-lettered."""
        line = self._lines[key]
        del line[0]
        self.count -= 1
        if not line:
            del self._lines[key], self._due[key]

    @property
    def keys(self) -> int:
        """How many keys wait."""
        return len(self._lines)
