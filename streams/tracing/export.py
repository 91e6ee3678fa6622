"""Spans on their way to the collector: a bounded queue, and one thread that sends what is in it.

OpenTelemetry's own processor drops without a count that Prometheus can read, bounds spans and not
their size, and may hold up an end for as long as its exporter tries.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger(__name__)

MOST = 2_048
"""What the queue weighs at the most: spans, of some 3 kB each; of links four weigh as much."""
LINKS = 4
BATCH = 512
INTERVAL = 1.0
"""Seconds that a span waits for others."""
CLOSE_WITHIN = 2.0
"""Seconds that the end of a worker waits for what is left. Then it is lost, and counted."""
LAST_WORDS = 0.3
"""Seconds of these for a request under way, after its exporter was told to give up."""


def _weight(span: ReadableSpan) -> int:
    return 1 + len(span.links) // LINKS


class BoundedExport(SpanProcessor):
    """Hands ended spans to ``exporter``, in its own thread; nobody ever waits for it.

    What does not fit, and what the exporter does not get rid of, is dropped: ``dropped`` is told
    how many, in whichever thread. For any number of threads.
    """

    def __init__(self, exporter: SpanExporter, dropped: Callable[[int], None]) -> None:
        self._exporter = exporter
        self._dropped = dropped
        self._queue: deque[ReadableSpan] = deque()
        self._weight = 0
        self._changed = threading.Condition()
        self._closing_until: float | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a span is told of when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue, if it fits."""
        weight = _weight(span)
        with self._changed:
            fits = self._closing_until is None and self._weight + weight <= MOST
            if fits:
                self._queue.append(span)
                self._weight += weight
                if len(self._queue) in (1, BATCH):  # somebody waits for the first, or for enough
                    self._changed.notify()
        if not fits:
            self._dropped(1)

    def close(self, seconds: float = CLOSE_WITHIN) -> None:
        """Send what is left, for so long at the most; then it is dropped. Blocks."""
        until = monotonic() + seconds - LAST_WORDS
        with self._changed:
            self._closing_until = until
            self._changed.notify()
        self._thread.join(max(0.0, until - monotonic()))
        self._exporter.shutdown()  # a pause before its next try ends at once
        self._thread.join(LAST_WORDS)
        with self._changed:
            left = len(self._queue)
            self._queue.clear()
        if left:
            self._dropped(left)
            log.warning("%d spans were not sent: the collector did not take them in time", left)

    def shutdown(self) -> None:
        """As ``close``."""
        self.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nobody waits for the collector."""
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._queue and self._closing_until is None:
                    self._changed.wait()
                if len(self._queue) < BATCH and self._closing_until is None:
                    self._changed.wait(INTERVAL)
                until = self._closing_until
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                self._weight -= sum(map(_weight, batch))
            if batch:
                self._send(batch)
            elif until is not None:
                return
            if until is not None and monotonic() >= until:
                return

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # of an exporter, of any kind: it must not end the thread
            log.debug("the exporter of traces failed", exc_info=True)
            taken = False
        if not taken:
            self._dropped(len(batch))
        if taken == self._failing:  # told once, and when it is over
            self._failing = not taken
            if taken:
                log.info("the collector takes traces again")
            else:
                log.warning(
                    "the collector takes no traces: they are dropped, and counted in "
                    "trunkline_spans_dropped_total; nothing else waits for it"
                )
