"""Job 5, retry: a thousand events a second wait in a retry tier, and as many are due.

The API answers 500 when an event comes for the first time, and notes when. It is due five seconds
later; how much later it comes is its lateness.
"""

from __future__ import annotations

import time
from functools import partial

from benchmarks.deliveries import PARTITIONS, Api, Book, Events, System
from benchmarks.errors import FAILURES
from benchmarks.measure import Meter, percentile
from benchmarks.pacer import Pacer
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline

RATE, SECONDS = 1_000, 60
DELAY = 5.0
"""The tier of ``flows/retry.py``."""
WARM_UP = 10.0
"""Seconds of retries that are not measured, while the worker starts."""
UNITS = {
    "retries_per_s": "1/s",
    "early": "",
    "lateness_p50_ms": "ms",
    "lateness_p99_ms": "ms",
    "lateness_max_ms": "ms",
    "cpu_us_per_event": "µs",
    "others_cores": "cores",
    "rss_mb": "MB",
    "repeats": "",
}
OURS = System(
    "trunkline",
    "retrybench",
    "retrybench.api.inbox",
    partial(trunkline, "retry", "--only", "deliver"),
)


def run(*, scale: float, only: str) -> Report:
    """Run it; ``only`` changes nothing, as there is one system."""
    seconds = max(15.0, SECONDS * scale)
    report = Report("retry", f"Retry: {RATE:,} events a second fail once, {seconds:.0f} s")
    with servers() as at, Events(at.registry) as events:
        at.topics.create([OURS.topic], PARTITIONS)
        pacer = Pacer(at.bootstrap, OURS.topic, events.endless(OURS.topic), RATE)
        try:
            report.add(OURS.name, UNITS, **_measure(at, pacer, seconds))
        except FAILURES as problem:
            report.skip(OURS.name, "lateness_p99_ms", problem)
    return report


def _measure(at: Servers, pacer: Pacer, seconds: float) -> dict[str, float]:
    with Api(at, "retry", "--fail-first") as api:
        with (
            OURS.run(at, api.url, "retry") as program,
            Meter(system=program.pid, **at.pids) as meter,
        ):
            with pacer.running():
                api.wait_for(1, program.alive, 60)
                time.sleep(WARM_UP + seconds)
            api.wait_for(len(pacer.produced), program.alive, 60)
        book = api.book()
    book.check(len(pacer.produced))
    return _figures(book, meter, seconds)


def _figures(book: Book, meter: Meter, seconds: float) -> dict[str, float]:
    begin = book.retried[0][1] + WARM_UP
    end = begin + seconds
    late = [again - failed - DELAY for failed, again in book.retried if begin <= again < end]
    return {
        "retries_per_s": len(late) / seconds,
        "early": sum(lateness < 0 for lateness in late),
        "lateness_p50_ms": percentile(late, 0.5) * 1000,
        "lateness_p99_ms": percentile(late, 0.99) * 1000,
        "lateness_max_ms": max(late) * 1000,
        "cpu_us_per_event": meter.cpu("system", begin, end) / len(late) * 1e6,
        "others_cores": meter.others(begin, end) / (end - begin),
        "rss_mb": meter.peak_mb("system", begin, end),
        "repeats": book.repeats,
    }
