"""Events that were read a little before their time, the earliest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from trunkline.event import Event

NEVER = float("inf")


class DelayQueue:
    """Holds events until the time that is given with each, in epoch seconds. Events of one time
    come out in the order in which they came in."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Event[Any]]] = []
        self._number = count()

    @property
    def next_at(self) -> float:
        """When the earliest event's time comes; NEVER if none is held."""
        return self._heap[0][0] if self._heap else NEVER

    def add(self, at: float, event: Event[Any]) -> None:
        """Hold an event until then."""
        heapq.heappush(self._heap, (at, next(self._number), event))

    def expire(self, now: float) -> list[Event[Any]]:
        """Take out the events whose time has come, the earliest first."""
        due: list[Event[Any]] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due

    def __len__(self) -> int:
        return len(self._heap)

    def take(self, wanted: Callable[[Event[Any]], object]) -> list[Event[Any]]:
        """Take out the events that are wanted, the earliest first."""
        found = sorted(entry for entry in self._heap if wanted(entry[2]))
        if found:
            numbers = {entry[1] for entry in found}
            self._heap = [entry for entry in self._heap if entry[1] not in numbers]
            heapq.heapify(self._heap)
        return [entry[2] for entry in found]

    def clear(self) -> None:
        """Forget everything: the partitions are somebody else's."""
        self._heap.clear()
