"""Adaptive throttling: after a 429 pause, go on at half the rate, and grow back step by step.

A 429 ("Too Many Requests", RFC 6585) concerns the system and not the event. The event that got it
goes to its tier as any Retryable; the throttle keeps the others from following it there, one by
one. Additive increase, multiplicative decrease: Chiu and Jain, 1989, as TCP does it.

An isolated 429 slows nothing down; only its own ``Retry-After`` makes the others wait. Why: a
system that refuses one request in a hundred, at random or because of somebody else's load, does not
ask for less of ours. Halving the rate for each such answer would bring any rate down to a trickle.
"""

from __future__ import annotations

from trunkline.errors import PartialFailure, Retryable
from trunkline.streams.admission.gate import UNLIMITED, Permit
from trunkline.streams.admission.sliding_window import SlidingWindow
from trunkline.streams.admission.token_bucket import TokenBucket

TOO_MANY = 429

FIRST_PAUSE = 1.0
"""Seconds of a pause for a 429 without ``Retry-After``; doubled while the answer stays so."""

LONGEST_PAUSE = 60.0
"""Seconds that such pauses grow to."""

RATE_WINDOW = 2.0
"""Seconds over which the rate is measured that was too much."""

RECOVERY = 0.05
"""What is added to the rate each second, as a share of the one that was too much. From half of it
the full rate is reached in ten seconds, twice of it in thirty."""

MEMORY = 32
"""How many answers the share of 429s looks back on: each weighs one 32nd, and fades as others
come."""

ISOLATED = 2 / MEMORY
"""The share up to which 429s are isolated: the third among some thirty answers is not."""

NOTABLE_PAUSE = 10.0
"""Seconds of a pause that people are told of, even of an isolated 429."""

SLOWEST = 0.5
"""Events per second at least, after a pause."""


class AdaptiveThrottle:
    """A Gate that learns from the 429s of one destination in one worker how much is too much.

    Without a 429 it lets everything through. Every destination has one, with limits or without.
    """

    def __init__(self) -> None:
        self._sent = SlidingWindow(RATE_WINDOW)
        self._bucket = TokenBucket()
        self._paused_until = 0.0
        self._notable_until = 0.0
        self._consecutive_rejections = 0
        self._refused = 0.0  # the share of 429s among the last answers
        self._rate_at_rejection: float | None = None  # None: it does not throttle

    def permits(self, now: float) -> int:
        """0 in a pause; then as much as the rate allows that grows back; UNLIMITED once it has."""
        if now < self._paused_until:
            return 0
        return UNLIMITED if self._recovered(now) else self._bucket.tokens(now)

    def acquire(self, now: float, count: int) -> Permit:
        """The throttle itself: events count for the rate, whichever call has them."""
        self._sent.add(now, count, 0)
        if self._rate_at_rejection is not None:
            self._bucket.take(now, count)
        return self

    def finish(
        self, now: float, sent: int, failure: Exception | None, *, again: bool = False
    ) -> None:
        """Learn from the answers of a call: a 429 pauses, more than isolated ones slow down, and a
        success ends a row of them."""
        if not sent:
            return
        if failure is None and not self._refused:  # nearly every call: nothing to learn
            self._consecutive_rejections = 0
            return
        pauses = pauses_of(failure, sent)
        # The share of 429s as a moving average, for all events of the call at once: each answer
        # leaves 31/32 of what was, so a call of 500 events nearly replaces it.
        fading = (1 - 1 / MEMORY) ** sent
        self._refused = self._refused * fading + (1 - fading) * len(pauses) / sent
        if pauses and self._refused > ISOLATED:
            self._slow_down(now, max(pauses))
        elif pauses:
            self._pause(now, max(pauses))
        elif failure is None:
            self._consecutive_rejections = 0

    def is_throttling(self, now: float) -> bool:
        """Whether the rate has not grown back yet, or nothing is sent for NOTABLE_PAUSE or more."""
        # The pause of an isolated 429 is mostly over within seconds: as a state it would come and
        # go in the status of a destination for which all is well. But one of an hour is what an
        # operator looks for.
        if self._rate_at_rejection is None:
            return now < self._notable_until
        return now < self._paused_until or not self._recovered(now)

    def reset(self) -> None:
        """Forget all 429s, as an operator commanded: everything is let through."""
        self._paused_until = self._notable_until = self._refused = 0.0
        self._consecutive_rejections = 0
        self._rate_at_rejection = None

    def retry_at(self, now: float) -> float:
        """The end of the pause, or when the rate allows more."""
        if now < self._paused_until:
            return self._paused_until
        return now if self.permits(now) > 0 else self._bucket.full_enough_at(now)

    def _slow_down(self, now: float, pause: float) -> None:
        # Twenty calls were under way when the system had enough, and twenty 429s come within
        # milliseconds. They are one rejection: counted one by one, the rate would be halved twenty
        # times. Those that come in the pause only lengthen it, if they ask for that.
        if now >= self._paused_until:
            self._sent.expire(now)
            self._rate_at_rejection = max(self._sent.total / RATE_WINDOW, SLOWEST)
            self._consecutive_rejections += 1
            self._bucket.adjust(now, 0.0)
        backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._consecutive_rejections - 1))
        self._pause(now, pause or backoff)

    def _pause(self, now: float, seconds: float) -> None:
        self._paused_until = max(self._paused_until, now + seconds)
        if seconds >= NOTABLE_PAUSE:
            self._notable_until = self._paused_until

    def _recovered(self, now: float) -> bool:
        """Set the bucket to the rate that has grown back; whether nothing is held back any more."""
        if self._rate_at_rejection is None:
            return True
        rate = self._rate_at_rejection * (0.5 + RECOVERY * (now - self._paused_until))
        # Twice, and not once: the system's limit was somewhere near the rate at the rejection, or
        # above it by now. At twice of it without a 429, it does not ask for less any more.
        if rate >= 2 * self._rate_at_rejection:
            self._rate_at_rejection = None
            return True
        self._bucket.adjust(now, rate)
        return False


def pauses_of(failure: Exception | None, count: int) -> list[float]:
    """How long the 429s of one call ask to wait: seconds for each of its ``count`` events that got
    one, 0 where it does not say.

    A Retryable without the status 429 concerns its event alone, also with ``after`` (a record that
    is locked for a minute): the others need not wait.
    """
    if isinstance(failure, PartialFailure):
        return [pause for each in failure.failures.values() for pause in pauses_of(each, 1)]
    if isinstance(failure, Retryable) and failure.status == TOO_MANY:
        return [failure.after or 0.0] * count
    return []
