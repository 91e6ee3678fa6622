"""Events that may be sent, one queue a key.

A queue is in one batch at a time, so no two events of a key are ever under way at once. What
fails goes back to the front of its queue. Queues of which an event was held back, and all others,
take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable
from typing import Any

from trunkline.event import Event


class KeyQueues:
    """Queues of events that may be sent. ``ordered=False`` gives each event a queue of its own."""

    def __init__(self, *, ordered: bool = True) -> None:
        self._ordered = ordered
        self._queues: dict[Hashable, deque[Event[Any]]] = {}
        self._ready: deque[Hashable] = deque()
        self._again: deque[Hashable] = deque()  # ready, too; an event of theirs was held back
        self._held: set[Hashable] = set()  # not ready yet, and go there
        self._alone: set[Hashable] = set()
        self._again_next = False

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
        return len(self._ready) + len(self._again)

    def poll(self, limit: int) -> list[Event[Any]]:
        """Take up to ``limit`` events of ready queues, those of a queue in their order. The
        queues are busy until ``release``.

        Queues of which an event was held back come first every other time. Case: the probe of a
        circuit breaker is one event. Were it always the oldest, one that kills whatever serves it
        would be the probe each time, and keep the breaker open for all others.
        """
        batch: list[Event[Any]] = []
        again_first = bool(self._again) and (self._again_next or not self._ready)
        self._again_next = bool(self._again) and not again_first
        for ready in (self._again, self._ready) if again_first else (self._ready, self._again):
            while ready and len(batch) < limit:
                if ready[0] in self._alone:
                    if batch:
                        break
                    key = ready.popleft()
                    self._alone.discard(key)
                    return [self._queues[key].popleft()]
                self._take(ready.popleft(), batch, limit)
        return batch

    def _take(self, key: Hashable, batch: list[Event[Any]], limit: int) -> None:
        queue = self._queues[key]
        while queue and len(batch) < limit:
            batch.append(queue.popleft())

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

    def requeue(self, events: Iterable[Event[Any]], *, alone: Collection[Hashable] = ()) -> None:
        """Put failed events back, in their order, to the front of their queues, which stay
        busy. ``alone``: queues whose next event is to be in a batch of its own."""
        for event in reversed(list(events)):
            key = self.key(event)
            self._queues.setdefault(key, deque()).appendleft(event)
            self._held.add(key)
        self._alone.update(alone)

    def release(self, events: Iterable[Event[Any]]) -> None:
        """Make the queues of these events ready again; one that is empty is removed."""
        for key in {self.key(event) for event in events}:
            queue = self._queues.get(key)
            if queue is None:
                continue
            if queue:
                (self._again if key in self._held else self._ready).append(key)
            else:
                del self._queues[key]
            self._held.discard(key)

    def clear(self) -> None:
        """Forget all events; those of batches under way may still be released."""
        self._queues.clear()
        self._ready.clear()
        self._again.clear()
        self._held.clear()
        self._alone.clear()
