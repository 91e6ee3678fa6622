"""Job 3, CDC: a snapshot, catching up with changes, and the latency from commit to consumer.

Each system does the three in one life. While the changes to catch up with are made, it stands
still (SIGSTOP): so it neither competes with who makes them, nor begins cold. Its topic has one
partition, so that the n-th record after the catch-up is the n-th change. The same on PostgreSQL and
on MariaDB.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from benchmarks import debezium, shop, shop_mariadb
from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.measure import Meter, percentile
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline
from benchmarks.system import Program
from benchmarks.topics import Output

ROWS, TRANSACTIONS, EACH = 300_000, 200, 1_000
SECONDS, WARM_UP = 25, 5
UNITS = {
    "snapshot_rows_per_s": "1/s",
    "snapshot_cpu_us_per_event": "µs",
    "snapshot_others_cores": "cores",
    "stream_rows_per_s": "1/s",
    "stream_cpu_us_per_event": "µs",
    "stream_others_cores": "cores",
    "latency_p50_ms": "ms",
    "latency_p99_ms": "ms",
    "latency_cpu_us_per_event": "µs",
    "latency_others_cores": "cores",
    "rss_mb": "MB",
}
Figures = dict[str, float]


@dataclass(frozen=True)
class System:
    """A system of this job; ``owner``: what the names of its topics and groups begin with;
    ``shop``: the module of its database."""

    name: str
    owner: str
    topic: str
    command: Callable[[Servers], list[str]]
    shop: ModuleType = shop


def peer(name: str, owner: str, *, avro: bool = True, mariadb: bool = False, **more: str) -> System:
    settings = {key.replace("_", "."): value for key, value in more.items()}
    return System(
        name,
        owner,
        debezium.topic(owner, shop_mariadb.TABLE if mariadb else shop.TABLE),
        lambda at: debezium.command(owner, at, avro=avro, more=settings, mariadb=mariadb),
        shop_mariadb if mariadb else shop,
    )


SYSTEMS = (
    System(
        "trunkline",
        "cdcbench",
        "cdcbench.orders",
        lambda at: trunkline("cdc", "--only", "source"),
    ),
    peer("Debezium, Avro", "dbz_avro"),
    peer("Debezium, Avro, polling every 10 ms", "dbz_fast", poll_interval_ms="10"),
    peer("Debezium, JSON", "dbz_json", avro=False),
    System(
        "trunkline, MariaDB",
        "cdcmaria",
        "cdcmaria.orders",
        lambda at: trunkline("cdc_mariadb", "--only", "source"),
        shop_mariadb,
    ),
    peer("Debezium, Avro, MariaDB", "dbz_maria", mariadb=True),
)


def run(*, scale: float, only: str) -> Report:
    """Run the systems one after the other, each on the same table."""
    rows, transactions = int(ROWS * scale), int(TRANSACTIONS * scale)
    changes = transactions * EACH
    report = Report(
        "cdc", f"CDC: {rows:,} rows, {changes:,} changes, then {shop.RATE} changes a second"
    )
    with servers(postgres=True, mariadb=True) as at:
        dsns = {shop: at.postgres, shop_mariadb: shop_mariadb.prepare(at.mariadb)}
        for module, dsn in dsns.items():
            module.make(dsn, rows)
        for system in SYSTEMS:
            if only not in system.name:
                continue
            dsn = dsns[system.shop]
            try:
                report.add(system.name, UNITS, **_measure(system, at, dsn, rows, transactions))
            except FAILURES as problem:
                report.skip(system.name, "snapshot_rows_per_s", problem)
            system.shop.forget_readers(dsn)
    return report


def _measure(system: System, at: Servers, dsn: str, rows: int, transactions: int) -> Figures:
    command = system.command(at)
    at.topics.create([system.topic], partitions=1)
    changes = transactions * EACH
    log = at.logs / f"cdc-{system.owner}.log"
    with (
        Program(command, log, at.environment(DSN=dsn)) as program,
        Meter(system=program.pid, **at.pids) as meter,
    ):
        snapshot = _output(system, at, program, rows)
        program.pause()
        system.shop.change_many(dsn, transactions, EACH)
        program.resume()
        stream = _output(system, at, program, rows + changes).after(rows)
        latencies, begin, end = _latencies(system, at, dsn)
        return {
            **_throughput("snapshot", snapshot, meter),
            **_throughput("stream", stream, meter),
            "latency_p50_ms": percentile(latencies, 0.5) * 1000,
            "latency_p99_ms": percentile(latencies, 0.99) * 1000,
            "latency_cpu_us_per_event": meter.cpu("system", begin, end) / len(latencies) * 1e6,
            "latency_others_cores": meter.others(begin, end) / (end - begin),
            "rss_mb": meter.peak_mb("system", snapshot.first, end),
        }


def _output(system: System, at: Servers, program: Program, count: int) -> Output:
    output = at.topics.wait_for([system.topic], count, program.alive, 120 + count / 2000)
    if output.count != count:
        raise BenchmarkError(f"{output.count:,} records, and not {count:,}")
    return output


def _throughput(phase: str, output: Output, meter: Meter) -> Figures:
    cpu = meter.cpu("system", output.first, output.last)
    print(f"  {phase}: {output.count / output.seconds:,.0f} rows/s", file=sys.stderr)
    return {
        f"{phase}_rows_per_s": output.count / output.seconds,
        f"{phase}_cpu_us_per_event": cpu / output.count * 1e6,
        f"{phase}_others_cores": meter.others(output.first, output.last) / output.seconds,
    }


def _latencies(system: System, at: Servers, dsn: str) -> tuple[list[float], float, float]:
    """Seconds from commit to consumer for each change after the warm-up; begin and end."""
    expected = shop.RATE * SECONDS
    reader = at.topics.reader([system.topic], at_end=True)
    with system.shop.changer(dsn, SECONDS) as changing:
        received: list[float] = []
        deadline = time.monotonic() + SECONDS + 30
        while len(received) < expected and time.monotonic() < deadline:
            message = reader.poll(0.5)
            if message is not None and message.error() is None:
                received.append(time.time())
        committed = json.loads(changing.communicate()[0])
    reader.close()
    if len(received) < expected:
        raise BenchmarkError(f"{len(received):,} of {expected:,} changes came in time")
    measured = slice(shop.RATE * WARM_UP, None)
    pairs = list(zip(committed, received, strict=True))[measured]
    return [came - went for went, came in pairs], pairs[0][0], pairs[-1][0]
