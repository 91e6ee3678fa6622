"""Job flows: fifty small flows in one process, beside processes of one flow each.

Of the latter five run, and memory, CPU and threads are ten times theirs; they are started one after
the other, and ten times that is what two cores would take for fifty.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.errors import FAILURES, BenchmarkError
from benchmarks.report import Report
from benchmarks.servers import Servers, servers
from benchmarks.system import ROOT, Program
from trunkline.local.ports import free_port

FLOWS, ALONE = 50, 5
ROUNDS = 3
PATIENCE = 300
SETTLE, IDLE = 15.0, 30.0
"""Seconds until nothing of the start is under way, and over which the CPU is measured then."""
UNITS = {
    "first_start_s": "s",
    "start_s": "s",
    "rss_mb": "MB",
    "idle_cpu_percent": "% of a core",
    "threads": "",
    "connections": "",
}
Figures = dict[str, float]


def run(*, scale: float, only: str) -> Report:
    """Start both ways in turns; the first start of a round makes the topics."""
    count = max(2, round(FLOWS * scale))
    alone = max(1, round(ALONE * scale))
    together, apart = f"{count} flows, one process", f"{count} processes (of {alone}, extrapolated)"
    report = Report("flows", f"Flows: {count} small ones, idle")
    with servers() as at, _files(count) as files:
        groups = {together: [files], apart: [[file] for file in files[:alone]]}
        for name, systems in groups.items():
            if only not in name:
                continue
            try:
                runs = [_measure(systems, at) for _ in range(ROUNDS)]
            except FAILURES as problem:
                report.skip(name, "start_s", problem)
                continue
            factor = count / sum(map(len, systems))
            found = [{k: v * factor for k, v in figures.items()} for figures in runs]
            # The first round has made the topics, unless the other system has.
            first = {"first_start_s": found[0]["start_s"]} if name == together else {}
            report.add(name, UNITS, **first, **_median(found))
            report.runs[name] = found
    return report


def _measure(systems: list[list[Path]], at: Servers) -> Figures:
    with ExitStack() as running:
        start, programs = 0.0, []
        for number, files in enumerate(systems):
            port = free_port()
            command = [sys.executable, "-m", "trunkline.cli", "run", *map(str, files)]
            log = at.logs / f"flows-{len(systems)}-{number}.log"
            began = time.monotonic()
            program = Program([*command, "--port", str(port)], log, at.environment())
            programs.append(psutil.Process(running.enter_context(program).pid))
            _until_ready(program, f"http://127.0.0.1:{port}/readyz")
            start += time.monotonic() - began
        time.sleep(SETTLE)
        before, since = _cpu(programs), time.monotonic()
        time.sleep(IDLE)
        figures = {
            "start_s": start,
            "rss_mb": sum(p.memory_info().rss for p in programs) / 2**20,
            "idle_cpu_percent": (_cpu(programs) - before) / (time.monotonic() - since) * 100,
            "threads": float(sum(p.num_threads() for p in programs)),
            "connections": float(sum(len(p.net_connections()) for p in programs)),
        }
    shown = ", ".join(f"{metric} {value:,.1f}" for metric, value in figures.items())
    print(f"{len(systems):3} processes: {shown}", file=sys.stderr)
    return figures


def _cpu(programs: list[psutil.Process]) -> float:
    times = [program.cpu_times() for program in programs]
    return sum(each.user + each.system for each in times)


def _until_ready(program: Program, page: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        program.alive()
        try:
            if httpx.get(page).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise BenchmarkError(f"not ready in {PATIENCE} s; see {program.log}")


def _median(runs: list[Figures]) -> Figures:
    return {metric: statistics.median(run[metric] for run in runs) for metric in runs[0]}


@contextmanager
def _files(count: int) -> Iterator[list[Path]]:
    """Flow files like ``benchmarks/flows/small.py``, each with a name of its own."""
    text = (ROOT / "benchmarks" / "flows" / "small.py").read_text("utf-8")
    folder = Path(tempfile.mkdtemp(prefix="trunkline-flows-"))
    try:
        files = [folder / f"small_{number:02}.py" for number in range(count)]
        for number, file in enumerate(files):
            file.write_text(text.replace("small-00", f"small-{number:02}"), "utf-8")
        yield files
    finally:
        shutil.rmtree(folder)
