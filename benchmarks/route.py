"""Job 1, route: decode, route by type to 1-2 of 3 destinations, transform, encode, produce.

All input lies in the topic before a system starts. Time runs from the first output to the last by
the broker's clock; CPU is the system's between these two moments.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks import environments
from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.measure import Meter
from benchmarks.orders import SCHEMAS, Order, expected_outputs, orders
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline
from benchmarks.system import Program
from benchmarks.topics import Message, Output
from trunkline.event import Record, event_headers
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import Registry

INPUT = "bench.orders"
PARTITIONS = 4
EVENTS = 300_000
UNITS = {
    "events_per_s": "1/s",
    "steady_events_per_s": "1/s",
    "cpu_us_per_event": "µs",
    "broker_cpu_us_per_event": "µs",
    "broker_share": "% of all cores",
    "rss_mb": "MB",
    "others_cores": "cores",
}
STEADY = (0.2, 0.9)
"""The part of the outputs that is steady work: all workers are there, and none is out of input."""
Figures = dict[str, float]


@dataclass(frozen=True)
class System:
    """A system of this job. ``owner``: what the names of its topics and groups begin with.
    ``slowness``: seconds that a thousand events may take; ``environment``: more of its variables.
    """

    name: str
    owner: str
    command: Callable[[], list[str]]
    outputs: tuple[str, ...]
    rounds: int = 1
    slowness: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)


def peer(name: str, owner: str, command: Callable[[], list[str]], **more: object) -> System:
    outputs = tuple(f"{owner}.{output}" for output in ("warehouse", "billing", "crm"))
    return System(name, owner, command, outputs, **more)  # type: ignore[arg-type]


def ours(name: str, workers: int) -> System:
    outputs = tuple(f"routebench.{output}.inbox" for output in ("warehouse", "billing", "crm"))
    options = ("--only", "route", "--workers", str(workers))
    return System(name, "routebench", lambda: trunkline("route", *options), outputs, rounds=3)


def script(name: str, interpreter: str, *arguments: str) -> list[str]:
    return [interpreter, str(environments.PEERS / name), *arguments]


SYSTEMS = (
    peer(
        "confluent-kafka loop",
        "confluent",
        lambda: script("route_confluent.py", sys.executable),
        rounds=3,
    ),
    ours("trunkline", 1),
    ours("trunkline, 2 workers", 2),
    peer(
        "Quix Streams",
        "quix",
        lambda: script("route_quix.py", environments.python("quix")),
    ),
    peer(
        "Faust",
        "faust",
        lambda: script("route_faust.py", environments.python("faust"), "worker"),
    ),
    peer("Kafka Streams", "streams", environments.streams_command),
)


def run(*, scale: float, only: str) -> Report:
    """Run the systems, in rounds, so that a change of the machine's load meets all of them."""
    count = int(EVENTS * scale)
    report = Report("route", f"Route: {count:,} Avro events, {PARTITIONS} partitions")
    chosen = [system for system in SYSTEMS if only in system.name]
    with servers() as at:
        at.topics.create([INPUT], PARTITIONS)
        at.topics.fill(INPUT, messages(count, at.registry))
        found = _rounds(chosen, at, count, report, 3 if scale == 1 else 1)
    for name, runs in found.items():
        report.add(name, UNITS, **_median(runs))
        report.runs[name] = runs
    return report


def _rounds(
    systems: list[System], at: Servers, count: int, report: Report, rounds: int
) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {}
    for number in range(rounds):
        for system in systems:
            if number >= system.rounds:
                continue
            try:
                figures = measured(system, at, count)
            except FAILURES as problem:
                report.skip(system.name, "events_per_s", problem)
                continue
            found.setdefault(system.name, []).append(figures)
            print(f"{system.name:24} {figures['events_per_s']:9,.0f} events/s", file=sys.stderr)
    return found


def measured(system: System, at: Servers, count: int) -> Figures:
    """Run a system over the input. Raises BenchmarkError."""
    command = system.command()
    at.topics.remove_groups(lambda name: system.owner in name)
    at.topics.remove(lambda name: name.startswith(f"{system.owner}."))
    at.topics.create(system.outputs, PARTITIONS)
    expected = expected_outputs(count)
    log = at.logs / f"route-{system.owner}.log"
    state = str(at.logs / "state")
    environment = at.environment(FAUST_DATADIR=state, STATE=state, SCHEMAS=str(SCHEMAS))
    environment |= system.environment
    with Program(command, log, environment) as program:
        with Meter(system=program.pid, **at.pids) as meter:
            limit = 120 + system.slowness * count / 1000
            output = at.topics.wait_for(system.outputs, expected, program.alive, limit)
        if output.count != expected:
            raise BenchmarkError(f"{output.count:,} outputs, and not {expected:,}")
    return _figures(output, meter, count)


def _figures(output: Output, meter: Meter, count: int) -> Figures:
    system = meter.cpu("system", output.first, output.last)
    broker = meter.cpu("kafka", output.first, output.last)
    return {
        "events_per_s": count / output.seconds,
        "steady_events_per_s": count * (STEADY[1] - STEADY[0]) / output.seconds_between(*STEADY),
        "cpu_us_per_event": system / count * 1e6,
        "broker_cpu_us_per_event": broker / count * 1e6,
        "broker_share": 100 * broker / output.seconds / (os.cpu_count() or 1),
        "others_cores": meter.others(output.first, output.last) / output.seconds,
        "rss_mb": meter.peak_mb("system", output.first, output.last),
    }


def _median(runs: list[Figures]) -> Figures:
    return {metric: statistics.median(run[metric] for run in runs) for metric in runs[0]}


def messages(count: int, registry: str, *, one_in: int = 0) -> Iterator[Message]:
    """The input as Trunkline's sources publish it: Avro under the registry, canonical headers.
    ``one_in``: one event in so many is sampled; 0: none."""
    with Registry(registry) as client:
        encode = Codec(client).encoder(Order, f"{INPUT}-value", register=True)
        for number, (kind, order) in enumerate(orders(count)):
            record = Record(key=order["id"], data={}, stream="shop.orders", time=order["placed_at"])
            sampled = bool(one_in) and number % one_in == 0
            record.traceparent = f"00-{number + 1:032x}-{number + 1:016x}-0{sampled:d}"
            headers = event_headers(record, source="/bench/shop", type=kind)
            yield order["id"], encode(order), headers
