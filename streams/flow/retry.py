"""Retry policies: how long an event that failed waits for its next attempt.

Each delay of a policy is a tier, a topic of its own: an event is attempted once, and once more
after each delay; then it is dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import ClassVar

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration

MOST_JITTER = 5.0
"""Seconds that jitter adds at the most: enough to spread a crowd, and no reason to wait longer."""

MOST_DELAY = 366 * 86_400.0
"""Seconds of the longest delay. Beyond the calendar's end no due time can be written."""

LEAST_CAP = 3_600.0
"""Seconds that a destination may ask us to wait, unless the policy says otherwise or its longest
delay is longer."""

ErrorMatch = int | type[BaseException]
"""What an override names: an HTTP status, or a class of exception."""


def error_matches(given: Iterable[ErrorMatch]) -> tuple[ErrorMatch, ...]:
    """What an override names, checked. Raises ConfigurationError for anything but HTTP statuses
    of failures and classes of exceptions."""
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise ConfigurationError(f"{given!r} is no list: write [409, TimeoutError]")
    found = tuple(given)
    for cause in found:
        if not _is_error_match(cause):
            raise ConfigurationError(
                f"{cause!r} is neither an HTTP status from 300 to 599 nor an exception class"
            )
    return found


def _is_error_match(cause: object) -> bool:
    if isinstance(cause, type):
        return issubclass(cause, BaseException)
    return isinstance(cause, int) and 300 <= cause <= 599


class Retry:
    """Delays between attempts, each longer than the one before, and each a topic of its own.

    ``jitter`` spreads each delay upward by up to that share, and at most by 5 s, so that a crowd
    of failed events does not come back at one moment; a delay is never shorter than written.
    ``on``: HTTP statuses and classes of exceptions that are to be tried again, whatever the sink
    makes of them. ``max_retry_after``: how long a destination may ask us to wait (``Retry-After``)
    at the most; by default the longest delay, and an hour at least. Raises ConfigurationError for
    what cannot be a policy.
    """

    DEFAULT: ClassVar[Retry]

    delays: tuple[str, ...]
    """As written: they end the topics' names."""
    seconds: tuple[float, ...]
    jitter: float
    on: tuple[ErrorMatch, ...]
    max_retry_after: float

    def __init__(
        self,
        *delays: str,
        jitter: float = 0.1,
        on: Sequence[ErrorMatch] = (),
        max_retry_after: str | None = None,
    ) -> None:
        if not delays:
            raise ConfigurationError("Retry() needs a delay, as Retry('10s', '1m')")
        self.seconds = tuple(parse_duration(delay) for delay in delays)
        self.delays = tuple(delay.strip() for delay in delays)
        self.jitter = jitter
        self.on = error_matches(on)
        if any(later <= earlier for earlier, later in pairwise(self.seconds)):
            raise ConfigurationError(f"{self}: each delay must be longer than the one before")
        if self.seconds[-1] > MOST_DELAY:
            raise ConfigurationError(f"{self}: a delay is at most 366d")
        if not 0 <= jitter <= 1:
            raise ConfigurationError(f"{self}, jitter={jitter}: it is a share between 0 and 1")
        # An answer "Retry-After: 86400" to a policy of seconds would put an event away for a day;
        # but "in 20 minutes" is common among APIs, and is believed whatever the policy's delays
        # are.
        self.max_retry_after = max(LEAST_CAP, self.seconds[-1])
        if max_retry_after is not None:
            self.max_retry_after = parse_duration(max_retry_after)
            if not 0 < self.max_retry_after <= MOST_DELAY:
                raise ConfigurationError(f"max_retry_after={max_retry_after!r}: from 1ms to 366d")

    def spread(self, step: int, random: float) -> float:
        """The seconds of delay number ``step`` (from 0) with its jitter, for a ``random`` number
        in [0, 1): the same number gives the same seconds."""
        delay = self.seconds[step]
        return delay + min(delay * self.jitter * random, MOST_JITTER)

    def __repr__(self) -> str:
        return f"Retry({', '.join(map(repr, self.delays))})"


Retry.DEFAULT = Retry("10s", "1m", "10m")
