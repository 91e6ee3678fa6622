"""Replaying one canonical partition through today's route, beside live traffic.

Mode "state": a window of keys is collected from the past, whatever is newer is read up to the live
position or heard while it is routed, and an event is sent only while it is its key's newest. Both
happen in the routing step's turn, so the destination never ends on an older state; also after a
restart, which begins anew with the window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from confluent_kafka import Message

from trunkline.kafka import Out
from trunkline.kafka.offsets import Partition
from trunkline.streams.replay.job import Job, JobContext, empty_chunk
from trunkline.streams.replay.latest import MOST, LatestByKey
from trunkline.streams.replay.path import DestinationPath, events_in, with_replay_headers
from trunkline.streams.replay.predicate import Predicate
from trunkline.streams.replay.request import Request

KeyOffset = tuple[bytes, int]
"""An event's raw key, and its offset."""


class ReplayJob(Job):
    """One partition's part in a replay. Events that live traffic has yet to route are left to it.
    ``window``: most keys that are collected at once."""

    def __init__(
        self,
        request: Request,
        place: Partition,
        desk: JobContext,
        share: Callable[[], float | None],
        way: DestinationPath,
        *,
        window: int = MOST,
    ) -> None:
        super().__init__(request, place, desk, share)
        self._way = way
        self._most = window
        self._key = None if request.key is None else request.key.encode()
        self._where = Predicate(request.where) if request.where else None
        self._newest: LatestByKey | None = None
        self._counts: Counter[str] = Counter()
        self._filtered = any(route.only for route in way.topics[place[0]].routes)

    def on_routed(self, message: Message) -> None:
        """Takes out its key: what is older of it must not be sent any more."""
        super().on_routed(message)
        if self._newest is not None:
            for key, offset in self._concerned([message]):
                self._newest.on_live_event(key, offset)

    async def _work(self) -> None:
        asked = self.request.ranges[self.place]
        at, until = max(asked.start, self.progress.next or 0), asked.stop
        while at < until:
            at = await self._window(at, until)
        await self._write(empty_chunk, until, done=True)

    async def _window(self, at: int, until: int) -> int:
        """Send a window from ``at`` on; returns where the next one begins."""
        # In one step: what is routed from here on is heard, what was before is read.
        live, self._newest = self._position, LatestByKey()
        last = min(until, live)
        end = last
        if self.request.mode == "state":
            end = await self._collect(at, last, live)
        await self._send(at, end)
        return until if end == last else end

    async def _collect(self, at: int, end: int, live: int) -> int:
        """The newest of each key from ``at`` on, as far as the window goes; returns its end."""
        assert self._newest is not None
        await self._past.seek(self.place, at, live)
        while not self._past.ended:
            self._check()
            for key, offset in await self._past.read(self._concerned):
                if offset >= end:
                    self._newest.supersede(key, offset)
                    continue
                self._newest.collect(key, offset)
                if len(self._newest) >= self._most:
                    end = offset + 1
        self._newest.seal()
        return end

    def _concerned(self, messages: list[Message]) -> list[KeyOffset]:
        """Those that the destination's routes listen to, and that are asked for by key."""
        return [
            (key, message.offset() or 0)
            for message in messages
            if (key := message.key()) and (self._key is None or key == self._key)
            if not self._filtered or self._listens(message)
        ]

    def _listens(self, message: Message) -> bool:
        headers = message.headers() or []
        return self._way.listens(self.place[0], headers)  # type: ignore[arg-type]

    async def _send(self, at: int, end: int) -> None:
        """Every event from ``at`` to ``end`` that is to be sent, in chunks."""
        await self._past.seek(self.place, at, end)
        pending: list[Message] = []
        while not self._past.ended:
            self._check()
            for message, verdict in await self._judged(await self._past.read()):
                if verdict == "sent":
                    pending.append(message)
                else:
                    self._counts[verdict] += 1
                if len(pending) >= self._pace.chunk:
                    await self._flush(pending, (message.offset() or 0) + 1)
            if self._late or self._past.ended:
                await self._flush(pending, self._past.at)

    async def _judged(self, messages: list[Message]) -> list[tuple[Message, str]]:
        """What becomes of each that is asked for, as of now."""
        concerned = {offset for _, offset in self._concerned(messages)}
        messages = [m for m in messages if m.offset() in concerned]
        if self._where is not None:
            values = [m.value() for m in messages if self._is_current(m)]
            await self._holding(lambda: self._way.learn(values))
        return [(message, self._verdict(message)) for message in messages]

    def _verdict(self, message: Message) -> str:
        if not self._is_current(message):
            return "superseded"
        fits = self._where is None or self._where.matches(self._way.event(message))
        return "sent" if fits else "skipped"

    def _is_current(self, message: Message) -> bool:
        if self.request.mode == "events":
            return True
        assert self._newest is not None
        return self._newest.has(message.key() or b"", message.offset() or 0)

    async def _flush(self, pending: list[Message], next: int) -> None:
        """Send what is pending, but what has become superseded."""
        await self._wait_for(len(pending))

        async def routed() -> tuple[list[Out], Mapping[str, int]]:
            current = [message for message in pending if self._is_current(message)]
            done = await self._way.router.route(current)
            records = with_replay_headers(done.drain(), "replay", self.request.id)
            sent = events_in(records)
            return records, self._counts + Counter(
                sent=sent - done.dead,
                dead=done.dead,
                skipped=len(current) - sent,
                superseded=len(pending) - len(current),
            )

        await self._write(routed, next)
        self._counts.clear()
        pending.clear()
