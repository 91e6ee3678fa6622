"""Job 4, end to end: from the commit in PostgreSQL to the request at the destination.

A small table is changed at a fixed rate; the whole chain (source, canonical topic, route, inbox,
delivery) runs in one worker.
"""

from __future__ import annotations

import json
import sys
import time

import httpx

from benchmarks import shop
from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.measure import Meter, percentile
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline
from benchmarks.system import Program
from trunkline.local.ports import free_port

NAME = "trunkline"
ROWS = 1_000
SECONDS, WARM_UP = 60, 5
UNITS = {
    "latency_p50_ms": "ms",
    "latency_p99_ms": "ms",
    "latency_max_ms": "ms",
    "cpu_us_per_event": "µs",
    "broker_cpu_us_per_event": "µs",
    "others_cores": "cores",
    "rss_mb": "MB",
}
Seen = list[tuple[int, float]]


def run(*, scale: float, only: str) -> Report:
    """Run the chain; ``only`` changes nothing, as no peer has all of it."""
    seconds = WARM_UP + max(5, int(SECONDS * scale))
    report = Report("latency", f"End to end: {shop.RATE} commits a second, {seconds - WARM_UP} s")
    with servers(postgres=True) as at:
        try:
            report.add(NAME, UNITS, **_measure(at, seconds))
        except FAILURES as problem:
            report.skip(NAME, "latency_p50_ms", problem)
    return report


def _measure(at: Servers, seconds: int) -> dict[str, float]:
    shop.make(at.postgres, ROWS)
    api = f"http://127.0.0.1:{(port := free_port())}"
    receiver = [sys.executable, "-m", "benchmarks.receiver", str(port)]
    environment = at.environment(DSN=at.postgres, API=f"{api}/orders")
    with (
        Program(receiver, at.logs / "latency-receiver.log"),
        Program(trunkline("latency"), at.logs / "latency.log", environment) as program,
        Meter(system=program.pid, **at.pids) as meter,
    ):
        _wait_for(api, ROWS, program, 120)
        with shop.changer(at.postgres, seconds) as changing:
            committed: list[float] = json.loads(changing.communicate()[0])
        _wait_for(api, ROWS + len(committed), program, 60)
        seen: Seen = httpx.get(f"{api}/seen").json()[ROWS:]
    return _figures(committed, seen, meter)


def _figures(committed: list[float], seen: Seen, meter: Meter) -> dict[str, float]:
    arrived = dict(seen)
    if len(arrived) != len(committed) or len(seen) != len(committed):
        raise BenchmarkError(f"{len(seen):,} requests for {len(committed):,} commits")
    numbers = range(shop.RATE * WARM_UP, len(committed))
    delays = [(arrived[number] - committed[number]) * 1000 for number in numbers]
    begin, end = committed[numbers[0]], arrived[numbers[-1]]
    return {
        "latency_p50_ms": percentile(delays, 0.5),
        "latency_p99_ms": percentile(delays, 0.99),
        "latency_max_ms": max(delays),
        "cpu_us_per_event": meter.cpu("system", begin, end) / len(delays) * 1e6,
        "broker_cpu_us_per_event": meter.cpu("kafka", begin, end) / len(delays) * 1e6,
        "others_cores": meter.others(begin, end) / (end - begin),
        "rss_mb": meter.peak_mb("system", begin, end),
    }


def _wait_for(api: str, count: int, program: Program, seconds: float) -> None:
    """Wait until so many requests have come. Raises BenchmarkError if they do not."""
    deadline = time.monotonic() + seconds
    while (found := _count(api)) < count:
        program.alive()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{found:,} of {count:,} requests after {seconds:.0f} s")
        time.sleep(0.2)


def _count(api: str) -> int:
    try:
        return int(httpx.get(f"{api}/seen?count").text)
    except httpx.ConnectError:  # it is still starting
        return 0
