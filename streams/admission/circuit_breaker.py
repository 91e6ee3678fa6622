"""The circuit breaker: while a destination is down, one probe at a time instead of a storm.

              failures                 its time is over
    closed ───────────────▶ open ───────────────────────▶ half-open
      ▲                     ▲  ▲                           │     │
      │      failures again │  └───────── probe fails ─────┘     │
      └─── slow start ──────┘                                    │
       full    ▲                  probe passes                   │
               └─────────────────────────────────────────────────┘

The states are those of Nygard, *Release It!*, and of resilience4j; slow start is TCP's
(RFC 5681), held back by the clock so that a fast destination is not flooded within a second.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from trunkline.errors import Unavailable
from trunkline.streams.admission.gate import NEVER, UNLIMITED, Permit
from trunkline.streams.admission.sliding_window import SlidingWindow
from trunkline.streams.admission.slow_start import SlowStart
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.times import parse_duration

BreakerState = Literal["closed", "open", "half-open", "slow-start"]

FIRST_BACKOFF = 0.2
"""Seconds without sending after a failure that does not open the breaker; doubles with each in
succession, so that five of them, the default, take three seconds and not one millisecond."""

UNCONFIRMED = 120.0
"""Seconds of a ``Retry-After`` that are believed of a single call, which may speak of its event
alone. A probe, mostly another event, that is told the same is believed in full."""

JITTER = 0.2
"""The share by which an open time is longer than written, at the most. Why: fifty workers find a
destination down within the same second. Without jitter each of them would send its probe at the
same moment, again and again, and a system that is just starting would get fifty at once."""


class _BreakerPermit:
    """One call of the sink, told from every other one by being an object of its own.

    ``opening``: how often the breaker had opened when the call began.
    """

    __slots__ = ("_breaker", "count", "opening")

    def __init__(self, breaker: CircuitBreakerState, count: int, opening: int) -> None:
        self._breaker = breaker
        self.count = count
        self.opening = opening

    def finish(
        self, now: float, sent: int, failure: Exception | None, *, again: bool = False
    ) -> None:
        """Report to the breaker."""
        self._breaker.on_finish(self, now, sent, failure, again)


class CircuitBreakerState:
    """The breaker of one destination in one worker: a Gate. No I/O, no clock of its own.

    Only ``Unavailable`` is a failure. Anything else that a call ends with is an answer: the
    destination is there.

    **Closed.** Everything is sent. A failure pauses the destination for a moment (FIRST_BACKOFF),
    which any success ends. Enough failures, or one ``Unavailable.after`` that is longer than the
    first open time, open the breaker. An event that fails ``again`` while others are answered
    counts no further, here and in every other state: see ``streams.deliver.poison``.

    **Open.** Nothing is sent until the open time is over; ``Unavailable.after`` lengthens it.

    **Half-open.** One event is sent, the probe. What it ends with decides: open again, for twice
    as long, or slow start. A probe that was cancelled decides nothing, and another one is sent.

    **Slow start.** More and more is sent (see ``SlowStart``) until the breaker closes. Failures
    count as when closed, and halve what may be sent.

    A call that began before the breaker opened the last time says nothing, whenever it ends.
    """

    def __init__(
        self, policy: CircuitBreaker, *, random: Callable[[], float] = random.random
    ) -> None:
        """``random``: returns numbers from 0 to 1, for the jitter."""
        self._policy = policy
        self._random = random
        self._slow_start_seconds = parse_duration(policy.slow_start)
        self._first, self._longest = parse_duration(policy.open), parse_duration(policy.longest)
        self._calls = SlidingWindow(parse_duration(policy.window))
        self._state: BreakerState = "closed"
        self._opened_at: float | None = None
        self._until = 0.0  # when a pause, or the open time, ends
        self._wait = self._first  # how long it will be open the next time
        self._failures = 0  # in succession
        self._openings = 0
        self._under_way = 0  # events, of calls that began since it opened the last time
        self._idle_since = 0.0  # when the last call ended
        self._probe: _BreakerPermit | None = None  # the probe that is under way
        self._slow_start: SlowStart | None = None

    @property
    def state(self) -> BreakerState:
        """The state as of the last call of ``permits`` or ``retry_at``: only these notice that an
        open time is over."""
        return self._state

    @property
    def opened_at(self) -> float | None:
        """When the outage began that is not yet overcome; None if closed."""
        return self._opened_at

    def settle(self, now: float) -> None:
        """Notice what is over by itself, also where nothing waits to be sent.

        Case: the last event of a backlog was delivered before slow start was over, and no other
        comes for an hour. Nothing is held back from anybody, so it is over.
        """
        self._tick(now)
        idle = self._slow_start is not None and not self._under_way
        if idle and now - self._idle_since >= self._slow_start_seconds:
            self._close()

    def permits(self, now: float) -> int:
        """How many events may be sent now."""
        self._tick(now)
        if self._state == "half-open":
            return 1 if self._probe is None else 0
        if self._state == "open" or now < self._until:
            return 0
        if self._slow_start is None:
            return UNLIMITED
        return max(0, self._slow_start.allowed(now) - self._under_way)

    def retry_at(self, now: float) -> float:
        """When more may be sent; NEVER while only the end of a call can tell."""
        self._tick(now)
        if self._state == "half-open":
            return now if self._probe is None else NEVER
        if self._state == "open" or now < self._until:
            return self._until
        return self._slow_start.grows_at(now) if self._slow_start else now

    def acquire(self, now: float, count: int) -> Permit:
        """A permit for one call; when half-open, the call is the probe."""
        permit = _BreakerPermit(self, count, self._openings)
        self._under_way += count
        if self._state == "half-open" and self._probe is None:
            self._probe = permit
        if self._slow_start:
            self._slow_start.observe(self._under_way)
        return permit

    def on_finish(
        self,
        permit: _BreakerPermit,
        now: float,
        sent: int,
        failure: Exception | None,
        again: bool,
    ) -> None:
        """Learn from the end of the call that has this permit. Called by the permit alone."""
        down = failure if isinstance(failure, Unavailable) else None
        # Eight calls hang for 30 s when the breaker opens for 5 s. The probe passes, the
        # destination is back; then they time out, one by one. Were they counted, five of them would
        # open the breaker of a destination that is up. And a success among them was sent before
        # the outage: it does not mean that it is over.
        late = permit.opening < self._openings
        if not late:
            self._under_way -= permit.count
            self._idle_since = now
        was_probe = permit is self._probe
        if was_probe:
            self._probe = None
        # One event is answered 502 whenever it comes, and a hundred others are delivered meanwhile.
        # Were it counted each time, it alone would open the breaker and, as a probe, keep it open.
        if not sent or (again and down):
            return
        if was_probe:
            self._probed(now, down, again)
        elif late or self._state in ("open", "half-open"):
            self._late(now, down)
        elif down:
            self._failed(now, down)
        else:
            self._succeeded(now, sent, again)

    def _tick(self, now: float) -> None:
        if self._state == "open" and now >= self._until:
            self._state = "half-open"

    def _probed(self, now: float, failure: Unavailable | None, again: bool) -> None:
        if failure:
            self._open(now, failure.after or 0.0)
            return
        self._state = "slow-start"
        self._slow_start = SlowStart(now, self._slow_start_seconds)
        self._succeeded(now, 1, again)

    def _late(self, now: float, failure: Unavailable | None) -> None:
        # All that such a call can tell while the breaker is open is a later time to come back: one
        # of eight 503s that arrive together may be the one with the ``Retry-After``.
        if failure and failure.after and self._state == "open":
            self._until = max(self._until, now + min(failure.after, UNCONFIRMED))

    def _succeeded(self, now: float, count: int, again: bool) -> None:
        self._failures = 0
        self._until = now
        if not again:  # each event counts once, with the first thing that becomes of it
            self._calls.add(now, 1, 0)
        if self._slow_start:
            self._slow_start.succeeded(count)
            if self._slow_start.full(now):
                self._close()

    def _failed(self, now: float, failure: Unavailable) -> None:
        self._failures += 1
        self._calls.add(now, 1, 1)
        if self._slow_start:
            self._slow_start.failed()
        after = min(failure.after or 0.0, UNCONFIRMED)
        if self._is_down() or after > self._first:
            self._open(now, after)
        else:
            # At 100 calls a second, five refused connections take 50 ms: the moment in which a
            # load balancer swaps its backends. The pauses make three seconds of it.
            self._until = now + max(FIRST_BACKOFF * 2 ** (self._failures - 1), after)

    def _is_down(self) -> bool:
        calls, policy = self._calls, self._policy
        often = calls.total >= policy.minimum and calls.failures >= policy.share * calls.total
        return often or self._failures >= policy.failures

    def _open(self, now: float, after: float) -> None:
        wait = max(self._wait, after)
        self._until = now + wait * (1 + JITTER * self._random())
        self._wait = min(self._wait * 2, self._longest)  # begins anew only once it has closed
        self._state = "open"
        self._openings += 1
        self._under_way = 0
        self._slow_start = None
        self._calls.clear()
        if self._opened_at is None:
            self._opened_at = now

    def _close(self) -> None:
        self._state = "closed"
        self._opened_at = None
        self._slow_start = None
        self._wait = self._first
