"""The queue to the collector: bounded, counted, and in nobody's way."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from trunkline.streams.tracing import export
from trunkline.streams.tracing.tracer import CLIENT, Tracer, finish


class Collector(SpanExporter):
    """Takes what it is given, unless it is ``away`` (fails at once) or hangs until ``let_go``."""

    def __init__(self, *, away: bool = False, hangs: bool = False) -> None:
        self.away = away
        self.let_go = threading.Event()
        self.taken: list[ReadableSpan] = []
        self.asked = 0
        if not hangs:
            self.let_go.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked += 1
        self.let_go.wait()
        if self.away:
            return SpanExportResult.FAILURE
        self.taken += spans
        return SpanExportResult.SUCCESS


class Case:
    def __init__(self, collector: Collector) -> None:
        self.dropped = 0
        self.tracer = Tracer(collector, ratio=1, dropped=self._drop)

    def _drop(self, count: int) -> None:
        self.dropped += count

    def spans(self, count: int, links: int = 0) -> None:
        others = [self.tracer.start("other", CLIENT, {}) for _ in range(links)]
        attributes = {f"messaging.of.{number}": "x" * 60 for number in range(9)}
        for _ in range(count):
            finish(self.tracer.start("a span of a name", CLIENT, attributes, links=others))


def test_what_is_left_at_the_end_is_sent() -> None:
    collector = Collector()
    case = Case(collector)
    case.spans(1_000)
    case.tracer.close()
    assert (len(collector.taken), case.dropped) == (1_000, 0)


def test_a_few_are_sent_soon_though_no_more_come() -> None:
    collector = Collector()
    case = Case(collector)
    for sent in (3, 6):
        case.spans(3)
        deadline = time.monotonic() + 30
        while len(collector.taken) < sent:
            assert time.monotonic() < deadline, "nobody has sent them"
            time.sleep(0.05)
    case.tracer.close()


@pytest.mark.parametrize("links", [0, 128])
def test_ten_megabytes_are_kept_at_the_most_and_the_others_counted(links: int) -> None:
    collector = Collector(hangs=True)
    case = Case(collector)
    tracemalloc.start()
    try:
        case.spans(3_000, links)
        assert tracemalloc.get_traced_memory()[0] < 10_000_000
    finally:
        tracemalloc.stop()
    collector.let_go.set()
    case.tracer.close(20)
    assert case.dropped > 400
    assert len(collector.taken) + case.dropped == 3_000


def test_a_collector_that_hangs_delays_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector(hangs=True)
    case = Case(collector)
    case.spans(700)
    began = time.monotonic()
    case.tracer.close(0.5)
    assert 0.2 <= time.monotonic() - began < 1.5
    assert case.dropped >= 188  # those that it had not been given
    collector.let_go.set()


def test_two_seconds_are_the_most_by_default() -> None:
    assert export.CLOSE_WITHIN == 2


def test_what_it_does_not_take_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector(away=True)
    case = Case(collector)
    with caplog.at_level("INFO"):
        case.spans(1_200)
        case.tracer.close()
    assert case.dropped == 1_200
    assert collector.asked >= 2
    told = [line for line in caplog.messages if "trunkline_spans_dropped_total" in line]
    assert len(told) == 1
