"""How every call stands that is not a day old, and who waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

from trunkline.gateway.shelf import CallShelf, Known
from trunkline.streams.journal.journal import KEPT
from trunkline.streams.journal.record import CallRecord

REPLIES = 268_435_456
"""Bytes of answers that are held. 10,000 of 200 KB a day would fill a disk, and again whenever a
gateway has read the topic: nobody could call anything."""
RECENT = 10_000
"""Calls that are in memory, about a kilobyte each: those that anybody waits for."""
RECENT_REPLIES = 33_554_432
"""Characters of answers that are in memory."""
SHELVED = 200
"""Calls that are put on disk at once, which takes a millisecond or two."""
FORGETS_EVERY = 500
"""Records after which is looked for calls that are too old: so more are forgotten than come."""
WAITS_FOR_PERSON = ("needs_approval", "in_doubt")


class CallBook:
    """The newest record of each call, of the newest calls in memory and of the others on disk. For
    the event loop. ``clock``: epoch seconds; ``replies``: bytes of answers that are held, the
    newest ones; ``recent``: calls in memory.

    A worker's word counts over a gateway's, and a final state over any other, in whatever order
    they are read: the records of one call come from two topics' partitions. The first gateway's
    word stays: a second one of the same key is another request, which its sender must be told.
    """

    def __init__(
        self, clock: Callable[[], float], replies: int = REPLIES, recent: int = RECENT
    ) -> None:
        self._clock = clock
        self._recent: dict[str, Known] = {}  # the oldest first
        self._most = recent
        self._held = 0
        self._shelf = CallShelf(replies)
        self._applied = 0
        self._for_person: dict[str, None] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._recent) + len(self._shelf)

    def get(self, call: str) -> CallRecord | None:
        """The newest record of a call."""
        found = self._known(call)
        return found.record if found else None

    def topic_of(self, call: str) -> str:
        """The topic that the record of a call came from, "" for one that is not known."""
        found = self._known(call)
        return found.topic if found else ""

    def is_taken_up(self, call: str) -> bool:
        """Whether a worker has said anything of it."""
        found = self._known(call)
        return found is not None and not found.by_gateway

    def apply(self, topic: str, record: CallRecord, *, by_gateway: bool) -> None:
        """Take in a record that was read."""
        before = self._held_of(record.call)
        if before is not None:
            if self._is_of_today(before) and not _follows(record, by_gateway, before):
                return
            self._forget(record.call)
        self._recent[record.call] = Known(record, topic, by_gateway)
        self._held += len(record.reply or "")
        if record.state in WAITS_FOR_PERSON:
            self._for_person[record.call] = None
        self._make_room()
        for waiter in self._waiting.pop(record.call, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _held_of(self, call: str) -> Known | None:
        return self._recent.get(call) or self._shelf.get(call)

    def _known(self, call: str) -> Known | None:
        """Not what is older than a day and still there: a gateway that has read partition after
        partition has old calls behind new ones, and would answer a new call with their answers."""
        found = self._held_of(call)
        return found if found is not None and self._is_of_today(found) else None

    def _is_of_today(self, known: Known) -> bool:
        return known.record.at >= self._clock() - KEPT

    def for_person(self) -> list[tuple[CallRecord, str]]:
        """The calls that wait for a person, and the topics of their records; the oldest first."""
        known = [found for call in self._for_person if (found := self._known(call)) is not None]
        return [(one.record, one.topic) for one in known]

    def _forget(self, call: str) -> None:
        """Take out a call that is there."""
        self._for_person.pop(call, None)
        if (known := self._recent.pop(call, None)) is None:
            self._shelf.remove(call)
        else:
            self._held -= len(known.record.reply or "")

    def _make_room(self) -> None:
        """Put the oldest calls of those in memory on disk, if they are too many, and forget what is
        older than a day.

        The record that was just taken in may be the only one, and itself too old: Kafka deletes a
        segment at a time, so a gateway that starts reads calls of more than a day.
        """
        while self._recent:
            oldest = next(iter(self._recent))
            if self._is_of_today(self._recent[oldest]):
                break
            self._forget(oldest)
        while len(self._recent) > self._most or self._held > RECENT_REPLIES:
            oldest_ones = [self._recent.pop(id_) for id_ in list(islice(self._recent, SHELVED))]
            self._held -= sum(len(one.record.reply or "") for one in oldest_ones)
            self._shelf.put(oldest_ones)
        self._applied += 1
        if self._applied % FORGETS_EVERY == 0:
            over = self._clock() - KEPT
            self._shelf.forget(over)
            for call in [one for one in self._for_person if self._held_of(one) is None]:
                del self._for_person[call]

    def close(self) -> None:
        """The gateway stops: whoever waits is answered with what is known now."""
        self._closed = True
        for waiter in [one for waiters in self._waiting.values() for one in waiters]:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_change(self, call: str, seconds: float) -> None:
        """Return when another record of the call has come, or after that time."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(call, set())
        waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=max(0.0, seconds))
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiting.get(call) is waiters:
                del self._waiting[call]

    async def wait_over(self, call: str, seconds: float) -> CallRecord | None:
        """The call's record once it is over, or as it is after that time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (found := self.get(call)) is None or not found.is_over:
            left = until - loop.time()
            if left <= 0 or self._closed:
                return found
            await self.wait_change(call, left)
        return found


def _follows(record: CallRecord, by_gateway: bool, known: Known) -> bool:
    """Whether a record is newer than the one that is known.

    Of gateways only the approval of the same request follows. Only a re-drive leads out of an end,
    to attempts that say nothing until they end.
    """
    before = known.record
    if by_gateway:
        approved = before.state == "needs_approval" and record.state == "accepted"
        return known.by_gateway and approved and record.fingerprint == before.fingerprint
    return record.is_over or not before.is_over
