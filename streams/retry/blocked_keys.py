"""Which events wait for another attempt, or behind one that does: per key, their numbers.

Of each event only its sequence number is kept (its offset in the inbox), so a hundred thousand
blocked keys take some megabytes. It is never stored: after a restart or a rebalance it is read
again from the retry topics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable


class BlockedKeys:
    """Per blocked key, the ascending sequence numbers that wait, and when the first is due."""

    def __init__(self, entries: Iterable[tuple[str, int, float]] = ()) -> None:
        """``entries``: key, sequence number and due time of each event that waits."""
        self._sequences: dict[str, list[int]] = {}
        self._due: dict[str, float] = {}
        self.count = 0
        for key, sequence, due in entries:
            self.join(key, sequence, due)

    def __contains__(self, key: str) -> bool:
        return key in self._sequences

    def __len__(self) -> int:
        return len(self._sequences)

    def join(self, key: str, sequence: int, due: float) -> None:
        """Let an event wait, if it does not yet. ``due`` is kept if it is the key's first."""
        sequences = self._sequences.setdefault(key, [])
        rank = bisect_left(sequences, sequence)
        if rank == len(sequences) or sequences[rank] != sequence:
            sequences.insert(rank, sequence)
            self.count += 1
            if rank == 0:
                self._due[key] = due

    def first(self, key: str) -> int | None:
        """The lowest sequence number of the key that waits; None if the key is not blocked."""
        sequences = self._sequences.get(key)
        return sequences[0] if sequences else None

    def sequences(self, key: str) -> list[int]:
        """The sequence numbers of the key that wait, ascending; not to be changed."""
        return self._sequences[key]

    def rank(self, key: str, sequence: int) -> int:
        """How many events of the key wait before this one."""
        return bisect_left(self._sequences[key], sequence)

    def due(self, key: str) -> float:
        """When the first event of the key is due, as far as is known."""
        return self._due[key]

    def postpone(self, key: str, due: float) -> None:
        """Note that the first event of the key is due at another time, if any waits."""
        if key in self._sequences:
            self._due[key] = due

    def leave(self, key: str) -> None:
        """Remove the first event of the key: it is delivered or dead-lettered."""
        sequences = self._sequences[key]
        del sequences[0]
        self.count -= 1
        if not sequences:
            del self._sequences[key], self._due[key]

    def remove(self, key: str, sequence: int) -> None:
        """Remove any event of the key, if it waits."""
        sequences = self._sequences.get(key, [])
        rank = bisect_left(sequences, sequence)
        if rank == len(sequences) or sequences[rank] != sequence:
            return
        del sequences[rank]
        self.count -= 1
        if not sequences:
            del self._sequences[key], self._due[key]
