"""Job tables: a million customers are read into a table, in memory and on disk; a worker starts
again; and orders that look up two of them each are routed, beside the same without a table.

The start is timed from outside, from the process's start until ``/readyz`` answers 200; that of a
worker without a table is shown beside.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.customers import Customer, customers
from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.measure import Meter
from benchmarks.orders import Order, orders
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline
from benchmarks.system import Program
from benchmarks.topics import Message
from trunkline.event import Record, event_headers
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import Registry

PARTITIONS = 4
CUSTOMERS, ORDERS = 1_000_000, 200_000
KINDS = {"": "no table", "memory": "table in memory", "disk": "table on disk"}
PATIENCE = 300
ROUNDS = 3
UNITS = {
    "first_start_s": "s",
    "restart_s": "s",
    "rss_mb": "MB",
    "events_per_s": "1/s",
    "cpu_us_per_event": "µs",
    "others_cores": "cores",
}
Figures = dict[str, float]


@dataclass(frozen=True)
class Worker:
    """A worker of the job's flow. ``kind``: where its table is."""

    kind: str
    at: Servers
    data: Path

    def start(self) -> tuple[Program, str]:
        """The program, and the address of its health pages."""
        command = trunkline("tables", "--only", "route")
        log = self.at.logs / f"tables-{self.kind or 'none'}.log"
        environment = self.at.environment(TABLE=self.kind, TRUNKLINE_DATA=str(self.data))
        port = command[command.index("--port") + 1]
        return Program(command, log, environment), f"http://127.0.0.1:{port}/readyz"


def run(*, scale: float, only: str) -> Report:
    """Fill the table's topic, and run the kinds in turns."""
    rows, count = int(CUSTOMERS * scale), int(ORDERS * scale)
    report = Report("tables", f"Tables: {rows:,} rows; {count:,} orders, two look-ups each")
    with servers() as at:
        at.topics.create(["bench.customers"], PARTITIONS)
        at.topics.fill("bench.customers", _customers(rows, at.registry))
        for name, runs in _rounds(at, rows, count, only, report).items():
            report.add(name, UNITS, **_median(runs))
            report.runs[name] = runs
    return report


def _rounds(
    at: Servers, rows: int, count: int, only: str, report: Report
) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {}
    for _ in range(ROUNDS):
        for kind, name in KINDS.items():
            if only not in name:
                continue
            try:
                figures = _measure(kind, at, rows, count)
            except FAILURES as problem:
                report.skip(name, "events_per_s", problem)
                continue
            found.setdefault(name, []).append(figures)
            shown = ", ".join(f"{metric} {value:,.1f}" for metric, value in figures.items())
            print(f"{name:16} {shown}", file=sys.stderr)
    return found


def _measure(kind: str, at: Servers, rows: int, count: int) -> Figures:
    """Start it with nothing to route, start it again, and a third time with all orders waiting."""
    owner = f"tablebench-{kind or 'none'}"
    inbox = f"{owner}.crm.inbox"
    at.topics.remove_groups(lambda name: owner in name)
    at.topics.remove(lambda name: name.startswith(f"{owner}."))
    at.topics.create([inbox, "bench.orders"], PARTITIONS)
    data = at.logs / f"data-{owner}"
    shutil.rmtree(data, ignore_errors=True)
    worker = Worker(kind, at, data)
    first = _started_in(worker)
    restart = _started_in(worker)
    at.topics.fill("bench.orders", _orders(count, rows, at.registry))
    program, _ = worker.start()
    with program, Meter(system=program.pid, **at.pids) as meter:
        output = at.topics.wait_for([inbox], count, program.alive, PATIENCE)
    shutil.rmtree(data, ignore_errors=True)
    if output.count != count:
        raise BenchmarkError(f"{output.count:,} outputs, and not {count:,}")
    return {
        "first_start_s": first,
        "restart_s": restart,
        "rss_mb": meter.peak_mb("system", output.first, output.last),
        "events_per_s": count / output.seconds,
        "cpu_us_per_event": meter.cpu("system", output.first, output.last) / count * 1e6,
        "others_cores": meter.others(output.first, output.last) / output.seconds,
    }


def _started_in(worker: Worker) -> float:
    program, page = worker.start()
    with program:
        return _until_ready(program, page)


def _until_ready(program: Program, page: str) -> float:
    """Seconds until the worker is ready."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE:
        program.alive()
        try:
            if httpx.get(page).status_code == 200:
                return time.monotonic() - began
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise BenchmarkError(f"not ready in {PATIENCE} s; see {program.log}")


def _median(runs: list[Figures]) -> Figures:
    return {metric: statistics.median(run[metric] for run in runs) for metric in runs[0]}


def _customers(count: int, registry: str) -> Iterator[Message]:
    with Registry(registry) as client:
        encode = Codec(client).encoder(Customer, "bench.customers-value", register=True)
        for customer in customers(count):
            yield customer["id"], encode(customer), []


def _orders(count: int, rows: int, registry: str) -> Iterator[Message]:
    """Orders of all customers alike: hardly one is looked up twice."""
    with Registry(registry) as client:
        encode = Codec(client).encoder(Order, "bench.orders-value", register=True)
        for number, (kind, order) in enumerate(orders(count)):
            order["customer"] = f"cus-{number * 104_729 % rows:06}"
            record = Record(key=order["id"], data={}, stream="shop.orders", time=order["placed_at"])
            headers = event_headers(record, source="/bench/shop", type=kind)
            yield order["id"], encode(order), headers
