"""A canonical partition, its live routing and one destination's inbox, without Kafka: live events
are routed and workers die wherever a replay or a re-drive waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import orjson

from trunkline.kafka import Out
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.offsets import Partition
from trunkline.schemas.codec import nothing_to_learn
from trunkline.streams.replay.job import JobContext, PartitionJob
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.route.router import CompiledRoute, CompiledTopic, Router
from trunkline.streams.route.transactions import RoutingTransactions

TOPIC, INBOX, DLQ, CONTROL = "orders", "f.erp.inbox", "f.erp.dlq", "f.control"
PLACE: Partition = (TOPIC, 0)


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
    """``next_event``: what happens at a point where the replay waits: so many live events are
    routed (-1: the worker dies)."""

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
        self.lock = Turn(self)

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
            self.job.on_routed(record)  # type: ignore[arg-type]

    async def happen(self, *, turn: bool = False) -> None:
        """What else happens now. In somebody's turn nothing is routed."""
        count = self.next_event()
        if count < 0:
            raise Crash
        if not turn and not self.lock.locked():
            for _ in range(count):
                self.route()
        await asyncio.sleep(0)

    async def write(self, records: list[Out], at: Any, epoch: int) -> None:
        """A chunk's transaction: the worker may die before it, or right after."""
        assert self.lock.locked(), "written out of turn"
        assert (at.topic, at.partition, at.offset) == (*PLACE, self.live), "live offsets moved"
        await self.happen(turn=True)
        for topic, key, value, headers in records:
            if topic == INBOX:
                self._arrived(key, dict(headers))
            elif topic == CONTROL:
                self.durable[(key or b"").decode()] = orjson.loads(value or b"null")
            else:
                self.logs.setdefault(topic, [])
        await self.happen(turn=True)

    def _arrived(self, key: bytes | None, headers: Mapping[str, bytes]) -> None:
        offset = int(headers["tl_from"].split(b"/")[2])
        origin, id = headers["tl_origin"].decode(), headers["ce_id"].decode()
        self.inbox.append(Sent(key or b"", offset, origin, id))

    def newest(self, key: bytes) -> int:
        """The newest of a key that live routing has sent."""
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
        return DestinationPath(
            "erp", INBOX, topics, Router(topics, nothing_to_learn), nothing_to_learn, self.appends
        )

    async def finish(self, make: Callable[[], PartitionJob]) -> None:
        """Jobs one after the other, each begun anew where the one before was killed."""
        while self.job is None or not self.job.progress.done:
            self.job = make()
            try:
                await self.job.run()
            except Crash:
                self.lock = Turn(self)


class Turn(asyncio.Lock):
    """A turn that has to be waited for."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def acquire(self) -> Literal[True]:
        await self._world.happen()
        return await super().acquire()


class FakeRangeReader:
    """``RangeReader`` over the logs, two records a piece."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.at = self._until = 0
        self._topic = TOPIC

    async def __aenter__(self) -> FakeRangeReader:
        return self

    async def __aexit__(self, *failure: object) -> None:
        pass

    async def position(self, place: Partition) -> int:
        assert place == PLACE
        found = self._world.live
        await self._world.happen()
        return found

    async def seek(self, place: Partition, start: int, until: int) -> None:
        self._topic, self.at, self._until = place[0], start, until
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
