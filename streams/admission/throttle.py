"""What a 429 teaches: pause, go on at half the pace, and find the way back step by step.

A 429 ("Too Many Requests", RFC 6585) concerns the system and not the event. The event that got it
goes to its tier as any Retryable; the throttle keeps the others from following it there, one by
one. Additive increase, multiplicative decrease: Chiu and Jain, 1989, as TCP does it.

A system that refuses one request in a hundred, at random or because of somebody else's load, does
not ask for less of ours: halving for each would bring any rate down to a trickle. So an isolated
429 slows nothing down, and only its own ``Retry-After`` makes the others wait.
"""

from __future__ import annotations

from trunkline.errors import PartialFailure, Retryable
from trunkline.streams.admission.gate import UNLIMITED, Permit
from trunkline.streams.admission.sliding_window import SlidingWindow
from trunkline.streams.admission.token_bucket import TokenBucket

TOO_MANY = 429

PAUSE = 1.0
"""Seconds of a pause for a 429 without ``Retry-After``; doubled while the answer stays so."""

LONGEST = 60.0
"""Seconds that such pauses grow to."""

LOOKED_AT = 2.0
"""Seconds over which the pace is measured."""

RECOVERY = 0.05
"""What is added each second, of the pace at which the system had enough: it is back in ten."""

MEMORY = 32
"""Answers that the share of 429s looks back on: each weighs one 32nd, and fades as others come."""

ISOLATED = 2 / MEMORY
"""The share up to which 429s are isolated: the third among some thirty answers is not."""

SLOWEST = 0.5
"""Events per second at least, after a pause."""


class AdaptiveThrottle:
    """A gate that opens and shuts by the 429s of one destination in one worker; without
    them it lets everything through. Every destination has one, with limits or without."""

    def __init__(self) -> None:
        self._sent = SlidingWindow(LOOKED_AT)
        self._bucket = TokenBucket()
        self._paused_until = 0.0
        self._consecutive_rejections = 0
        self._refused = 0.0  # the share of 429s among the last answers
        self._rate_at_rejection: float | None = None

    def permits(self, now: float) -> int:
        """0 in a pause; after it as far as the pace has recovered; UNLIMITED once it has."""
        if now < self._paused_until:
            return 0
        return UNLIMITED if self._recovered(now) else self._bucket.tokens(now)

    def acquire(self, now: float, count: int) -> Permit:
        """The throttle itself: the events count for the pace, whichever call has them."""
        self._sent.add(now, count, 0)
        if self._rate_at_rejection is not None:
            self._bucket.take(now, count)
        return self

    def finish(self, now: float, sent: int, failure: Exception | None) -> None:
        """429s pause, and more than isolated ones slow down; a success ends a row of them."""
        if not sent:
            return
        pauses = pauses_of(failure, sent)
        fading = (1 - 1 / MEMORY) ** sent
        self._refused = self._refused * fading + (1 - fading) * len(pauses) / sent
        if pauses and self._refused > ISOLATED:
            self._slow_down(now, max(pauses))
        elif pauses:
            self._paused_until = max(self._paused_until, now + max(pauses))
        elif failure is None:
            self._consecutive_rejections = 0

    def is_throttling(self, now: float) -> bool:
        """Whether the pace is not yet what it was. What only an isolated 429 asked to wait for is
        over too soon to be told."""
        if self._rate_at_rejection is None:
            return False
        return now < self._paused_until or not self._recovered(now)

    def retry_at(self, now: float) -> float:
        """The end of the pause, or when the pace allows more."""
        if now < self._paused_until:
            return self._paused_until
        return now if self.permits(now) > 0 else self._bucket.full_enough_at(now)

    def _slow_down(self, now: float, pause: float) -> None:
        if now >= self._paused_until:  # answers of one burst count once
            self._sent.expire(now)
            self._rate_at_rejection = max(self._sent.total / LOOKED_AT, SLOWEST)
            self._consecutive_rejections += 1
            self._bucket.adjust(now, 0.0)
        longest = min(LONGEST, PAUSE * 2 ** (self._consecutive_rejections - 1))
        self._paused_until = max(self._paused_until, now + (pause or longest))

    def _recovered(self, now: float) -> bool:
        """Whether twice the pace is reached at which it was too much: then nobody asks for less."""
        if self._rate_at_rejection is None:
            return True
        pace = self._rate_at_rejection * (0.5 + RECOVERY * (now - self._paused_until))
        if pace >= 2 * self._rate_at_rejection:
            self._rate_at_rejection = None
            return True
        self._bucket.adjust(now, pace)
        return False


def pauses_of(failure: Exception | None, count: int) -> list[float]:
    """For each of a call's ``count`` events that got a 429: the seconds that it asks us to wait,
    0 if it does not say.

    A Retryable of another status with ``after`` concerns its event: others need not wait.
    """
    if isinstance(failure, PartialFailure):
        return [pause for each in failure.failures.values() for pause in pauses_of(each, 1)]
    if isinstance(failure, Retryable) and failure.status == TOO_MANY:
        return [failure.after or 0.0] * count
    return []
