"""Re-driving and discarding the dead letters that were made of one canonical partition.

Whoever routes that partition does it: so a letter that goes to the inbox again and what is routed
live are in order. The transaction that sends letters also writes that they are handled, so none is
sent twice. A letter whose key had a newer event since is superseded: it is handled without being
sent, unless the sink appends or the request is forced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing

from confluent_kafka import Message

from trunkline.event import replaced
from trunkline.headers import (
    TL_ATTEMPT,
    TL_DUE_AT,
    TL_FIRST_FAILED_AT,
    TL_FROM,
    TL_HALTED,
    TL_SEQ,
)
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import AnyMessage, StoredMessage
from trunkline.kafka.offsets import Partition
from trunkline.naming import inbox_of, is_inbox
from trunkline.streams.control.records import HaltKey, HandledKey
from trunkline.streams.control.topic import Value, control_record
from trunkline.streams.dlq.envelope import DEAD_LETTER_HEADERS
from trunkline.streams.dlq.halted import halted_event_of
from trunkline.streams.dlq.handled import handled_by_origin, origin_of
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.replay.job import Chunk, JobContext, MakeChunk, PartitionJob, empty_chunk
from trunkline.streams.replay.latest import MAX_KEYS, LatestByKey
from trunkline.streams.replay.marks import HandledMarks
from trunkline.streams.replay.path import DestinationPath, with_replay_headers
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.request import Request
from trunkline.streams.replay.verdicts import HANDLED_AFTER, Verdict, Verdicts

DROPPED_HEADERS = DEAD_LETTER_HEADERS | {
    TL_ATTEMPT,
    TL_FIRST_FAILED_AT,
    TL_SEQ,
    TL_DUE_AT,
    TL_HALTED,
}
"""Headers that a letter loses when it is sent again: it is delivered like a new event."""

NOT_COUNTED: tuple[Verdict, ...] = ("handled", "not selected")

MAX_PENDING = 2000
"""Letters, selected or not, after which a chunk is written."""

QueueOffset = tuple[int, int]
"""Where a letter is: the partition of the dead-letter queue, and the offset there."""


class RedriveJob(PartitionJob):
    """One partition's part in a re-drive or discard.

    ``owner_of``: the canonical partition whose router handles the letters of an origin partition.
    ``max_keys``: how many one window looks for newer events of.
    """

    def __init__(
        self,
        request: Request,
        partition: Partition,
        context: JobContext,
        rate: RateLimit,
        path: DestinationPath,
        *,
        owner_of: Callable[[Partition], Partition],
        max_keys: int = MAX_KEYS,
    ) -> None:
        super().__init__(request, partition, context, rate)
        self._path = path
        self._owner_of = owner_of
        self._max_keys = max_keys
        self._latest: LatestByKey | None = None
        self._take_over(HandledMarks({}, {}))

    def on_routed(self, message: AnyMessage) -> None:
        """As the base; letters of the event's key that died before it are superseded."""
        super().on_routed(message)
        if self._latest is not None:
            for key, offset in self._superseding([message]):
                self._latest.on_live_event(key, offset)

    def _restore(self, state: Mapping[str, Value]) -> None:
        super()._restore(state)
        # A job that goes on inside the ranges does not know what it read before, so it must not
        # mark as handled what lies before its first letter: one that was not selected may be there.
        first_offsets = {
            number: offsets.start
            for (_, number), offsets in self.request.ranges.items()
            if self.progress.next is None
        }
        handled = handled_by_origin(state, self.request.destination)
        self._take_over(HandledMarks(handled, first_offsets))

    def _take_over(self, marks: HandledMarks) -> None:
        path = self._path
        self._marks = marks
        self._verdicts = Verdicts(
            self.request, self.partition, marks, topics=path.topics, appends=path.appends
        )

    async def _send_rest(self) -> None:
        at: QueueOffset | None = tuple(self.progress.next) if self.progress.next else (0, 0)
        while at is not None:
            at = await self._window(at)
        await self._write(empty_chunk, None, done=True)

    async def _window(self, start: QueueOffset) -> QueueOffset | None:
        """Treat the letters of a window from ``start`` on; returns where the next one begins, or
        None after the last one.

        Where newer events matter: the low watermark is where live routing is now; what it routes
        from here on is told to ``on_routed``. Nothing is awaited between the two, so no event is
        missed. Then collect the keys of letters, and take out those that have a newer event.
        """
        end = None
        if self._verdicts.heeds_newer:
            low_watermark, self._latest = self._live, LatestByKey()
            oldest, end = await self._collect(start, self._latest)
            await self._supersede(oldest, low_watermark, self._latest)
        await self._send(start, end)
        return end

    async def _collect(
        self, start: QueueOffset, latest: LatestByKey
    ) -> tuple[int | None, QueueOffset | None]:
        """Collect the letters that may be superseded, from ``start`` on until there are too many.

        Returns the lowest offset, in the canonical partition, of the events that died; and the
        window's end, None for that of the ranges.
        """
        oldest = None
        async with aclosing(self._read(start, None)) as pieces:
            async for letter in (letter async for letters in pieces for letter in letters):
                offset = self._verdicts.offset(letter)
                if offset is None or self._verdicts.final(letter) is not None:
                    continue
                latest.collect(letter.event_key or b"", offset)
                oldest = offset if oldest is None else min(oldest, offset)
                if len(latest) >= self._max_keys:
                    return oldest, (letter.partition, letter.offset + 1)
        return oldest, None

    async def _supersede(self, oldest: int | None, low_watermark: int, latest: LatestByKey) -> None:
        """Take out the keys that have a newer event in the canonical partition."""
        start = low_watermark if oldest is None else oldest
        await self._reader.seek(self.partition, start, low_watermark)
        while not self._reader.ended:
            self._check()
            for key, offset in await self._reader.read(self._superseding):
                latest.supersede(key, offset)
        latest.seal()

    def _superseding(self, messages: Sequence[AnyMessage]) -> list[tuple[bytes, int]]:
        """The keys and offsets of events that supersede letters: those that the destination gets.

        Called in the reader's thread, too.
        """
        return [
            (key, message.offset() or 0)
            for message in messages
            if (key := message.key()) and self._path.takes(message)
        ]

    async def _read(
        self, start: QueueOffset, end: QueueOffset | None
    ) -> AsyncGenerator[list[DeadLetter], None]:
        """Our letters from ``start`` to ``end``, in pieces, maybe empty ones."""
        for queue, offsets in self._ranges(start, end):
            await self._reader.seek(queue, offsets.start, offsets.stop)
            while not self._reader.ended:
                self._check()
                yield await self._reader.read(self._ours)

    def _ranges(
        self, start: QueueOffset, end: QueueOffset | None
    ) -> Iterator[tuple[Partition, range]]:
        """What lies between ``start`` and ``end`` of the request's ranges, in order."""
        for queue, offsets in sorted(self.request.ranges.items(), key=lambda item: item[0]):
            number, first, stop = queue[1], offsets.start, offsets.stop
            if number < start[0] or (end is not None and number > end[0]):
                continue
            if number == start[0]:
                first = max(first, start[1])
            if end is not None and number == end[0]:
                stop = min(stop, end[1])
            yield queue, range(first, stop)

    def _ours(self, messages: list[Message]) -> list[DeadLetter]:
        """The letters that this job handles. Called in the reader's thread."""
        letters = map(DeadLetter.of, messages)
        return [x for x in letters if self._owner_of(origin_of(x.headers)) == self.partition]

    async def _send(self, start: QueueOffset, end: QueueOffset | None) -> None:
        """Treat the letters from ``start`` to ``end``, in chunks."""
        pending: list[DeadLetter] = []
        count = 0
        async for letters in self._read(start, end):
            for letter in letters:
                pending.append(letter)
                count += self._verdict(letter) in ("sent", "released", "discarded")
                if count >= self._rate.chunk or len(pending) >= MAX_PENDING:
                    await self._flush(pending, count)
                    count = 0
        if pending:
            await self._flush(pending, count)

    def _verdict(self, letter: DeadLetter) -> Verdict:
        return self._verdicts.of(letter, self._latest)

    async def _flush(self, pending: list[DeadLetter], count: int) -> None:
        """Write one chunk: what becomes of the pending letters, of which about ``count`` count
        against the rate.

        1. Judge each once more: while this waited, live events were routed, which supersede.
        2. Make the records of those that are sent or released.
        3. If none was superseded meanwhile, mark what is handled, and add the records that say so:
           one for each origin partition.
        """
        await self._wait_for(count)
        last = pending[-1]
        # Out of the lock: a registry that hangs would have all live events wait for its time-out.
        await self._retried(lambda: self._path.prefetch_schemas(self._routed_anew(pending)))

        async def treat() -> MakeChunk:
            verdicts, records = await self._judged(pending)

            def made() -> Chunk | None:
                if any(self._verdict(letter) != verdict for letter, verdict in verdicts):
                    return None
                # Only now, since the above may be repeated. If the transaction fails, the job ends,
                # and the next one reads anew what is handled.
                changed: dict[Partition, None] = {}
                for letter, verdict in verdicts:
                    origin = self._marks.read(letter, handled=verdict in HANDLED_AFTER)
                    if origin is not None:
                        changed[origin] = None
                counts = Counter(str(v) for _, v in verdicts if v not in NOT_COUNTED)
                return Chunk([*records, *map(self._marks_record, changed)], counts)

            return made

        await self._write(treat, [last.partition, last.offset + 1])
        pending.clear()

    def _routed_anew(self, letters: Sequence[DeadLetter]) -> list[bytes | None]:
        """The values that today's routes are to read."""
        return [x.value for x in letters if x.stage == "route" and self._verdict(x) == "sent"]

    async def _judged(
        self, letters: Sequence[DeadLetter]
    ) -> tuple[list[tuple[DeadLetter, Verdict]], list[ProducerRecord]]:
        """The verdict on each letter as of now, and the records of those sent or released."""
        verdicts: list[tuple[DeadLetter, Verdict]]
        verdicts = [(letter, self._verdict(letter)) for letter in letters]
        records: list[ProducerRecord] = []
        for letter, verdict in verdicts:
            records += await self._records(letter, verdict)
        return verdicts, records

    async def _records(self, letter: DeadLetter, verdict: Verdict) -> list[ProducerRecord]:
        """What is written for a letter, beside that it is handled."""
        if verdict in ("released", "discarded") and letter.header(TL_HALTED):
            return [self._halt_decision(letter, "retry" if verdict == "released" else "discard")]
        if verdict != "sent":
            return []
        kept = [(name, value) for name, value in letter.headers if name not in DROPPED_HEADERS]
        if letter.stage == "route":
            records = await self._routed(letter, kept)
        else:
            kept = replaced(kept, self._own_place(letter))
            records = [ProducerRecord(self._path.inbox, letter.key, letter.value, kept)]
        return with_replay_headers(records, "redrive", self.request.id)

    def _own_place(self, letter: DeadLetter) -> dict[str, bytes]:
        """For a record that somebody put into the inbox by hand: where it stood there.

        Of that its idempotency key is made, and it is to have it again, wherever it stands then.
        """
        topic, _, place = letter.came_from.partition("/")
        partition, _, offset = place.partition("/")
        if letter.header(TL_FROM).count("/") >= 3 or inbox_of(topic) != self._path.inbox:
            return {}
        sequence = offset if is_inbox(topic) else letter.header(TL_SEQ) or offset
        return {TL_FROM: f"{self._path.inbox}/{partition}/{sequence}/".encode()}

    async def _routed(
        self, letter: DeadLetter, kept: list[tuple[str, bytes]]
    ) -> list[ProducerRecord]:
        """What today's routes make of an event that died in one: maybe another dead letter."""
        origin = origin_of(letter.headers)
        offset = int(letter.came_from.removeprefix(f"{origin[0]}/").split("/")[1])
        event = StoredMessage(*origin, offset, letter.key, letter.value, kept)
        return (await self._path.route([event])).drain()

    def _halt_decision(self, letter: DeadLetter, action: str) -> ProducerRecord:
        """Tells the worker that delivers what becomes of the event that halts its key."""
        # It died at ``<inbox or tier>/<partition>/<offset>``; tiers are partitioned as the inbox.
        halted = halted_event_of(letter, int(letter.came_from.split("/")[-2]))
        key = HaltKey(self.request.destination, *halted)
        return control_record(self._context.control_topic, key.text, {"action": action})

    def _marks_record(self, origin: Partition) -> ProducerRecord:
        key = HandledKey(self.request.destination, origin)
        return control_record(
            self._context.control_topic, key.text, self._marks.of(origin).to_record()
        )
