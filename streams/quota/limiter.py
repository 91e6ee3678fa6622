"""Limits of a destination in one worker: a rate and calls at a time, as far as its share goes.

The share comes from outside (``quota/client.py``) and is valid for a lease. Without a valid lease
nothing is sent. Times are the event loop's, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from trunkline.streams.admission.gate import NEVER, UNLIMITED, Permit
from trunkline.streams.admission.token_bucket import TokenBucket
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.usage import Usage


def _nobody(*_: float) -> None:
    """Nobody has asked to be told."""


class QuotaGate:
    """A Gate for one limit of one destination in one worker.

    ``whole``: the limit of all workers together. ``on_capacity`` is called when more may be sent
    than before; ``on_starved`` when less may be sent than somebody wants. Both are set from
    outside, by the quota client and its member.
    """

    def __init__(self, whole: Share) -> None:
        self.whole = whole
        self.on_capacity: Callable[[], None] = _nobody
        self.on_starved: Callable[[float], None] = _nobody
        self._share = NOTHING
        self._until = -NEVER
        self._bucket = TokenBucket()
        self._under_way = 0  # calls
        self._usage = Usage()

    # The delivery step's side.

    def permits(self, now: float) -> int:
        """As far as the share's rate, burst and calls go; 0 without a valid lease."""
        share = self.share(now)
        slow = share.rate is not None and self._bucket.tokens(now) <= 0
        full = share.calls is not None and self._under_way >= share.calls
        self._usage.asked(now)
        if slow or full:
            self._usage.blocked(slow, full, waits=share.rate == 0 or share.calls == 0)
            self.on_starved(now)
            return 0
        return UNLIMITED if share.rate is None else self._bucket.tokens(now)

    def acquire(self, now: float, count: int) -> Permit:
        """The gate itself: one call more, ``count`` events less in the bucket."""
        if self.whole.rate is not None:
            self._bucket.take(now, count)
        self._under_way += 1
        self._usage.sent(count, self._under_way)
        return self

    def take(self, now: float, calls: int) -> bool:
        """Begin so many calls at once, if the share allows all of them; else none. Each of them
        ends by ``finish``. For a limit of calls alone."""
        share = self.share(now)
        self._usage.asked(now)
        if share.calls is not None and self._under_way + calls > share.calls:
            self._usage.blocked(False, True, waits=share.calls == 0)
            self.on_starved(now)
            return False
        self._under_way += calls
        self._usage.sent(calls, self._under_way)
        return True

    def left(self, now: float) -> int:
        """Calls that may begin now, of a limit of calls."""
        return max(0, (self.share(now).calls or 0) - self._under_way)

    def finish(
        self, now: float, sent: int, failure: Exception | None, *, again: bool = False
    ) -> None:
        """One call less. The bucket gets nothing back: what was cancelled may have been sent."""
        self._usage.asked(now)
        self._under_way -= 1
        calls = self.share(now).calls
        if calls is not None and self._under_way >= calls:
            # The share has shrunk below what is under way, so each call that ends frees one for
            # another worker, which waits for it.
            self.on_starved(now)

    def retry_at(self, now: float) -> float:
        """When the bucket has some again; NEVER while a call must end or a lease must come first,
        of which ``on_capacity`` tells."""
        share = self.share(now)
        if share.calls is not None and self._under_way >= share.calls:
            return NEVER
        if share.rate is None or self._bucket.tokens(now) > 0:
            return now
        return self._bucket.full_enough_at(now)

    # The quota's side.

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
            self.on_capacity()

    def give_back(self, now: float) -> None:
        """Use nothing from now on."""
        self._share = NOTHING
        self._bucket.adjust(now, 0.0)

    def holds(self, now: float) -> Share:
        """What may be in use just now, with calls that a larger share has begun."""
        share = self.share(now)
        calls = None if self.whole.calls is None else max(share.calls or 0, self._under_way)
        return Share(None if self.whole.rate is None else share.rate, calls)

    def wants(self, now: float) -> Share:
        """What could be used: all of it where something waits for it; nothing when idle."""
        return self._usage.wants(now, self.whole, self._under_way)

    def reported(self, now: float) -> None:
        """What is wanted has been asked for: measure anew."""
        self._usage.reported(now, self.whole, self._under_way)


def _more(before: Share, after: Share) -> bool:
    return (after.rate or 0) > (before.rate or 0) or (after.calls or 0) > (before.calls or 0)
