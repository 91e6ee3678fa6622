"""Recovery: events keep coming at 500 a second while the API answers 503 for 10 minutes.

When the API is back, a system has a backlog to deliver, in order per key, while new events come.
It counts as caught up when no more than half a second's events wait. ``--scale`` sets the
outage's length.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from benchmarks.deliveries import PARALLEL, PARTITIONS, Api, Book, Events, System, ours, outage
from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.measure import Meter, percentile
from benchmarks.pacer import Pacer
from benchmarks.report import Report
from benchmarks.servers import Servers, servers
from benchmarks.topics import Message

RATE = 500
DOWN_SECONDS, WARM_UP, ON = 600, 20, 10
"""Seconds: of the outage, before it, and after the system has caught up."""
LIMIT = 300
"""Seconds after the outage within which a system must have caught up."""
UNITS = {
    "caught_up_after_s": "s",
    "first_delivery_after_s": "s",
    "full_rate_after_s": "s",
    "requests_while_down": "",
    "latency_before_p99_ms": "ms",
    "live_latency_p50_s": "s",
    "live_latency_max_s": "s",
    "latency_afterwards_p99_ms": "ms",
    "others_cores": "cores",
    "rss_mb": "MB",
    "repeats": "",
}
SYSTEMS = (ours("trunkline", 1), PARALLEL)


def run(*, scale: float, only: str) -> Report:
    """Run the systems one after the other."""
    down = max(10.0, DOWN_SECONDS * scale)
    report = Report("recovery", f"Recovery: {RATE} events/s, {down:.0f} s of 503")
    with servers() as at, Events(at.registry) as events:
        for system in SYSTEMS:
            if only not in system.name:
                continue
            try:
                found = _measure(system, at, events.endless(system.topic), down)
            except FAILURES as problem:
                report.skip(system.name, "caught_up_after_s", problem)
                continue
            report.add(system.name, UNITS, **found)
            print(f"{system.name:24} {found['caught_up_after_s']:6.1f} s", file=sys.stderr)
    return report


def _measure(
    system: System, at: Servers, events: Iterator[Message], down: float
) -> dict[str, float]:
    at.topics.create([system.topic], PARTITIONS)
    pacer = Pacer(at.bootstrap, system.topic, events, RATE)
    with Api(at, "recovery", *outage(RATE * WARM_UP, down)) as api:
        with (
            system.run(at, api.url, "recovery") as program,
            Meter(system=program.pid, api=api.pid, **at.pids) as meter,
        ):
            with pacer.running():
                _until_caught_up(api, pacer, program.alive, down)
                time.sleep(ON)
            api.wait_for(len(pacer.produced), program.alive, 60)
        book = api.book()
    book.check(len(pacer.produced))
    return _figures(book, pacer.produced, meter)


def _until_caught_up(api: Api, pacer: Pacer, alive: Callable[[], None], down: float) -> None:
    """Wait until the outage is over and half a second's events wait, at the most."""
    api.wait_for(RATE * WARM_UP, alive, 120 + WARM_UP)
    over = time.monotonic() + down
    while time.monotonic() < over or len(pacer.produced) - api.count() > RATE / 2:
        alive()
        if time.monotonic() > over + LIMIT:
            raise BenchmarkError(f"not caught up {LIMIT} s after the outage")
        time.sleep(0.2)


def _figures(book: Book, produced: dict[str, float], meter: Meter) -> dict[str, float]:
    assert book.down_at is not None, "it was waited for"
    assert book.up_at is not None
    caught_up = _caught_up(book, sorted(produced.values()))
    end = book.moments[-1]
    before = _latencies(book, produced, book.down_at - WARM_UP / 2, book.down_at - 1)
    live = _latencies(book, produced, book.up_at, caught_up)
    afterwards = _latencies(book, produced, caught_up, end)
    return {
        "caught_up_after_s": caught_up - book.up_at,
        **book.outage(RATE),
        "latency_before_p99_ms": percentile(before, 0.99) * 1000,
        "live_latency_p50_s": percentile(live, 0.5),
        "live_latency_max_s": max(live),
        "latency_afterwards_p99_ms": percentile(afterwards, 0.99) * 1000,
        "others_cores": meter.others(book.up_at, caught_up) / (caught_up - book.up_at),
        "rss_mb": meter.peak_mb("system", book.down_at, end),
        "repeats": book.repeats,
    }


def _caught_up(book: Book, produced: list[float]) -> float:
    """The first moment after the outage when half a second's events waited, at the most."""
    assert book.up_at is not None
    for number, moment in enumerate(book.moments):
        if moment > book.up_at and bisect_left(produced, moment) - number - 1 <= RATE / 2:
            return moment
    raise BenchmarkError("it never caught up")


def _latencies(book: Book, produced: dict[str, float], begin: float, end: float) -> list[float]:
    """Seconds from produced to taken for each event that was produced between two moments."""
    taken: dict[str, float] = {}
    for id, moment in book.taken:
        taken.setdefault(id, moment)
    return [taken[id] - moment for id, moment in produced.items() if begin <= moment < end]
