"""Results: a JSON file a job, and the README's table made of all files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.system import ROOT

RESULTS = Path(__file__).with_name("results")
README = ROOT / "README.md"
START, END = "<!-- bench:start -->", "<!-- bench:end -->"


@dataclass(frozen=True)
class Row:
    """One figure of one system. ``value`` is None where there is none; ``note`` says why."""

    system: str
    metric: str
    value: float | None
    unit: str
    note: str = ""


@dataclass
class Report:
    """What a job found. ``about``: what the figures are to be read with, as the machine's load;
    ``runs``: every single run behind the rows."""

    job: str
    title: str
    about: dict[str, object] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    runs: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(self, system: str, unit_of: dict[str, str], **values: float) -> None:
        """Add a system's figures; ``unit_of`` has the units by metric."""
        for metric, value in values.items():
            self.rows.append(Row(system, metric, round(value, 3), unit_of[metric]))

    def skip(self, system: str, metric: str, why: Exception) -> None:
        """Show that a system did not run, and why."""
        print(f"{system}: {why}", file=sys.stderr)
        self.rows.append(Row(system, metric, None, "", str(why).splitlines()[0]))

    def save(self) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.job}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path


def load(path: Path) -> Report:
    found = json.loads(path.read_text("utf-8"))
    return Report(**{**found, "rows": [Row(**row) for row in found["rows"]]})


def table(report: Report) -> str:
    """A Markdown table: a line a system, a column a metric."""
    metrics = list(dict.fromkeys(row.metric for row in report.rows if row.value is not None))
    cells = {(row.system, row.metric): row for row in report.rows}
    systems = dict.fromkeys(row.system for row in report.rows)
    units = {row.metric: row.unit for row in report.rows if row.value is not None}
    head = ["system", *(_words(m) + f" ({units[m]})" * bool(units[m]) for m in metrics)]
    lines = [head, ["---", *["---:"] * len(metrics)]]
    lines += [[system, *(_cell(cells.get((system, m))) for m in metrics)] for system in systems]
    notes = [f"- {row.system}: {row.note}" for row in report.rows if row.note]
    return "\n".join([_line(line) for line in lines] + (["", *notes] if notes else []))


def write_readme() -> bool:
    """Put the tables of all results between the README's markers; False if it has none."""
    text = README.read_text("utf-8")
    if START not in text or END not in text:
        return False
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    README.write_text(f"{before}{START}\n{_all(RESULTS.glob('*.json'))}\n{END}{after}", "utf-8")
    return True


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}


def _all(files: Iterable[Path]) -> str:
    parts = []
    for path in sorted(files):
        report = load(path)
        about = ", ".join(f"{_words(name)} {value}" for name, value in report.about.items())
        parts.append(f"**{report.title}** ({about})\n\n{table(report)}")
    return "\n\n".join(parts)


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return "–"
    digits = 0 if row.value >= 100 else 1 if row.value >= 10 else 2
    return f"{row.value:,.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _words(name: str) -> str:
    return name.replace("_", " ")
