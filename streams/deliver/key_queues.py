"""Order per key: events that wait for delivery, one lane a key.

A lane is in one batch at a time, so no two events of a key are ever under way at once, and what
fails goes back to the front of its lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

from trunkline.event import Event


class KeyQueues:
    """Lanes of waiting events. ``ordered=False`` gives each event a lane of its own."""

    def __init__(self, *, ordered: bool = True) -> None:
        self._ordered = ordered
        self._lanes: dict[Hashable, deque[Event[Any]]] = {}
        self._ready: deque[Hashable] = deque()

    def key(self, event: Event[Any]) -> Hashable:
        """The lane of an event."""
        return event.key if self._ordered else (event.topic, event.partition, event.offset)

    def add(self, event: Event[Any]) -> None:
        """Put an event at the end of its lane."""
        key = self.key(event)
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque((event,))
            self._ready.append(key)
        else:
            lane.append(event)

    @property
    def ready(self) -> int:
        """How many lanes have events and are in no batch."""
        return len(self._ready)

    def poll(self, limit: int) -> list[Event[Any]]:
        """Up to ``limit`` events of ready lanes, those of a lane in order. The lanes are busy
        until ``release``."""
        batch: list[Event[Any]] = []
        while self._ready and len(batch) < limit:
            key = self._ready.popleft()
            lane = self._lanes[key]
            while lane and len(batch) < limit:
                batch.append(lane.popleft())
        return batch

    def drain_pending(self, key: Hashable) -> list[Event[Any]]:
        """Take out what a lane holds besides what is in a batch, in order."""
        lane = self._lanes.get(key)
        if lane is None:
            return []
        waiting = list(lane)
        lane.clear()
        return waiting

    def __contains__(self, key: Hashable) -> bool:
        return key in self._lanes

    def requeue(self, events: Iterable[Event[Any]]) -> None:
        """Events that failed, in their order, to the front of their lanes, which stay busy."""
        for event in reversed(list(events)):
            self._lanes.setdefault(self.key(event), deque()).appendleft(event)

    def release(self, events: Iterable[Event[Any]]) -> None:
        """The lanes of these events are free again, and gone if they are empty."""
        for key in {self.key(event) for event in events}:
            lane = self._lanes.get(key)
            if lane is None:
                continue
            if lane:
                self._ready.append(key)
            else:
                del self._lanes[key]

    def clear(self) -> None:
        """Forget everything that waits; batches under way may still be released."""
        self._lanes.clear()
        self._ready.clear()
