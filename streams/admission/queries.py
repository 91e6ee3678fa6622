"""Whether a query may be sent to a destination's system: as its events, but that a query never
waits for the system to be up again."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.streams.admission.controller import AdmissionController, PermitOfAll
from trunkline.streams.admission.gate import NEVER, Gate, Permit


class QueryAdmission:
    """The gates of a destination for its queries, in one worker. ``limits``: shares of its limits
    for queries alone, of which events in the inbox take nothing."""

    def __init__(self, destination: AdmissionController, limits: Sequence[Gate]) -> None:
        self._destination = destination
        self._limits = limits

    def closed_for(self, now: float) -> float | None:
        """Seconds for which nothing is sent at all, 0 where nobody knows; None: it is open."""
        for gate in self._destination.of_system():
            if gate.permits(now) <= 0:
                at = gate.retry_at(now)
                return 0.0 if at == NEVER else max(0.001, at - now)
        return None

    def permits(self, now: float) -> int:
        """How many queries the limits allow now."""
        return min((gate.permits(now) for gate in self._limits), default=1 << 30)

    def acquire(self, now: float) -> Permit:
        """A permit for one query; what comes of it, the destination's breaker learns, too."""
        gates = [*self._destination.learning(), *self._limits]
        return PermitOfAll([gate.acquire(now, 1) for gate in gates])

    def retry_at(self, now: float) -> float:
        """When the limits may allow more."""
        closed = (gate for gate in self._limits if gate.permits(now) <= 0)
        return next((gate.retry_at(now) for gate in closed), now)
