"""Events that may be sent, one queue a key.

A queue is in one batch at a time, so no two events of a key are ever under way at once. What
fails goes back to the front of its queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

from trunkline.event import Event


class KeyQueues:
    """Queues of events that may be sent. ``ordered=False`` gives each event a queue of its own."""

    def __init__(self, *, ordered: bool = True) -> None:
        self._ordered = ordered
        self._queues: dict[Hashable, deque[Event[Any]]] = {}
        self._ready: deque[Hashable] = deque()

    def key(self, event: Event[Any]) -> Hashable:
        """The key of the event's queue."""
        return event.key if self._ordered else (event.topic, event.partition, event.offset)

    def add(self, event: Event[Any]) -> None:
        """Put an event at the end of its queue."""
        key = self.key(event)
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque((event,))
            self._ready.append(key)
        else:
            queue.append(event)

    @property
    def ready(self) -> int:
        """How many queues have events and are in no batch."""
        return len(self._ready)

    def poll(self, limit: int) -> list[Event[Any]]:
        """Take up to ``limit`` events of ready queues, those of a queue in their order. The
        queues are busy until ``release``."""
        batch: list[Event[Any]] = []
        while self._ready and len(batch) < limit:
            key = self._ready.popleft()
            queue = self._queues[key]
            while queue and len(batch) < limit:
                batch.append(queue.popleft())
        return batch

    def drain_pending(self, key: Hashable) -> list[Event[Any]]:
        """Take out what a queue holds besides what is in a batch, in order."""
        queue = self._queues.get(key)
        if queue is None:
            return []
        pending = list(queue)
        queue.clear()
        return pending

    def __contains__(self, key: Hashable) -> bool:
        """Whether an event of the key is in a queue or in a batch."""
        return key in self._queues

    def requeue(self, events: Iterable[Event[Any]]) -> None:
        """Put failed events back, in their order, to the front of their queues, which stay
        busy."""
        for event in reversed(list(events)):
            self._queues.setdefault(self.key(event), deque()).appendleft(event)

    def release(self, events: Iterable[Event[Any]]) -> None:
        """Make the queues of these events ready again; one that is empty is removed."""
        for key in {self.key(event) for event in events}:
            queue = self._queues.get(key)
            if queue is None:
                continue
            if queue:
                self._ready.append(key)
            else:
                del self._queues[key]

    def clear(self) -> None:
        """Forget all events; those of batches under way may still be released."""
        self._queues.clear()
        self._ready.clear()
