"""Re-driving and discarding the dead letters of one canonical partition.

The worker that routes the partition does it, so that a letter and what is routed live are in
order. In the transaction that sends letters again stands which letters are handled: none is sent
twice. A letter whose key had a newer event since is superseded, unless its sink appends or it is
forced; it stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Literal

from confluent_kafka import Message

from trunkline.headers import (
    TL_ATTEMPT,
    TL_DEAD_FROM,
    TL_DUE_AT,
    TL_FIRST_FAILED_AT,
    TL_FROM,
    TL_HALTED,
    TL_SEQ,
)
from trunkline.kafka import Out
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.offsets import Partition
from trunkline.streams.control import topic as control
from trunkline.streams.control.records import HaltKey, HandledKey
from trunkline.streams.dlq.envelope import DEAD_LETTER_HEADERS
from trunkline.streams.dlq.halted import halted_event_of
from trunkline.streams.dlq.handled import Handled, handled_by_home, origin_of
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.replay.job import CHUNK, Job, JobContext, empty_chunk
from trunkline.streams.replay.latest import MOST, LatestByKey
from trunkline.streams.replay.path import DestinationPath, with_replay_headers
from trunkline.streams.replay.request import Request

Verdict = Literal["sent", "discarded", "released", "superseded", "skipped", "handled", "not meant"]

DONE = ("sent", "discarded", "released", "handled")
"""Verdicts after which a letter is handled."""

AGAIN = DEAD_LETTER_HEADERS | {
    TL_ATTEMPT,
    TL_FIRST_FAILED_AT,
    TL_SEQ,
    TL_DUE_AT,
    TL_HALTED,
}
"""Headers that a letter loses when it is sent again."""

KEPT = 2000
"""Letters, meant or not, after which a chunk is written."""

QueueOffset = tuple[int, int]
"""A place in the set: the queue's partition, and the offset there."""


class RedriveJob(Job):
    """One partition's part in a re-drive or discard. ``keeper``: whose letters of a home are.
    ``window``: most keys that are looked at at once."""

    def __init__(
        self,
        request: Request,
        place: Partition,
        desk: JobContext,
        share: Callable[[], float | None],
        way: DestinationPath,
        *,
        keeper: Callable[[Partition], Partition],
        window: int = MOST,
    ) -> None:
        super().__init__(request, place, desk, share)
        self._way = way
        self._keeper = keeper
        self._most = window
        self._set = sorted((queue, r.start, r.stop) for queue, r in request.ranges.items())
        self._contested = request.kind == "redrive" and not (request.force or way.appends)
        self._newest: LatestByKey | None = None
        self._handled: dict[Partition, Handled] = {}
        self._starts: dict[tuple[Partition, int], int] = {}
        self._whole = True

    def on_routed(self, message: Message) -> None:
        """Takes out its key: what died before it is superseded."""
        super().on_routed(message)
        if self._newest is not None:
            for key, offset in self._newer([message]):
                self._newest.on_live_event(key, offset)

    def _restore(self, state: Mapping[str, control.Value]) -> None:
        super()._restore(state)
        self._whole = self.progress.next is None
        self._handled = handled_by_home(state, self.request.destination)

    async def _work(self) -> None:
        at: QueueOffset | None = tuple(self.progress.next) if self.progress.next else (0, 0)
        while at is not None:
            at = await self._window(at)
        await self._write(empty_chunk, None, done=True)

    async def _window(self, at: QueueOffset) -> QueueOffset | None:
        """Treat the letters of a window from ``at`` on; returns where the next one begins."""
        end = None
        if self._contested:
            # In one step: what is routed from here on is heard, what was before is read.
            live, self._newest = self._position, LatestByKey()
            oldest, end = await self._collect(at, self._newest)
            await self._look_for_newer(oldest, live, self._newest)
        await self._send(at, end)
        return end

    async def _collect(
        self, at: QueueOffset, newest: LatestByKey
    ) -> tuple[int | None, QueueOffset | None]:
        """Note the keys of letters that may be superseded; returns the oldest's place in the
        canonical partition, and the window's end, None for that of the set."""
        oldest = None
        async with aclosing(self._read(at, None)) as pieces:
            async for letter in (letter async for letters in pieces for letter in letters):
                origin = self._origin(letter)
                if origin is None or self._static_verdict(letter) is not None:
                    continue
                newest.collect(letter.key or b"", origin)
                oldest = origin if oldest is None else min(oldest, origin)
                if len(newest) >= self._most:
                    return oldest, (letter.partition, letter.offset + 1)
        return oldest, None

    async def _look_for_newer(self, oldest: int | None, live: int, newest: LatestByKey) -> None:
        """Take out the keys that have a newer event in the canonical partition."""
        await self._past.seek(self.place, live if oldest is None else oldest, live)
        while not self._past.ended:
            self._check()
            for key, offset in await self._past.read(self._newer):
                newest.supersede(key, offset)
        newest.seal()

    def _newer(self, messages: list[Message]) -> list[tuple[bytes, int]]:
        """Events that supersede what died before them."""
        topic = self.place[0]
        return [
            (key, message.offset() or 0)
            for message in messages
            if (key := message.key()) and topic in self._way.topics
            if self._way.listens(topic, message.headers() or [])  # type: ignore[arg-type]
        ]

    async def _read(
        self, at: QueueOffset, end: QueueOffset | None
    ) -> AsyncGenerator[list[DeadLetter], None]:
        """Our letters of the set from ``at`` to ``end``, in pieces, maybe empty ones."""
        for queue, first, behind in self._set:
            start = max(first, at[1]) if queue[1] == at[0] else first
            until = min(behind, end[1]) if end is not None and queue[1] == end[0] else behind
            if queue[1] < at[0] or (end is not None and queue[1] > end[0]):
                continue
            await self._past.seek(queue, start, until)
            while not self._past.ended:
                self._check()
                yield await self._past.read(self._ours)

    def _ours(self, messages: list[Message]) -> list[DeadLetter]:
        letters = map(DeadLetter.of, messages)
        return [
            letter for letter in letters if self._keeper(origin_of(letter.headers)) == self.place
        ]

    async def _send(self, at: QueueOffset, end: QueueOffset | None) -> None:
        """Treat the letters from ``at`` to ``end``, in chunks."""
        pending: list[DeadLetter] = []
        meant = 0
        async for letters in self._read(at, end):
            for letter in letters:
                pending.append(letter)
                meant += self._verdict(letter) in ("sent", "released", "discarded")
                if meant >= min(CHUNK, self._pace.chunk) or len(pending) >= KEPT:
                    await self._flush(pending, meant)
                    meant = 0
        if pending:
            await self._flush(pending, meant)

    async def _flush(self, pending: list[DeadLetter], meant: int) -> None:
        await self._wait_for(meant)
        last = pending[-1]

        async def treated() -> tuple[list[Out], Mapping[str, int]]:
            verdicts: list[tuple[DeadLetter, Verdict]]
            verdicts = [(letter, self._verdict(letter)) for letter in pending]
            records: list[Out] = []
            for letter, verdict in verdicts:
                records += await self._records(letter, verdict)
            homes = self._mark(verdicts)
            counts = Counter[str](v for _, v in verdicts if v not in ("handled", "not meant"))
            return [*records, *(self._record(home) for home in homes)], counts

        await self._write(treated, [last.partition, last.offset + 1])
        pending.clear()

    def _static_verdict(self, letter: DeadLetter) -> Verdict | None:
        """What becomes of a letter whatever else is routed; None: that decides."""
        home = origin_of(letter.headers)
        handled = home in self._handled and self._handled[home].has(letter.partition, letter.offset)
        if handled and not self.request.force:
            return "handled"
        if not self.request.selection.matches(letter):
            return "handled" if handled else "not meant"
        if self.request.kind == "discard":
            return "discarded"
        if letter.header(TL_HALTED):
            return "released"
        if letter.stage == "route" and home[0] not in self._way.topics:
            return "skipped"
        return "sent" if not self._contested or self._origin(letter) is None else None

    def _verdict(self, letter: DeadLetter) -> Verdict:
        """What becomes of a letter as of now."""
        before = self._static_verdict(letter)
        if before is not None:
            return before
        origin = self._origin(letter)
        assert self._newest is not None
        assert origin is not None
        return "sent" if self._newest.has(letter.key or b"", origin) else "superseded"

    def _origin(self, letter: DeadLetter) -> int | None:
        """The letter's offset in our canonical partition; None for one that is kept for another
        home, or has no key to be superseded by."""
        if origin_of(letter.headers) != self.place or not letter.key:
            return None
        named = TL_FROM if letter.stage == "deliver" else TL_DEAD_FROM
        return int(letter.header(named).removeprefix(f"{self.place[0]}/").split("/")[1])

    async def _records(self, letter: DeadLetter, verdict: Verdict) -> list[Out]:
        if verdict in ("released", "discarded") and letter.header(TL_HALTED):
            action = "retry" if verdict == "released" else "discard"
            return [self._release(letter, action)]
        if verdict != "sent":
            return []
        kept = [(name, value) for name, value in letter.headers if name not in AGAIN]
        if letter.stage == "route":
            records = await self._routed(letter, kept)
        else:
            records = [(self._way.inbox, letter.key, letter.value, kept)]
        return with_replay_headers(records, "redrive", self.request.id)

    async def _routed(self, letter: DeadLetter, kept: list[tuple[str, bytes]]) -> list[Out]:
        """What today's route makes of it: maybe another dead letter."""
        home = origin_of(letter.headers)
        at = int(letter.came_from.removeprefix(f"{home[0]}/").split("/")[1])
        event = StoredMessage(*home, at, letter.key, letter.value, kept)
        done = await self._way.router.route([event])
        return done.drain()

    def _release(self, letter: DeadLetter, action: str) -> Out:
        """Tells the worker that delivers what becomes of a halted key's first event."""
        death = halted_event_of(letter, int(letter.came_from.split("/")[-2]))
        key = HaltKey(self.request.destination, *death)
        return control.record(self._desk.control, key.text, {"action": action})

    def _mark(self, verdicts: Iterable[tuple[DeadLetter, Verdict]]) -> list[Partition]:
        """Note which letters are handled now; returns the homes that changed."""
        homes = {}
        for letter, verdict in verdicts:
            home = origin_of(letter.headers)
            gap = (home, letter.partition)
            if verdict in DONE:
                start = self._starts.get(gap, self._first(letter))
                known = self._handled.setdefault(home, Handled())
                known.add(letter.partition, start, letter.offset + 1)
                homes[home] = True
            self._starts[gap] = letter.offset + 1
        return list(homes)

    def _first(self, letter: DeadLetter) -> int:
        """From where on the first letter of a home leaves no gap: from the beginning of the set,
        if we have begun there."""
        begun = {queue[1]: first for queue, first, _ in self._set if self._whole}
        return begun.get(letter.partition, letter.offset)

    def _record(self, home: Partition) -> Out:
        key = HandledKey(self.request.destination, home)
        return control.record(self._desk.control, key.text, self._handled[home].encode())
