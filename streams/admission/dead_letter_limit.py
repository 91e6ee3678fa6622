"""The dead-letter limit: it stops deliveries when so many events are dead-lettered that something
else must be wrong.

A schema that changed or a token that expired makes a destination reject everything. Without the
limit the whole topic would drain into the DLQ while nobody looks, and would have to be re-driven.
"""

from __future__ import annotations

import asyncio

from trunkline.streams.admission.gate import NEVER, OnOffGate
from trunkline.streams.admission.sliding_window import SlidingWindow
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.listener import OutcomeListener
from trunkline.times import parse_duration


class DeadLetterGate(OnOffGate):
    """The dead-letter limit of one destination in one worker: a Gate that closes when the limit
    trips, and that only ``reset`` opens again.

    Whoever delivers reports each event once, when it ends: to ``finished`` or to
    ``dead_lettered``. An event that goes to a retry tier has not ended.
    """

    def __init__(self, policy: DeadLetterLimit) -> None:
        self._policy = policy
        self._window = SlidingWindow(parse_duration(policy.window))
        self._tripped_at: float | None = None
        self.newest_error: Exception | None = None
        """The reason of the newest dead letter, for the people who look."""

    @property
    def tripped_at(self) -> float | None:
        """When it tripped, on the clock of ``now``; None while it is open."""
        return self._tripped_at

    def finished(self, now: float, count: int) -> None:
        """So many events were delivered."""
        self._count(now, count, 0)

    def dead_lettered(self, now: float, count: int) -> None:
        """So many events were dead-lettered."""
        self._count(now, count, count)

    def reset(self) -> None:
        """Open again: a person has looked. What was counted is forgotten."""
        self._tripped_at = None
        self._window.clear()

    def closed_until(self, now: float) -> float | None:
        """NEVER once it has tripped."""
        return None if self._tripped_at is None else NEVER

    def _count(self, now: float, total: int, dead: int) -> None:
        window, policy = self._window, self._policy
        window.add(now, total, dead)
        too_many = window.total >= policy.minimum and window.failures > policy.share * window.total
        if too_many and self._tripped_at is None:
            self._tripped_at = now


class DeadLetterLimitListener(OutcomeListener):
    """Lets a dead-letter gate count what becomes of events. Told in the event loop, whose time is
    the gate's."""

    def __init__(self, gate: DeadLetterGate) -> None:
        self._gate = gate

    def on_delivered(self, count: int) -> None:
        """Events that went well."""
        self._gate.finished(asyncio.get_running_loop().time(), count)

    def on_dead_lettered(self, queue: str, count: int, error: Exception) -> None:
        """Events that did not."""
        self._gate.dead_lettered(asyncio.get_running_loop().time(), count)
        self._gate.newest_error = error
