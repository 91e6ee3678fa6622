"""What is seen while the demo runs: at a terminal a live table, elsewhere plain lines."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

_NAMES = {
    "airport": "airport system: changes and notices",
    "operations": "operations API: delays of more than an hour",
    "mart": "data mart: rows written and deleted",
    "board": "display board: cancellations and notices",
}
_LIVE_SECONDS, _PLAIN_SECONDS = 0.5, 5.0
_WINDOW = 8
"""Looks over which a rate is taken."""


@dataclass(frozen=True)
class Counts:
    """What the airport has done, and what has come to each destination, so far."""

    airport: int = 0
    operations: int = 0
    mart: int = 0
    board: int = 0


class Screen:
    """Shows stages and counts; a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._looks: deque[tuple[float, Counts]] = deque(maxlen=_WINDOW)
        self._begin = self._shown = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def stage(self, text: str) -> None:
        """A new stage begins."""
        seconds = time.monotonic() - self._begin
        self.console.print(f"{seconds:5.0f} s  {text}", markup=False, highlight=False)

    def is_due(self) -> bool:
        """Whether counts may be shown again: often enough to see it move, and no oftener."""
        return not self._looks or time.monotonic() - self._looks[-1][0] >= _LIVE_SECONDS

    def show(self, counts: Counts) -> Counts:
        """Show these counts, and return them. The table appears with the first ones: before, the
        stack may show its downloads."""
        self._looks.append((time.monotonic(), counts))
        if self._live:
            self._live.start()
            self._live.update(self._table(counts), refresh=True)
        elif time.monotonic() - self._shown >= _PLAIN_SECONDS:
            self._shown = time.monotonic()
            numbers = "  ".join(f"{name} {count:,}" for name, count in asdict(counts).items())
            self.stage(f"  {numbers}")
        return counts

    def _table(self, counts: Counts) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for heading in ("", "so far", "per second"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for name, count in asdict(counts).items():
            table.add_row(_NAMES[name], f"{count:,}", f"{self._rate(name):,.0f}")
        return table

    def _rate(self, name: str) -> float:
        (begin, first), (end, last) = self._looks[0], self._looks[-1]
        passed = end - begin
        return (getattr(last, name) - getattr(first, name)) / passed if passed else 0.0
