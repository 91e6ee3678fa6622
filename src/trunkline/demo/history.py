"""What the airport really did: the proof's only source of what must have arrived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trunkline.demo.records import Flight
from trunkline.demo.timeline import Change, Notice


class State(NamedTuple):
    """A flight's row, None: deleted. ``since``: the moment of its commit (``time.time()``); None:
    it was there before Trunkline began to read."""

    row: Flight | None
    since: float | None


class Correction(NamedTuple):
    """What the desk corrects: the body of its call."""

    flight_id: str
    delay_minutes: int
    reason: str


@dataclass
class History:
    """The states of each flight, and the notices and corrections with the moments they were sent.

    ``changes``: how many states there are.
    """

    flights: dict[str, list[State]] = field(default_factory=dict)
    notices: list[tuple[Notice, float]] = field(default_factory=list)
    corrections: list[tuple[Correction, float]] = field(default_factory=list)
    changes: int = 0

    def began(self, rows: Iterable[Flight]) -> None:
        """These rows were there before the start."""
        for row in rows:
            self.flights[row.id] = [State(row, None)]
            self.changes += 1

    def committed(self, changes: Sequence[Change], moment: float) -> None:
        """These changes were committed then."""
        self.changes += len(changes)
        for change in changes:
            self.flights.setdefault(change.id, []).append(State(change.row, moment))

    def sent(self, notice: Notice, moment: float) -> None:
        """This notice was sent then, and accepted."""
        self.notices.append((notice, moment))

    def corrected(self, correction: Correction, moment: float) -> None:
        """This correction was called for then, and the gateway has taken it."""
        self.corrections.append((correction, moment))
