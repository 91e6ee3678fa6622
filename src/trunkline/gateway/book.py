"""How every call stands that is not a day old, and who waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from trunkline.streams.journal.journal import KEPT
from trunkline.streams.journal.record import CallRecord

REPLIES = 268_435_456
"""Characters of answers that are held. 10,000 of 200 KB a day would end the process for want
of memory, and again whenever it has read the topic: nobody could call anything."""
WAITS_FOR_PERSON = ("needs_approval", "in_doubt")
GONE = "the answer is not held any more: newer ones take its place"


class CallBook:
    """The newest record of each call. For the event loop. ``clock``: epoch seconds; ``replies``:
    characters of answers that are held, the newest ones.

    A worker's word counts over a gateway's, and a final state over any other, in whatever order
    they are read: the records of one call come from two topics' partitions. The first gateway's
    word stays: a second one of the same key is another request, which its sender must be told.
    """

    def __init__(self, clock: Callable[[], float], replies: int = REPLIES) -> None:
        self._clock = clock
        self._calls: dict[str, tuple[CallRecord, str, bool]] = {}
        self._most = replies
        self._held = 0
        self._replies: dict[str, int] = {}  # call → characters; the oldest first
        self._for_person: dict[str, None] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, call: str) -> CallRecord | None:
        """The newest record of a call."""
        found = self._known(call)
        return found[0] if found else None

    def topic_of(self, call: str) -> str:
        """The topic that the record of a call came from, "" for one that is not known."""
        found = self._known(call)
        return found[1] if found else ""

    def is_taken_up(self, call: str) -> bool:
        """Whether a worker has said anything of it."""
        found = self._known(call)
        return found is not None and not found[2]

    def apply(self, topic: str, record: CallRecord, *, by_gateway: bool) -> None:
        """Take in a record that was read."""
        before = self._known(record.call)
        if before is not None and not _follows(record, by_gateway, before[0], before[2]):
            return
        self._forget(record.call)
        self._calls[record.call] = record, topic, by_gateway
        if record.state in WAITS_FOR_PERSON:
            self._for_person[record.call] = None
        if record.reply:
            self._replies[record.call] = len(record.reply)
            self._held += len(record.reply)
        self._prune()
        for waiter in self._waiting.pop(record.call, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _known(self, call: str) -> tuple[CallRecord, str, bool] | None:
        """Not what is older than a day and still there: a gateway that has read partition after
        partition has old calls behind new ones, and would answer a new call with their answers."""
        found = self._calls.get(call)
        return None if found is None or found[0].at < self._clock() - KEPT else found

    def for_person(self) -> list[tuple[CallRecord, str]]:
        """The calls that wait for a person, and the topics of their records; the oldest first."""
        known = [found for call in self._for_person if (found := self._known(call)) is not None]
        return [(record, topic) for record, topic, _ in known]

    def _forget(self, call: str) -> None:
        self._calls.pop(call, None)
        self._for_person.pop(call, None)
        self._held -= self._replies.pop(call, 0)

    def _prune(self) -> None:
        while self._held > self._most:
            oldest = next(iter(self._replies))
            record, topic, by_gateway = self._calls[oldest]
            self._held -= self._replies.pop(oldest)
            self._calls[oldest] = replace(record, reply=None, why=GONE), topic, by_gateway
        over = self._clock() - KEPT
        # The record that was just taken in may be the only one, and itself too old: Kafka deletes
        # a segment at a time, so a gateway that starts reads calls of more than a day.
        while self._calls:
            oldest = next(iter(self._calls))
            if self._calls[oldest][0].at >= over:
                return
            self._forget(oldest)

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


def _follows(record: CallRecord, by_gateway: bool, before: CallRecord, first: bool) -> bool:
    """Whether a record is newer than the one before. ``first``: that one is a gateway's.

    Of gateways only the approval of the same request follows. Only a re-drive leads out of an end,
    to attempts that say nothing until they end.
    """
    if by_gateway:
        approved = before.state == "needs_approval" and record.state == "accepted"
        return first and approved and record.fingerprint == before.fingerprint
    return record.is_over or not before.is_over
