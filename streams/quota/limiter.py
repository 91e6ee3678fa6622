"""Limits of a destination in one worker: a rate and calls at a time, as far as its share goes.

The share comes from outside (``quota/client.py``) and is valid for a lease. Without a valid lease
nothing is sent. Times are the event loop's, in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from trunkline.streams.admission.gate import NEVER, UNLIMITED
from trunkline.streams.admission.token_bucket import TokenBucket
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.usage import Usage


class CallCount:
    """Calls under way, told by their sizes: a call may end in two parts, as one of whose events
    some were not sent after all. What is not sure counts as under way."""

    def __init__(self) -> None:
        self._sizes: Counter[int] = Counter()
        self.under_way = 0

    def began(self, size: int) -> None:
        """A call of so many events began."""
        self._sizes[size] += 1
        self.under_way += 1

    def ended(self, size: int) -> None:
        """So many events of a call ended."""
        while size > 0 and self.under_way:
            call = self._ends(size)
            self._sizes[call] -= 1
            if not self._sizes[call]:
                del self._sizes[call]
            self.under_way -= 1
            if call > size:
                self.began(call - size)
            size -= call

    def _ends(self, size: int) -> int:
        """The call that is meant: of that size, else the smallest larger one, else the largest."""
        if size in self._sizes:
            return size
        return min((s for s in self._sizes if s > size), default=max(self._sizes))


def _nobody(*_: float) -> None:
    """Nobody has asked to be told."""


class QuotaGate:
    """A Gate for one limit of one destination in one worker.

    ``whole``: the limit of all together. ``changed`` is called when there may be more room than
    before; ``short`` when there is less room than somebody wants. Both are set by whoever cares.
    """

    def __init__(self, whole: Share) -> None:
        self.whole = whole
        self.changed: Callable[[], None] = _nobody
        self.short: Callable[[float], None] = _nobody
        self._share = NOTHING
        self._until = -NEVER
        self._bucket = TokenBucket()
        self._count = CallCount()
        self._usage = Usage()

    # The delivery step's side.

    def room(self, now: float) -> int:
        """As far as share, burst and permits go; 0 without a valid lease."""
        share = self.share(now)
        slow = share.rate is not None and self._bucket.tokens(now) <= 0
        full = share.calls is not None and self._count.under_way >= share.calls
        self._usage.asked(now)
        if slow or full:
            self._usage.blocked(slow, full, waits=share.rate == 0 or share.calls == 0)
            self.short(now)
            return 0
        return UNLIMITED if share.rate is None else self._bucket.tokens(now)

    def sent(self, now: float, count: int) -> None:
        """One call, ``count`` events."""
        if self.whole.rate is not None:
            self._bucket.take(now, count)
        self._count.began(count)
        self._usage.sent(count, self._count.under_way)

    def ended(self, now: float, count: int, failure: Exception | None) -> None:
        """The events' call, or its part, is over: its permit is free."""
        self._end(now, count)

    def cancelled(self, now: float, count: int) -> None:
        """Not given back to the bucket: what was cancelled may have been sent."""
        self._end(now, count)

    def opens_at(self, now: float) -> float:
        """When the bucket has some again; NEVER if a permit or a lease is what is missing, of
        which ``changed`` tells."""
        share = self.share(now)
        if share.calls is not None and self._count.under_way >= share.calls:
            return NEVER
        if share.rate is None or self._bucket.tokens(now) > 0:
            return now
        return self._bucket.full_enough_at(now)

    def _end(self, now: float, count: int) -> None:
        self._usage.asked(now)
        self._count.ended(count)
        permits = self.share(now).calls
        if permits is not None and self._count.under_way >= permits:
            self.short(now)  # more is under way than the share is now: whoever waits for it is told

    # The quota's side.

    @property
    def until(self) -> float:
        """When the lease ends."""
        return self._until

    def share(self, now: float) -> Share:
        """What may be used now: nothing once the lease is over."""
        if now >= self._until and self._share is not NOTHING:
            self.give_back(now)
        return self._share

    def grant(self, now: float, share: Share, until: float, credit: float = 0.0) -> None:
        """Use ``share`` from now on instead of what was before, and until then only."""
        before = self.share(now)
        self._share, self._until = share, until
        if share.rate is not None:
            self._bucket.adjust(now, share.rate, credit)
        if _more(before, share):
            self._usage.served(now)
            self.changed()

    def give_back(self, now: float) -> None:
        """Use nothing from now on."""
        self._share = NOTHING
        self._bucket.adjust(now, 0.0)

    def holds(self, now: float) -> Share:
        """What may be in use just now, with calls that a larger share has begun."""
        share = self.share(now)
        calls = None if self.whole.calls is None else max(share.calls or 0, self._count.under_way)
        return Share(None if self.whole.rate is None else share.rate, calls)

    def wants(self, now: float) -> Share:
        """What could be used: all of it where something waits for it; nothing when idle."""
        return self._usage.wants(now, self.whole, self._count.under_way)

    def reported(self, now: float) -> None:
        """What is wanted has been asked for: measure anew."""
        self._usage.reported(now, self.whole, self._count.under_way)


def _more(before: Share, after: Share) -> bool:
    return (after.rate or 0) > (before.rate or 0) or (after.calls or 0) > (before.calls or 0)
