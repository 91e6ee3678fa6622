"""Job 2, deliver: events in order per key to an HTTP API that answers after 20 ms.

All input lies in the topic before a system starts. The first part measures the rate; in the
middle of the second the API answers 503 for 30 s. The API notes what came and when, and checks
the order of each key.
"""

from __future__ import annotations

import sys
from itertools import islice

from benchmarks.deliveries import (
    OUR_TOPIC,
    PARALLEL,
    PARTITIONS,
    PEER_TOPIC,
    Api,
    Book,
    Events,
    System,
    ours,
    outage,
)
from benchmarks.errors import FAILURES
from benchmarks.measure import Meter
from benchmarks.report import Report
from benchmarks.servers import Servers, servers

EVENTS, BEFORE, AFTER = 100_000, 20_000, 60_000
"""What is measured; how many more come before the outage, and how many after it."""
DOWN_SECONDS, DOWN_AT_LEAST = 30, 6
STEADY = (0.2, 0.9)
"""The part of what is measured that is steady work: all workers are there, all calls in use."""
UNITS = {
    "events_per_s": "1/s",
    "steady_events_per_s": "1/s",
    "cpu_us_per_event": "µs",
    "api_cpu_us_per_event": "µs",
    "others_cores": "cores",
    "rss_mb": "MB",
    "requests_while_down": "",
    "cpu_while_down": "cores",
    "first_delivery_after_s": "s",
    "full_rate_after_s": "s",
    "repeats": "",
}
SYSTEMS = (ours("trunkline", 1), ours("trunkline, 2 workers", 2), PARALLEL)


def run(*, scale: float, only: str) -> Report:
    """Run the systems one after the other, each on the same events."""
    measured, before, after = (int(count * scale) for count in (EVENTS, BEFORE, AFTER))
    total = measured + before + after
    down = max(DOWN_AT_LEAST, DOWN_SECONDS * scale)
    report = Report("deliver", f"Deliver: {measured:,} events, then {down:.0f} s of 503")
    with servers() as at:
        _fill(at, total)
        for system in SYSTEMS:
            if only not in system.name:
                continue
            try:
                found = _measure(system, at, measured, measured + before, total, down)
            except FAILURES as problem:
                report.skip(system.name, "events_per_s", problem)
                continue
            report.add(system.name, UNITS, **found)
            print(f"{system.name:24} {found['events_per_s']:9,.0f} events/s", file=sys.stderr)
    return report


def _fill(at: Servers, count: int) -> None:
    at.topics.create([OUR_TOPIC, PEER_TOPIC], PARTITIONS)
    with Events(at.registry) as events:
        for topic in (OUR_TOPIC, PEER_TOPIC):
            at.topics.fill(topic, islice(events.endless(topic), count))


def _measure(
    system: System, at: Servers, measured: int, down_after: int, total: int, down: float
) -> dict[str, float]:
    with Api(at, "deliver", *outage(down_after, down)) as api:
        with (
            system.run(at, api.url, "deliver") as program,
            Meter(system=program.pid, api=api.pid, **at.pids) as meter,
        ):
            api.wait_for(total, program.alive, 180 + total / 500)
        book = api.book()
    book.check(total)
    return _throughput(book.moments[:measured], meter) | _outage(book, meter)


def _throughput(taken: list[float], meter: Meter) -> dict[str, float]:
    begin, end, count = taken[0], taken[-1], len(taken)
    first, last = (taken[int(share * (count - 1))] for share in STEADY)
    return {
        "events_per_s": count / (end - begin),
        "steady_events_per_s": count * (STEADY[1] - STEADY[0]) / (last - first),
        "cpu_us_per_event": meter.cpu("system", begin, end) / count * 1e6,
        "api_cpu_us_per_event": meter.cpu("api", begin, end) / count * 1e6,
        "others_cores": meter.others(begin, end) / (end - begin),
        "rss_mb": meter.peak_mb("system", begin, end),
    }


def _outage(book: Book, meter: Meter) -> dict[str, float]:
    assert book.down_at is not None, "it goes down before all events are taken"
    assert book.up_at is not None
    before = [moment for moment in book.moments if moment < book.down_at]
    from_ = before[int(STEADY[0] * len(before))]
    rate = (1 - STEADY[0]) * len(before) / (book.down_at - from_)
    spent = meter.cpu("system", book.down_at, book.up_at)
    return {
        **book.outage(rate),
        "cpu_while_down": spent / (book.up_at - book.down_at),
        "repeats": book.repeats,
    }
