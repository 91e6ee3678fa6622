"""One call of the sink: what it was given and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trunkline.errors import DataError, Rejected
from trunkline.event import Event
from trunkline.streams.admission.gate import Permit

Events = list[Event[Any]]


@dataclass(slots=True, eq=False)
class SinkCall:
    """One call of the sink, from the moment that the gate has admitted it.

    ``batch``: what was taken from the key queues; ``permit``: the gate's, finished once; ``sent``:
    those of the batch that the sink was given; ``unreadable``: those that it cannot be given, each
    with the reason; ``failure``: what the sink raised, or None; ``held``: why nothing could be
    read at all (a registry that is down).
    """

    batch: Events
    permit: Permit
    sent: Events = field(default_factory=list)
    unreadable: list[tuple[Event[Any], DataError | Rejected]] = field(default_factory=list)
    failure: Exception | None = None
    held: Exception | None = None

    def break_reference_cycle(self) -> None:
        """Break the circle of an error, its traceback, a frame in it, and this call: else each
        failure waits for the garbage collector, which then stops everything for a while."""
        self.failure = self.held = None
        self.unreadable.clear()
