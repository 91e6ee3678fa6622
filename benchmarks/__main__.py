"""``python -m benchmarks [JOB] [--quick] [--only SYSTEM]``: run, write results and the README."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module

from benchmarks import report
from trunkline.errors import TrunklineError

QUICK = 0.04
JOBS = (
    *("route", "cdc", "files", "latency", "deliver", "retry", "tables", "flows", "traces"),
    "gateway",
)
MODULES = {"flows": "many"}  # where its name is another: benchmarks/flows/ has the flows of jobs
LONG = ("recovery", "snapshot")
"""Half an hour each: they run only when they are named."""


def main() -> int:
    options = _options()
    complete = options.save or (options.scale == 1 and not options.only)
    for job in [options.job] if options.job else JOBS:
        print(f"{job}, {options.scale:g} of its full size", file=sys.stderr)
        machine = report.machine()
        found = import_module(f"benchmarks.{MODULES.get(job, job)}").run(
            scale=options.scale, only=options.only
        )
        found.about |= machine
        print(f"\n{found.title}\n\n{report.table(found)}\n")
        if complete:
            print(f"written to {found.save()}")
    if complete and not report.write_readme():
        print(f"the README has no {report.START} … {report.END}: no table written", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "job",
        nargs="?",
        choices=JOBS + LONG,
        help="one job; without it all but the long ones",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", type=float, default=1.0, help="share of the full number of events")
    quick = {"action": "store_const", "dest": "scale", "const": QUICK}
    size.add_argument("--quick", **quick, help="few events: does everything run?")
    parser.add_argument("--save", action="store_true", help="write what is not complete, too")
    parser.add_argument("--only", default="", help="systems whose name contains this")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that nothing stays behind
    try:
        sys.exit(main())
    except TrunklineError as error:
        sys.exit(f"error: {error}")
