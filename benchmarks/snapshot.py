"""A large snapshot: 10 million rows of PostgreSQL by several readers, killed twice and resumed.

After ``kill -9`` the worker is started again at once; so between two parts the topic stands still
until Kafka has given the source to the new one. ``--scale`` sets the number of rows.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from confluent_kafka import KafkaError

from benchmarks import shop
from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.measure import Meter
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline
from benchmarks.system import Program

ROWS = 10_000_000
TOPIC = "cdcbench.orders"
KILLS = (0.3, 0.6)
"""Shares of the rows at which it is killed."""
READERS = (1, 2, 4)
LOOK, SETTLED = 0.5, 5.0
UNITS = {
    "first_rows_per_s": "1/s",
    "resumed_rows_per_s": "1/s",
    "cpu_us_per_row": "µs",
    "rss_mb": "MB",
    "rss_resumed_mb": "MB",
    "read_twice": "",
}


def run(*, scale: float, only: str) -> Report:
    """Run it with each number of readers, on the same table."""
    rows = int(ROWS * scale)
    report = Report("snapshot", f"A snapshot of {rows:,} rows, killed twice")
    with servers(postgres=True) as at:
        shop.make(at.postgres, rows)
        for readers in READERS:
            name = f"{readers} reader{'s' * (readers > 1)}"
            if only not in name:
                continue
            try:
                report.add(name, UNITS, **_measure(at, rows, readers))
            except FAILURES as problem:
                report.skip(name, "first_rows_per_s", problem)
            shop.forget_readers(at.postgres)
            at.topics.remove(lambda topic: topic.startswith("cdcbench"))
            at.topics.remove_groups(lambda group: group.startswith("cdcbench"))
    return report


def _measure(at: Servers, rows: int, readers: int) -> dict[str, float]:
    at.topics.create([TOPIC], partitions=1)
    log = at.logs / f"snapshot-{readers}.log"
    environment = at.environment(DSN=at.postgres, READERS=str(readers))
    rates, cpu, peaks = [], 0.0, []
    for share in (*KILLS, 1.0):
        begin = at.topics.ends([TOPIC]) or 0
        with (
            Program(trunkline("cdc", "--only", "source"), log, environment) as program,
            Meter(system=program.pid) as meter,
        ):
            first, last, count = _until(at, program, begin, int(share * rows))
            rates.append(count / (last - first))
            cpu += meter.cpu("system", first, last) / count
            peaks.append(meter.peak_mb("system", first, last))
            if share < 1:
                os.killpg(program.pid, signal.SIGKILL)
            else:
                settled(at, TOPIC)
    return {
        "first_rows_per_s": rates[0],
        "resumed_rows_per_s": rates[-1],
        "cpu_us_per_row": cpu / len(rates) * 1e6,
        "rss_mb": peaks[0],
        "rss_resumed_mb": max(peaks[1:]),
        "read_twice": repeats(at, TOPIC, rows),
    }


def _until(at: Servers, program: Program, begin: int, end: int) -> tuple[float, float, int]:
    """Waits until the topic has so many records; when the first new ones came, when the last, and
    how many they were."""
    first, deadline, found = 0.0, time.monotonic() + 120 + (end - begin) / 2_000, begin
    while found < end:
        program.alive()
        time.sleep(LOOK)
        now = at.topics.ends([TOPIC]) or 0
        if now > begin and not first:
            first, begin = time.time(), now
        found = now
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{found:,} of {end:,} rows")
    print(f"  {found:,} records", file=sys.stderr)
    return first, max(time.time(), first + LOOK), max(found - begin, 1)


def settled(at: Servers, topic: str) -> None:
    """Returns when nothing comes any more: what ends transactions is counted with the records."""
    before = -1
    while (now := at.topics.ends([topic]) or 0) != before:
        before = now
        time.sleep(SETTLED)


def repeats(at: Servers, topic: str, rows: int) -> int:
    """How many records there are of rows that have come before. Raises if a row is missing."""
    seen, count, ended = bytearray(rows + 1), 0, False
    reader = at.topics.reader([topic])
    try:
        while not ended:
            for message in reader.consume(10_000, timeout=1.0):
                if (error := message.error()) is None:
                    seen[int(message.key() or b"0")] = 1
                    count += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended = True
    finally:
        reader.close()
    if (missing := rows - sum(seen)) > 0:
        raise BenchmarkError(f"{missing:,} of {rows:,} rows are missing")
    return count - rows
