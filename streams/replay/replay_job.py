"""Replaying one canonical partition through today's routes, beside live traffic.

Mode "events" sends every event of the range. Mode "state" goes window by window, and sends an event
only while it is the latest of its key: ``LatestByKey`` says which those are, and is asked once more
in the transaction that sends it. No live event is routed between that question and the commit, so
the destination never ends on an older state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from confluent_kafka import Message

from trunkline.kafka.messages import AnyMessage
from trunkline.kafka.offsets import Partition
from trunkline.streams.replay.job import Chunk, JobContext, MakeChunk, PartitionJob, empty_chunk
from trunkline.streams.replay.latest import MAX_KEYS, LatestByKey
from trunkline.streams.replay.path import DestinationPath, count_events, with_replay_headers
from trunkline.streams.replay.predicate import Predicate
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.request import Request

KeyOffset = tuple[bytes, int]
"""An event's raw key, and its offset."""


class ReplayJob(PartitionJob):
    """One partition's part in a replay.

    Events that are not routed yet are left to live routing. ``max_keys``: how many one window
    collects.
    """

    def __init__(
        self,
        request: Request,
        partition: Partition,
        context: JobContext,
        rate: RateLimit,
        path: DestinationPath,
        *,
        max_keys: int = MAX_KEYS,
    ) -> None:
        super().__init__(request, partition, context, rate)
        self._path = path
        self._max_keys = max_keys
        self._key = None if request.key is None else request.key.encode()
        self._where = Predicate(request.where) if request.where else None
        self._latest: LatestByKey | None = None
        self._counts: Counter[str] = Counter()

    def on_routed(self, message: AnyMessage) -> None:
        """As the base; what is older of the event's key must not be sent any more."""
        super().on_routed(message)
        if self._latest is not None:
            for key, offset in self._selected_keys([message]):
                self._latest.on_live_event(key, offset)

    async def _send_rest(self) -> None:
        asked = self.request.ranges[self.partition]
        at = max(asked.start, self.progress.next or 0)
        while at < asked.stop:
            at = await self._window(at, asked.stop)
        await self._write(empty_chunk, asked.stop, done=True)

    async def _window(self, start: int, stop: int) -> int:
        """Send a window of the range that begins at ``start``; returns where the next one begins.

        1. The low watermark is where live routing is now: what it routes from here on is told to
           ``on_routed``. Nothing is awaited between the two, so no event is missed.
        2. Collect the latest of each key, until there are ``max_keys``.
        3. Read the window once more, and send what is still the latest.
        """
        low_watermark, self._latest = self._live, LatestByKey()
        routed = min(stop, low_watermark)
        end = routed
        if self.request.mode == "state":
            end = await self._collect(start, routed, low_watermark)
        await self._send(start, end)
        # What is behind the low watermark has been routed by now, or will be: it is sent anyway.
        return stop if end == routed else end

    async def _collect(self, start: int, end: int, low_watermark: int) -> int:
        """Collect the latest of each key from ``start`` to ``end``, or until there are too many.

        Returns the window's end. The log is read on to the low watermark: an order of Tuesday that
        changed on Wednesday is not sent in its state of Tuesday, though only Tuesday is replayed.
        """
        latest = self._latest
        assert latest is not None
        await self._reader.seek(self.partition, start, low_watermark)
        while not self._reader.ended:
            self._check()
            for key, offset in await self._reader.read(self._selected_keys):
                if offset >= end:
                    latest.supersede(key, offset)
                    continue
                latest.collect(key, offset)
                if len(latest) >= self._max_keys:
                    end = offset + 1
        latest.seal()
        return end

    def _selected_keys(self, messages: Sequence[AnyMessage]) -> list[KeyOffset]:
        """Those events that the destination's routes listen to, and that the request's key names.

        Called in the reader's thread, too. A piece is judged there: only keys reach the event loop.
        """
        return [
            (key, message.offset() or 0)
            for message in messages
            if (key := message.key()) and (self._key is None or key == self._key)
            if self._path.takes(message)
        ]

    async def _send(self, start: int, end: int) -> None:
        """Send what is to be sent of the events from ``start`` to ``end``, in chunks."""
        await self._reader.seek(self.partition, start, end)
        pending: list[Message] = []
        while not self._reader.ended:
            self._check()
            for message, outcome in await self._judge(await self._reader.read()):
                if outcome == "sent":
                    pending.append(message)
                else:
                    self._counts[outcome] += 1
                if len(pending) >= self._rate.chunk:
                    await self._flush(pending, (message.offset() or 0) + 1)
            if self._is_progress_due or self._reader.ended:
                await self._flush(pending, self._reader.at)

    async def _judge(self, messages: list[Message]) -> list[tuple[Message, str]]:
        """What becomes of each event that the request selects, as of now."""
        selected = {offset for _, offset in self._selected_keys(messages)}
        messages = [m for m in messages if m.offset() in selected]
        if self._where is not None:
            values = [m.value() for m in messages if self._is_current(m)]
            await self._retried(lambda: self._path.prefetch_schemas(values))
        return [(message, self._outcome(message)) for message in messages]

    def _outcome(self, message: Message) -> str:
        if not self._is_current(message):
            return "superseded"
        fits = self._where is None or self._where.matches(self._path.event(message))
        return "sent" if fits else "skipped"

    def _is_current(self, message: Message) -> bool:
        """Whether no newer event of the key forbids to send this one."""
        if self.request.mode == "events":
            return True
        assert self._latest is not None
        return self._latest.has(message.key() or b"", message.offset() or 0)

    async def _flush(self, pending: list[Message], next: int) -> None:
        """Send what is pending; ``next``: where the progress is then."""
        await self._wait_for(len(pending))

        def current() -> list[Message]:
            # Once more: while this waited for the rate and the lock, live events were routed.
            return [message for message in pending if self._is_current(message)]

        # Out of the lock: a registry that hangs would have all live events wait for its time-out.
        await self._retried(lambda: self._path.prefetch_schemas(m.value() for m in current()))

        async def route() -> MakeChunk:
            done = await self._path.route(chunk := current())

            def made() -> Chunk | None:
                if len(current()) < len(chunk):  # live events have superseded some since
                    return None
                records = with_replay_headers(done.drain(), "replay", self.request.id)
                made_of = count_events(records)
                counts = self._counts + Counter(
                    sent=made_of - done.dead,
                    dead=done.dead,
                    skipped=len(chunk) - made_of,
                    superseded=len(pending) - len(chunk),
                )
                return Chunk(records, counts)

            return made

        await self._write(route, next)
        self._counts.clear()
        pending.clear()
