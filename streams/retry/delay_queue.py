"""Events that were read a little before their time: a heap, and one timer for all of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from trunkline.event import Event


class DelayQueue:
    """Holds events until they ripen. ``clock``: epoch seconds; ``later(seconds)``: asks for a
    call of ``ripen`` in so many seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        later: Callable[[float], object],
        woke: Callable[[Event[Any]], None],
    ) -> None:
        self._clock = clock
        self._later = later
        self._woke = woke
        self._heap: list[tuple[float, int, Event[Any]]] = []
        self._ticket = count()
        self._alarm = float("inf")

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, wake: float, event: Event[Any]) -> None:
        """Hold an event until ``wake``; one whose time has come wakes at once."""
        if wake <= self._clock():
            self._woke(event)
            return
        heapq.heappush(self._heap, (wake, next(self._ticket), event))
        self._set_alarm()

    def expire(self) -> None:
        """Wake what is ripe, the earliest first."""
        self._alarm = float("inf")
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            self._woke(heapq.heappop(self._heap)[2])
        self._set_alarm()

    def clear(self) -> None:
        """Forget everything: the partitions are somebody else's."""
        self._heap.clear()

    def _set_alarm(self) -> None:
        if self._heap and self._heap[0][0] < self._alarm:
            self._alarm = self._heap[0][0]
            self._later(max(0.0, self._alarm - self._clock()) + 0.001)
