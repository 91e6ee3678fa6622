"""Files: rows a second of each format, from the file to the canonical topic; and a large file, in
whose middle the worker is killed.

Each format's file has the same rows. It is put into the folder before the worker starts, so that
time runs from the first record in the topic to the last one.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.measure import Meter
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline
from benchmarks.snapshot import repeats, settled
from benchmarks.system import Program

ROWS = 500_000
LARGE = 5_000_000_000
"""Bytes of the large file."""
ROW = 5_000
"""Bytes of a row of it, about."""
KILLED_AT = 0.5
TOPIC, LARGE_TOPIC = "filebench.orders", "largefile.orders"
FORMS = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}
UNITS = {
    "rows_per_s": "1/s",
    "cpu_us_per_row": "µs",
    "others_cores": "cores",
    "rss_mb": "MB",
    "resumed_after_s": "s",
    "read_twice": "",
}


def run(*, scale: float, only: str) -> Report:
    """Run each format, then the large file."""
    rows, size = int(ROWS * scale), int(LARGE * scale)
    report = Report("files", f"Files: {rows:,} rows of each format, and one of {size / 1e9:g} GB")
    home = Path(tempfile.mkdtemp(prefix="trunkline-files-"))
    try:
        with servers() as at:
            for form, name in FORMS.items():
                if only in name:
                    _tried(report, name, lambda form=form: _format(at, home / form, form, rows))
            if only in (name := f"CSV of {size / 1e9:g} GB, killed"):
                _tried(report, name, lambda: _large(at, home / "large", size))
    finally:
        shutil.rmtree(home)
    return report


def _tried(report: Report, name: str, measure: Any) -> None:
    try:
        report.add(name, UNITS, **measure())
    except FAILURES as problem:
        report.skip(name, "rows_per_s", problem)


def _format(at: Servers, folder: Path, form: str, rows: int) -> dict[str, float]:
    folder.mkdir()
    WRITERS[form](folder / f"orders.{form}", rows)
    at.topics.create([TOPIC], partitions=1)
    environment = at.environment(FOLDER=str(folder), FORM=form)
    log = at.logs / f"files-{form}.log"
    with (
        Program(trunkline("files", "--only", "source"), log, environment) as program,
        Meter(system=program.pid, **at.pids) as meter,
    ):
        output = at.topics.wait_for([TOPIC], rows, program.alive, 120 + rows / 2_000)
        if output.count != rows:
            raise BenchmarkError(f"{output.count:,} records, and not {rows:,}")
        print(f"  {form}: {rows / output.seconds:,.0f} rows/s", file=sys.stderr)
        figures = {
            "rows_per_s": rows / output.seconds,
            "cpu_us_per_row": meter.cpu("system", output.first, output.last) / rows * 1e6,
            "others_cores": meter.others(output.first, output.last) / output.seconds,
            "rss_mb": meter.peak_mb("system", output.first, output.last),
        }
    _forget(at, "filebench")
    return figures


def _large(at: Servers, folder: Path, size: int) -> dict[str, float]:
    """Reads the file with a worker that is killed when half of it is in the topic; the next one
    begins when Kafka has given it the source, and to read it anew would take it a minute."""
    folder.mkdir()
    rows = _write_large(folder / "orders.csv", size)
    at.topics.create([LARGE_TOPIC], partitions=1)
    log, environment = at.logs / "files-large.log", at.environment(FOLDER=str(folder))
    rates, peaks, cpu, after = [], [], 0.0, 0.0
    for share in (KILLED_AT, 1.0):
        begin, started = at.topics.ends([LARGE_TOPIC]) or 0, time.time()
        with (
            Program(trunkline("large_file", "--only", "source"), log, environment) as program,
            Meter(system=program.pid) as meter,
        ):
            first, last, count = _until(at, program, begin, int(share * rows))
            after = first - started
            rates.append(count / (last - first))
            cpu += meter.cpu("system", first, last) / count
            peaks.append(meter.peak_mb("system", started, last))
            if share < 1:
                os.killpg(program.pid, signal.SIGKILL)
            else:
                settled(at, LARGE_TOPIC)
    figures = {
        "rows_per_s": min(rates),
        "cpu_us_per_row": cpu / len(rates) * 1e6,
        "rss_mb": max(peaks),
        "resumed_after_s": after,
        "read_twice": repeats(at, LARGE_TOPIC, rows),
    }
    _forget(at, "largefile")
    return figures


def _until(at: Servers, program: Program, begin: int, end: int) -> tuple[float, float, int]:
    first, found, deadline = 0.0, begin, time.monotonic() + 180 + (end - begin) / 1_000
    while found < end:
        program.alive()
        time.sleep(0.2)
        now = at.topics.ends([LARGE_TOPIC]) or 0
        if now > begin and not first:
            first, begin = time.time(), now
        found = now
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{found:,} of {end:,} rows")
    return first, max(time.time(), first + 0.2), max(found - begin, 1)


def _forget(at: Servers, owner: str) -> None:
    at.topics.remove(lambda topic: topic.startswith(owner))
    at.topics.remove_groups(lambda group: group.startswith(owner))


def _rows(count: int) -> Iterator[dict[str, Any]]:
    """The rows of the CDC jobs' table."""
    begin = datetime(2026, 11, 30, tzinfo=UTC)
    for number in range(1, count + 1):
        yield {
            "id": number,
            "status": "placed",
            "customer": f"cus-{number % 50000:06}",
            "total_cents": number * 37 % 100000,
            "note": None if number % 4 else "leave it at the door",
            "updated_at": begin + timedelta(milliseconds=number),
        }


def _write_csv(path: Path, rows: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, next(_rows(1)))
        writer.writeheader()
        writer.writerows(_rows(rows))


def _write_jsonl(path: Path, rows: int) -> None:
    with path.open("w") as file:
        for row in _rows(rows):
            file.write(json.dumps({**row, "updated_at": row["updated_at"].isoformat()}) + "\n")


def _write_parquet(path: Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(_rows(rows))), path, row_group_size=100_000)


WRITERS = {"csv": _write_csv, "jsonl": _write_jsonl, "parquet": _write_parquet}


def _write_large(path: Path, size: int) -> int:
    """Write a file of so many bytes; how many rows it has."""
    note = ("leave it at the door, " * (ROW // 22)).encode()
    rows = max(10, size // (len(note) + 30))
    with path.open("wb") as file:
        file.write(b"id,customer,note\n")
        for number in range(1, rows + 1):
            file.write(b'%d,cus-%06d,"%b"\n' % (number, number % 50000, note))
    return rows
