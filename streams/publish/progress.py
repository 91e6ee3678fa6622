"""How far a source is with what it reads first, as a snapshot: in words, and in the log now and
then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from trunkline.connectors.base import Position

log = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two lines about one phase."""


def progress_in_words(progress: Any) -> str:
    """A position's ``progress``, as "public.orders: 12,000 rows of about 300,000 (4 %)"; "" for
    what is none: a connector's own entry may be anything."""
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        rows, about = progress["rows"], progress.get("about")
        share = f" ({min(100 * rows // about, 100)} %)" if about else ""
        of = f" of about {about:,}{share}" if about else ""
        return f"{progress['of']}: {rows:,} rows{of}"
    return ""


class ProgressLog:
    """Tells in the log when a phase of a source begins, how far it is, and when it is over. For the
    source's thread. ``clock``: seconds."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._phase = ""
        self._began = self._told = 0.0

    def on_position(self, position: Position | None) -> None:
        """A position is committed, or is the one that the source begins at."""
        found = position if isinstance(position, dict) else {}
        phase, now = str(found.get("phase") or ""), self._clock()
        if phase != self._phase:
            if self._phase and phase:
                what = f"{self._phase} is over after {now - self._began:.0f} s, {phase} begins"
                log.info("source %s: %s", self._source, what)
            self._phase, self._began, self._told = phase, now, now
        elif now - self._told >= EVERY and (words := progress_in_words(found.get("progress"))):
            log.info("source %s: %s, %s", self._source, phase, words)
            self._told = now
