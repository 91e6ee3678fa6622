"""What traces cost routing: off, on with none or 1 % of the events sampled, and with 1 % while the
collector is away. Each beside a run without traces, in turns; the share of its rate counts.

It is decided at the source whether an event is sampled, so the input says so in its headers.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from dataclasses import replace

from benchmarks.errors import FAILURES
from benchmarks.report import Report
from benchmarks.route import EVENTS, INPUT, PARTITIONS, UNITS, Figures, measured, messages, ours
from benchmarks.servers import Servers, servers
from benchmarks.system import Program
from trunkline.local.ports import free_port

ROUNDS = 5
OFF = "off"
SHOWN = {**UNITS, "share_of_off": "%", "mb_more_than_off": "MB"}


def run(*, scale: float, only: str) -> Report:
    """Two inputs one after the other, as one topic holds one of them."""
    count, rounds = int(EVENTS * scale), ROUNDS if scale > 0.1 else 1
    report = Report("traces", f"Traces: routing {count:,} Avro events, one worker")
    port = free_port()
    collector = [sys.executable, "-m", "benchmarks.receiver", str(port)]
    here, away = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    cases = {0: {"0 % sampled": here}, 100: {"1 % sampled": here, "1 %, no collector": away}}
    with servers() as at, Program(collector, at.logs / "collector.log", at.environment()):
        for one_in, systems in cases.items():
            chosen = {name: url for name, url in systems.items() if only in name}
            if not chosen:
                continue
            at.topics.remove(lambda name: name == INPUT)
            at.topics.create([INPUT], PARTITIONS)
            at.topics.fill(INPUT, messages(count, at.registry, one_in=one_in))
            _compare(chosen, at, count, rounds, report)
    return report


def _compare(
    systems: Mapping[str, str], at: Servers, count: int, rounds: int, report: Report
) -> None:
    """In rounds, forth and back, so that what changes with time meets all of them."""
    found: dict[str, list[Figures]] = {}
    for number in range(rounds):
        names = [OFF, *systems]
        for name in names if number % 2 == 0 else reversed(names):
            traces = {"TRUNKLINE_TRACES": systems[name]} if name != OFF else {}
            system = replace(ours(name, 1), environment=traces)
            try:
                figures = measured(system, at, count)
            except FAILURES as problem:
                report.skip(name, "events_per_s", problem)
                return
            found.setdefault(name, []).append(figures)
            print(f"{name:24} {figures['events_per_s']:9,.0f} events/s", file=sys.stderr)
    for name in systems:
        runs = list(zip(found[name], found[OFF], strict=True))
        shares = [100 * on["events_per_s"] / off["events_per_s"] for on, off in runs]
        more = [on["rss_mb"] - off["rss_mb"] for on, off in runs]
        report.add(
            name,
            SHOWN,
            events_per_s=statistics.median(on["events_per_s"] for on, _ in runs),
            cpu_us_per_event=statistics.median(on["cpu_us_per_event"] for on, _ in runs),
            share_of_off=statistics.median(shares),
            mb_more_than_off=statistics.median(more),
        )
        report.runs[name] = found[name]
