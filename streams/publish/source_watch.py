"""What a source's system knows of it: asked every few seconds, beside the reading.

A replication slot that keeps back a disk full of log, or is about to lose what the source has not
read: the source itself would tell neither, least of all while it fails, is paused or waits. So an
instance of the connector that never reads asks, in a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from math import isfinite

from trunkline.connectors.base import Gauge, Position, Source
from trunkline.errors import TrunklineError
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.metrics import SourceMetrics
from trunkline.tasks import inheriting

log = logging.getLogger(__name__)

INTERVAL = 15.0
"""Seconds between two questions."""
_SOON = 0.5
"""Seconds between two looks whether the source has a position."""
STOP_TIMEOUT = 1.0
"""Seconds for which an ending watch is waited for."""
MAX_GAUGES = 50
"""Gauges of one source: each is a series of its own in Prometheus."""


class SourceWatch:
    """Asks for the gauges of one source, between ``start`` and ``stop``, which follow each other.

    ``build``: makes the connector. ``position``: where the source stands; None: nobody knows yet.
    ``gauges``: as they were told last, () if they cannot be asked for. ``warnings``: what
    threatens the source, or its system; while that cannot be asked, what it has said last: it is no
    less threatened.
    """

    def __init__(
        self,
        name: str,
        *,
        build: Callable[[], Source],
        position: Callable[[], Position | None],
        metrics: SourceMetrics,
        outcome_listener: OutcomeListener,
    ) -> None:
        self._name = name
        self._build = build
        self._position = position
        self._metrics = metrics
        self._outcome_listener = outcome_listener
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned: frozenset[str] = frozenset()
        self.warnings: list[str] = []
        self._silent = ""
        self.gauges: Sequence[Gauge] = ()

    def start(self) -> None:
        """Ask from now on."""
        self._stop = threading.Event()
        name = f"watch-{self._name}"
        self._thread = threading.Thread(
            target=inheriting(self._run), args=[self._stop], name=name, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. What was told is gone: another worker tells it now."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT)
            self._thread = None
        self._told(())

    def _run(self, stop: threading.Event) -> None:
        source: Source | None = None
        try:
            while not stop.is_set():
                if (asked := self._position()) is None:  # it comes in a moment
                    if self.gauges:  # it was reset: what they tell is of a position that is gone
                        self._told(())
                    stop.wait(_SOON)
                    continue
                try:
                    if source is None:
                        source = self._build()
                        if type(source).gauges is Source.gauges:
                            return
                    told = tuple(source.gauges(asked, stop))[:MAX_GAUGES]
                except Exception as error:  # noqa: BLE001 - of a connector, of any kind
                    if not stop.is_set():
                        self._cannot_ask(error)
                else:
                    self._silent = ""
                    if not stop.is_set():
                        self._told(told)
                stop.wait(INTERVAL)
        finally:
            if source is not None:
                self._close(source)

    def _close(self, source: Source) -> None:
        try:
            source.close()
        except Exception:  # of a connector, of any kind
            log.warning(
                "source %s: what asked for its gauges is not closed", self._name, exc_info=True
            )

    def _cannot_ask(self, error: Exception) -> None:
        """Once for each reason: most probably the source is not read either, and says so."""
        text = f"{type(error).__name__}: {error}"
        if text != self._silent:
            shown = None if isinstance(error, TrunklineError) else error
            log.warning(
                "source %s: its system cannot be asked for gauges: %s",
                self._name,
                text,
                exc_info=shown,
            )
        self._silent = text
        self.gauges = ()
        self._metrics.told({}, at_risk=bool(self.warnings))

    def _told(self, gauges: Sequence[Gauge]) -> None:
        self.gauges = gauges
        self.warnings = [gauge.warning for gauge in gauges if gauge.warning]
        known = {gauge.name: gauge.value for gauge in gauges if isfinite(gauge.value)}
        self._metrics.told(known, at_risk=bool(self.warnings))
        self._outcome_listener.on_at_risk(self.warnings)
        # Each warning once, whatever numbers it names: the gauge tells how they go on.
        warned = {gauge.name: gauge.warning for gauge in gauges if gauge.warning}
        for name in warned.keys() - self._warned:
            log.warning("source %s: %s", self._name, warned[name])
        self._warned = frozenset(warned)
