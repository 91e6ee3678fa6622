"""A canonical partition, its live routing and one destination's inbox, without Kafka.

Wherever a replay or a re-drive waits for something, live events may be routed or the worker die.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import orjson

from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.offsets import Partition
from trunkline.schemas.codec import nothing_to_learn
from trunkline.streams.replay.job import JobContext, PartitionJob
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router
from trunkline.streams.route.transactions import RoutingTransactions

TOPIC, INBOX, DLQ, CONTROL = "orders", "f.erp.inbox", "f.erp.dlq", "f.control"
PARTITION: Partition = (TOPIC, 0)


class Crash(Exception):
    """The worker is killed."""


@dataclass(frozen=True)
class Sent:
    """An inbox record: the canonical offset that it is made of, and who wrote it."""

    key: bytes
    offset: int
    origin: str
    id: str


@dataclass
class World:
    """All that outlives a worker, and the routing step of the worker that lives now.

    - ``next_event``: asked wherever a job waits: how many live events are routed meanwhile; -1: the
      worker dies.
    - ``only``: the types that the destination's route listens to. ``appends``: of its sink.
    - ``logs``: records by topic. ``live``: the offset that is routed next. ``coming``: keys and
      types of live events that are still to be published.
    - ``inbox``: what was written to it. ``durable``: the control topic's state.
    - ``job``: the one that runs, or the last one.

    It stands for ``RoutingTransactions`` too: ``epoch``, ``lock``, ``write``.
    """

    next_event: Callable[[], int]
    epoch = 1
    only: tuple[str, ...] = ()
    appends: bool = False
    logs: dict[str, list[StoredMessage]] = field(default_factory=lambda: {TOPIC: [], DLQ: []})
    live: int = 0
    inbox: list[Sent] = field(default_factory=list)
    durable: dict[str, Any] = field(default_factory=dict)
    coming: list[tuple[bytes, str]] = field(default_factory=list)
    job: PartitionJob | None = None

    def __post_init__(self) -> None:
        self.lock = ContestedLock(self)

    def publish(self, key: bytes, kind: str = "paid") -> None:
        log = self.logs[TOPIC]
        id = f"e{len(log)}".encode()
        headers = [("ce_id", id), ("ce_type", kind.encode())]
        log.append(StoredMessage(TOPIC, 0, len(log), key, b"{}", headers))

    def route(self) -> None:
        """Route the next live event, published before or now."""
        if self.live == len(self.logs[TOPIC]):
            if not self.coming:
                return
            self.publish(*self.coming.pop(0))
        record = self.logs[TOPIC][self.live]
        self.live += 1
        kind = dict(record.headers())["ce_type"].decode()
        if not self.only or kind in self.only:
            key, at = record.key(), record.offset()
            assert key is not None
            self.inbox.append(Sent(key, at, "original", f"e{at}"))
        if self.job is not None:
            self.job.on_routed(record)

    async def happen(self) -> None:
        """Let happen what happens meanwhile. Nothing is routed while somebody holds the lock."""
        count = self.next_event()
        if count < 0:
            raise Crash
        if not self.lock.locked():
            for _ in range(count):
                self.route()
        await asyncio.sleep(0)

    async def write(self, records: list[ProducerRecord], at: Any, epoch: int) -> None:
        """A chunk's transaction: the worker may die before it, or right after."""
        assert self.lock.locked(), "written without the lock"
        assert (at.topic, at.partition, at.offset) == (*PARTITION, self.live), "live offsets moved"
        await self.happen()
        for topic, key, value, headers in records:
            if topic == INBOX:
                self._arrived(key, dict(headers))
            elif topic == CONTROL:
                self.durable[(key or b"").decode()] = orjson.loads(value or b"null")
            else:
                self.logs.setdefault(topic, [])
        await self.happen()

    def _arrived(self, key: bytes | None, headers: Mapping[str, bytes]) -> None:
        offset = int(headers["tl_from"].split(b"/")[2])
        origin, id = headers["tl_origin"].decode(), headers["ce_id"].decode()
        self.inbox.append(Sent(key or b"", offset, origin, id))

    def newest(self, key: bytes) -> int:
        """The offset of a key's newest event that live routing has sent; -1 for none."""
        offsets = [s.offset for s in self.inbox if s.key == key and s.origin == "original"]
        return max(offsets, default=-1)

    @property
    def context(self) -> JobContext:
        """What jobs in this world share."""
        reader: Any = lambda: FakeRangeReader(self)  # noqa: E731
        return JobContext("f", cast(RoutingTransactions, self), reader, lambda: dict(self.durable))

    @property
    def path(self) -> DestinationPath:
        """One route, from the topic to the inbox."""
        route = CompiledRoute.of(
            lambda event: event.data,
            inbox=INBOX,
            dlq=DLQ,
            encode=bytes,
            only=self.only,
            accepts_deletes=True,
        )
        topics = {TOPIC: CompiledTopic(bytes, [route])}
        return DestinationPath("erp", INBOX, topics, Router(topics), nothing_to_learn, self.appends)

    async def finish(self, make: Callable[[], PartitionJob]) -> None:
        """Jobs one after the other, each begun anew where the one before was killed."""
        while self.job is None or not self.job.progress.done:
            self.job = make()
            try:
                await self.job.run()
            except Crash:
                self.lock = ContestedLock(self)


class ContestedLock(asyncio.Lock):
    """A lock that has to be waited for: live routing has it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def acquire(self) -> Literal[True]:
        await self._world.happen()
        return await super().acquire()


class FakeRangeReader:
    """A ``RangeReader`` of the world's logs that gives two records at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.at = self._until = 0
        self._topic = TOPIC

    async def __aenter__(self) -> FakeRangeReader:
        return self

    async def __aexit__(self, *failure: object) -> None:
        pass

    async def position(self, partition: Partition) -> int:
        assert partition == PARTITION
        found = self._world.live
        await self._world.happen()
        return found

    async def seek(self, partition: Partition, start: int, until: int) -> None:
        self._topic, self.at, self._until = partition[0], start, until
        await self._world.happen()

    @property
    def ended(self) -> bool:
        return self.at >= self._until

    async def read(self, keep: Callable[[list[Any]], list[Any]] = list) -> list[Any]:
        until = min(self.at + 2, self._until)
        found = self._world.logs[self._topic][self.at : until]
        self.at = until
        await self._world.happen()
        return keep(found)
