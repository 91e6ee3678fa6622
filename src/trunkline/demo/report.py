"""The proof as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from trunkline.demo import expect
from trunkline.demo.corrections import Answers
from trunkline.demo.play import Play
from trunkline.demo.proof import Arrival, Verdict, judge_messages, judge_table, percentile

_NUMBERS = ("expected", "delivered", "duplicates", "out_of_order", "missing", "unexpected")
_HEADINGS = (
    "expected", "delivered", "dupli-\ncates", "out of\norder", "missing", "unex-\npected",
    "p50\nms", "p99\nms",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The verdict on each destination, and how fast it went."""

    verdicts: Sequence[Verdict]
    changes: int
    notices: int
    rows_per_second: float
    changes_per_second: float
    refused: int
    """Requests that came to operations while they were out of service."""
    desk: Answers
    """What the gateway has answered to the desk."""
    steady: tuple[float, float]
    """Between these moments the latency is taken: in the rush it is the length of the queue."""

    @property
    def ok(self) -> bool:
        """Nothing is missing, out of order or unexpected, and every call has ended well."""
        calls_ended = self.desk.succeeded == self.desk.accepted
        return calls_ended and all(verdict.ok for verdict in self.verdicts)

    def latency(self, verdict: Verdict) -> dict[str, float | None]:
        """Milliseconds from the commit (a notice: from its request) to the arrival."""
        first, last = self.steady
        delays = [1000 * delay for since, delay in verdict.delays if first <= since < last]
        found = {f"p{share:.0%}".rstrip("%"): percentile(delays, share) for share in (0.5, 0.99)}
        return {name: value and round(value, 1) for name, value in found.items()}

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "ok": self.ok,
            "changes": self.changes,
            "notices": self.notices,
            "destinations": [
                {
                    "name": verdict.name,
                    **{name: getattr(verdict, name) for name in _NUMBERS},
                    "latency_ms": self.latency(verdict),
                }
                for verdict in self.verdicts
            ],
            "outage": {"requests_refused": self.refused},
            "desk": asdict(self.desk),
            "throughput": {
                "snapshot_rows_per_s": round(self.rows_per_second),
                "rush_changes_per_s": round(self.changes_per_second),
            },
        }

    def as_table(self) -> Table:
        """For people."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))  # 80 columns
        table.add_column("destination", no_wrap=True)
        for heading in _HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for verdict in self.verdicts:
            table.add_row(*_cells(verdict, self.latency(verdict)))
        return table


def report(play: Play) -> Report:
    """Compare what came with what the airport did; the workers have ended."""
    scene, history = play.scene, play.history
    writes = [Arrival(id, expect.written(row), at) for id, at, row in scene.mart.writes()]
    source, table = scene.source.rows(), scene.mart.rows()
    came = scene.operations.arrivals()
    alerts = _came((one for one in came if not expect.is_correction(one[2])), "flight_id")
    corrections = _came((one for one in came if expect.is_correction(one[2])), "flight_id")
    verdicts = (
        judge_messages("operations", expect.alerts(history), alerts),
        judge_messages("desk", expect.corrections(history), corrections),
        judge_table("mart", expect.rows(history), writes, source, table),
        judge_messages("board", expect.entries(history), _came(scene.board.arrivals(), "id")),
    )
    moments = [write.moment for write in writes]
    return Report(
        verdicts=verdicts,
        changes=history.changes,
        notices=len(history.notices),
        rows_per_second=_rate(len(play.script.rows), moments[: len(play.script.rows)]),
        refused=scene.operations.refused(),
        desk=play.answers,
        changes_per_second=_rate(len(play.script.rush), [play.times.rush, *moments[-1:]]),
        steady=(play.times.steady, play.times.rush),
    )


def _came(arrivals: Iterable[tuple[float, str, dict[str, Any]]], key: str) -> Iterable[Arrival]:
    return (
        Arrival(str(body.get(key)), expect.content(body), moment) for moment, _, body in arrivals
    )


def _rate(count: int, moments: Sequence[float]) -> float:
    """Per second, between the first and the last moment."""
    passed = moments[-1] - moments[0] if moments else 0.0
    return count / passed if passed > 0 else 0.0


def _cells(verdict: Verdict, latency: dict[str, float | None]) -> list[str]:
    mark = "[green]✓[/]" if verdict.ok else "[bold red]✗[/]"
    numbers = [_number(name, getattr(verdict, name)) for name in _NUMBERS]
    times = ["–" if value is None else f"{value:,.0f}" for value in latency.values()]
    return [f"{mark} {verdict.name}", *numbers, *times]


def _number(name: str, count: int) -> str:
    bad = count and name in ("out_of_order", "missing", "unexpected")
    return f"[bold red]{count:,}[/]" if bad else f"{count:,}"
