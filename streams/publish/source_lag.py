"""How far a source is behind its system: true also while it fails, waits, or has nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from trunkline.connectors.base import Batch, Gauge

SourceState = Literal[
    "running",
    "waiting",
    "failing",
    "paused",
    "stopped",
    "ended",
    "listening",
    "dead-letter-limit",
]
"""``waiting``: it has given nothing since its start; ``failing``: it is tried again and again;
``stopped``: a person must mend something; ``ended``: it has nothing more to give; ``listening``:
its system calls it; ``dead-letter-limit``: a person must look at what cannot be mapped."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source is in a worker that runs it. ``error``: the last one since it was read
    successfully, or what stopped it; ``late_since``: since when it is behind, in epoch seconds, or
    None. ``gauges``: what its system knows of it."""

    state: SourceState
    error: str = ""
    late_since: float | None = None
    gauges: Sequence[Gauge] = ()


SETTLED = 2.0
"""Seconds for which the age of the last batch counts, so that somebody sees it."""
SILENT = 10.0
"""Seconds after its start from which a source that has given no batch counts as held."""


class SourceLag:
    """Of one source in this worker. ``clock``: epoch seconds.

    Behind is a source from when it begins, or fails, until it stands at the end of its system: the
    batch that it gives there says so. Written by the source's thread, read by any.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._started: float | None = None  # while a start has given no batch yet
        self._failed = False
        self._age, self._settled = 0.0, 0.0

    def begun(self) -> None:
        """The source runs, from its stored position."""
        now = self._clock()
        self._started = now
        self._behind(now)

    def failed(self) -> None:
        """It cannot be read: what happens from now on waits."""
        self._failed = True
        self._behind(self._clock())

    def paused(self) -> None:
        """Somebody wants it to wait: what happens from now on does."""
        self._started, self._failed = None, False
        self._behind(self._clock())

    def ended(self) -> None:
        """It is another worker's now, or nobody's."""
        self._since = self._started = None
        self._failed, self._age = False, 0.0

    def read(self, batch: Batch) -> None:
        """A batch is here, and not published yet."""
        if batch.records:
            first = batch.records[0].time.timestamp()
            self._since = min(first, self._clock())

    def settled(self, batch: Batch) -> None:
        """The batch is published."""
        now = self._clock()
        self._age, self._settled = now - (self._since or now), now
        self._started, self._failed = None, False
        if batch.current:
            self._since = None

    def seconds(self) -> float:
        """The age of the oldest change that is not published, or may not be."""
        now, since = self._clock(), self._since
        if since is not None:
            return max(0.0, now - since)
        return self._age if now - self._settled < SETTLED else 0.0

    @property
    def since(self) -> float | None:
        """Since when it is behind, in epoch seconds; None if it is not."""
        return self._since

    @property
    def state(self) -> SourceState:
        """What it is doing."""
        if self._failed:
            return "failing"
        return "waiting" if self.held else "running"

    @property
    def held(self) -> bool:
        """Whether the source gets nowhere: it has failed and not been read since, or it gives
        nothing since it has started."""
        started = self._started
        return self._failed or (started is not None and self._clock() - started > SILENT)

    def _behind(self, since: float) -> None:
        if self._since is None:
            self._since = since
