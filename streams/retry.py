"""Retry policies: how long an event waits for its next attempt.

Here an event is held and retried in place. The delays of a policy are steps: the first failure
waits for the first, and the last one repeats until the destination accepts or rejects the event.
"""

from __future__ import annotations

import random
import re
from itertools import pairwise
from typing import ClassVar

from trunkline.errors import ConfigurationError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: str) -> float:
    """``"250ms"``, ``"10s"``, ``"1m"``, ``"2h"``, ``"1d"`` in seconds; ConfigurationError else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is not a duration: write 250ms, 10s, 1m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


class Retry:
    """Delays between attempts, growing. Raises ConfigurationError for delays that shrink.

    ``jitter`` spreads each delay upward by up to that share, so that a crowd of failed events
    does not come back at one moment; a delay is never shorter than written.
    """

    DEFAULT: ClassVar[Retry]

    def __init__(self, *delays: str, jitter: float = 0.1) -> None:
        steps = tuple(seconds(delay) for delay in delays)
        if not steps:
            raise ConfigurationError("Retry() needs a delay, as Retry('10s', '1m')")
        if any(later < earlier for earlier, later in pairwise(steps)):
            raise ConfigurationError(f"Retry{delays}: the delays must not shrink")
        if not 0 <= jitter <= 1:
            raise ConfigurationError(f"Retry(jitter={jitter}): between 0 and 1")
        self.delays = delays
        self.jitter = jitter
        self._steps = steps

    def wait(self, failures: int, *, after: float | None = None) -> float:
        """Seconds to wait after that many failures (1 or more), at least ``after`` if given."""
        step = self._steps[min(failures, len(self._steps)) - 1]
        step *= 1 + self.jitter * random.random()
        return max(step, after or 0.0)

    def __repr__(self) -> str:
        return f"Retry({', '.join(map(repr, self.delays))})"


Retry.DEFAULT = Retry("200ms", "1s", "5s", "15s", "30s")
