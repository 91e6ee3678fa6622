"""Routing in memory: both the canonical events and what becomes of them are there, or neither."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trunkline.kafka.messages import StoredMessage, event_of, partition_of
from trunkline.kafka.offsets import Partition
from trunkline.streams.route.holding import Waiting
from trunkline.streams.route.router import Hold, Router, is_held
from trunkline.tasks import supervised_task
from trunkline.testing.keys import IdempotencyKeys
from trunkline.testing.topics import Topics


@dataclass(slots=True)
class Unrouted:
    """Canonical events that are not routed, since their partitions are held. They survive a worker,
    as in Kafka what is not committed does. ``errors``: why, the last time."""

    events: dict[Partition, list[StoredMessage]] = field(default_factory=dict)
    errors: dict[Partition, Exception] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """The ids of the events, in their order in each partition."""
        return [event_of(m, bytes).id for events in self.events.values() for m in events]

    @property
    def shown(self) -> list[str]:
        """A line a partition, for people."""
        return [
            f"{len(events)} events of {topic}/{number} are held in routing: {why!r}"
            for (topic, number), events in self.events.items()
            for why in [self.errors[topic, number]]
        ]


class MemoryRouting:
    """Routes as the routing step does. ``unrouted``: what an earlier worker has left."""

    def __init__(
        self, router: Router, topics: Topics, keys: IdempotencyKeys, unrouted: Unrouted
    ) -> None:
        self._router = router
        self._topics = topics
        self._keys = keys
        self._unrouted = unrouted
        self._tries: dict[Partition, asyncio.Task[None]] = {}
        self.failure: BaseException | None = None

    async def start(self) -> None:
        """Begin with what is left."""
        for partition in self._unrouted.events:
            self._begin_to_try(partition)

    async def stop(self) -> None:
        """End; what is held stays unrouted."""
        for task in self._tries.values():
            task.cancel()
        await asyncio.gather(*self._tries.values(), return_exceptions=True)

    async def route(self, messages: Iterable[StoredMessage]) -> None:
        """Route these, or put them behind what is held of their partitions."""
        events, going_on = self._unrouted.events, []
        for message in messages:
            if (behind := events.get(partition_of(message))) is not None:
                behind.append(message)
            else:
                going_on.append(message)
        for message in await self._written(going_on):
            events.setdefault(partition_of(message), []).append(message)
        for partition in events.keys() - self._tries.keys():
            self._begin_to_try(partition)

    async def _written(self, messages: Sequence[StoredMessage]) -> list[StoredMessage]:
        """Route these, and return those that cannot be routed for now."""
        done = await self._router.route(messages)
        self._keys.check(done.records)
        self._topics.write(done.records)
        self._unrouted.errors |= {at: hold.error for at, hold in done.holds.items()}
        return [message for message in messages if is_held(message, done.holds)]

    def _begin_to_try(self, partition: Partition) -> None:
        name = f"routing of {partition}"
        self._tries[partition] = supervised_task(self._try(partition), name, self._failed)

    async def _try(self, partition: Partition) -> None:
        """Route what is held of a partition as soon as that can be done, with the step's pauses."""
        events = self._unrouted.events[partition]
        waiting: Waiting | None = None
        while events:
            hold = Hold(events[0].offset(), self._unrouted.errors[partition])
            if waiting is None:
                waiting = Waiting(hold, self._topics.clock)
            else:
                waiting.fail(hold)
            await asyncio.sleep(waiting.pause())
            some = list(events)
            left = await self._written(some)
            del events[: len(some) - len(left)]  # more may have come behind them meanwhile
        del self._unrouted.events[partition], self._unrouted.errors[partition]
        del self._tries[partition]

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure
