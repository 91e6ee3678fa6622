"""The conditions of which people are alerted, as one worker sees them: dead letters, an open
breaker, lag, routing that is held, a source at risk. Nothing is sent from here: the manager asks
once a second what holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from trunkline.masking import without_secrets
from trunkline.streams.alerts.kinds import (
    AT_RISK,
    BREAKER,
    DEAD_LETTER_LIMIT,
    DEAD_LETTERS,
    HELD,
    LAG,
    AlertKind,
)
from trunkline.streams.flow.alert import Alert

MAX_ERROR_CHARS = 500
"""Characters of an error that people are shown."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A condition that holds in this worker. Times in epoch seconds.

    ``seen``: when it last held; ``amount``: events, or seconds, as its kind says; ``error``: the
    newest one and when it came.
    """

    kind: AlertKind
    since: float
    seen: float
    amount: float
    error: str = ""
    error_at: float = 0.0


class ConditionMonitor:
    """The conditions of one destination, or of another step, in this worker.

    The engine reports them at any time, as they come; each report is cheap. ``clock``: epoch
    seconds.
    """

    def __init__(self, policy: Alert, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._dead: Observation | None = None
        self._open_since: float | None = None
        self._held_since: float | None = None
        self._lag = 0.0
        self._tripped_at: float | None = None
        self._at_risk_since: float | None = None
        self._errors: dict[AlertKind, tuple[str, float]] = {}

    def dead_lettered(self, count: int, error: BaseException | str = "") -> None:
        """So many events were just sent to the dead-letter queue, the newest for ``error``."""
        now, last = self._now(), self._dead
        # After a quiet time people were told that it is over: what comes then is counted anew.
        if last is None or now - last.seen > DEAD_LETTERS.quiet:
            last = Observation(DEAD_LETTERS, now, now, 0)
        self._remember(DEAD_LETTERS, error)
        self._dead = Observation(DEAD_LETTERS, last.since, now, last.amount + count)

    def dead_letters_told(self, at: float) -> None:
        """People were told then that it is over with what was dead-lettered before: what comes
        from here on is counted anew."""
        if self._dead is not None and self._dead.seen <= at:
            self._dead = None

    def breaker_open(self, since: float | None, error: BaseException | str = "") -> None:
        """The breaker is open, or probing, since then (epoch seconds); None: it is closed.

        A destination that is paused or in maintenance is closed in this sense.
        """
        self._open_since = None if since is None else round(since, 3)
        self._remember(BREAKER, error)

    def lag(self, seconds: float) -> None:
        """The age of the oldest event that is not finished; 0 if there is none, or if events wait
        since somebody wanted it so."""
        self._lag = seconds
        if not seconds:
            self._errors.pop(LAG, None)

    def held(self, error: BaseException) -> None:
        """Nothing goes on for now, for this reason: what is late is late because of it."""
        self._remember(LAG, error)

    def routing_held(self, since: float | None, error: BaseException | str = "") -> None:
        """A partition cannot be routed since then (epoch seconds), for this reason; None: all
        can."""
        self._held_since = None if since is None else round(since, 3)
        self._remember(HELD, error)

    def dead_letter_limit_tripped(self, tripped: bool, error: BaseException | str = "") -> None:
        """Whether the dead-letter limit stops delivery."""
        self._tripped_at = (self._tripped_at or self._now()) if tripped else None
        self._remember(DEAD_LETTER_LIMIT, error)

    def at_risk(self, warnings: Sequence[str]) -> None:
        """What a source's system says will stop the source, or do harm; [] if nothing."""
        self._at_risk_since = (self._at_risk_since or self._now()) if warnings else None
        self._remember(AT_RISK, "; ".join(warnings))

    def observations(self) -> Iterator[Observation]:
        """The conditions that hold now."""
        now = self._now()
        for kind, since in ((BREAKER, self._open_since), (HELD, self._held_since)):
            lasts = 0.0 if since is None else now - since
            if lasts > self._policy.open_seconds:
                yield self._observed(kind, now - lasts, lasts)
        if self._lag > self._policy.lag_seconds:
            yield self._observed(LAG, now - self._lag, self._lag)
        if self._tripped_at is not None:
            yield self._observed(DEAD_LETTER_LIMIT, self._tripped_at, 0)
        if (since := self._at_risk_since) is not None:
            yield self._observed(AT_RISK, since, 0)
        if self._dead is not None and now - self._dead.seen <= DEAD_LETTERS.quiet:
            dead = self._dead
            yield Observation(
                DEAD_LETTERS, dead.since, dead.seen, dead.amount, *self._error(DEAD_LETTERS)
            )

    def _observed(self, kind: AlertKind, since: float, amount: float) -> Observation:
        error = self._error(kind)
        return Observation(kind, round(since, 3), self._now(), round(amount), *error)

    def _remember(self, kind: AlertKind, error: BaseException | str) -> None:
        if error:
            named = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
            self._errors[kind] = (
                without_secrets(" ".join(named.split()))[:MAX_ERROR_CHARS],
                self._now(),
            )

    def _error(self, kind: AlertKind) -> tuple[str, float]:
        return self._errors.get(kind, ("", 0.0))

    def _now(self) -> float:
        return round(self._clock(), 3)  # as exact as it is written
