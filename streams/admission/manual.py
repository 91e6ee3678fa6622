"""By hand: an operator holds a destination, or sends to it although its breaker is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from trunkline.streams.admission.command import Override
from trunkline.streams.admission.gate import NEVER, OnOffGate


class ManualOverride(OnOffGate):
    """The newest command of an operator: a Gate.

    A command may have an end, in wall time, so that it holds for all workers and through
    restarts; after it the state is ``auto`` again. ``wall``: returns the time in epoch seconds.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._state: Override = "auto"
        self._until: float | None = None

    def set(self, state: Override, until: float | None = None) -> None:
        """From now on, until the epoch second ``until`` or, if None, the next command.

        Raises ValueError for a state that there is not.
        """
        if state not in get_args(Override):
            raise ValueError(f"{state!r} is no state: write {', '.join(get_args(Override))}")
        self._state = state
        self._until = until

    @property
    def state(self) -> Override:
        """The command that is in force."""
        over = self._until is not None and self._wall() >= self._until
        return "auto" if over else self._state

    @property
    def until(self) -> float | None:
        """When the command in force ends, in epoch seconds; None: with the next one."""
        return None if self.state == "auto" else self._until

    @property
    def overrides_breaker(self) -> bool:
        """Whether events are sent even if the breaker is open."""
        return self.state == "closed"

    def closed_until(self, now: float) -> float | None:
        """When a hold ends; NEVER if it has no end."""
        if self.state != "open":
            return None
        return NEVER if self._until is None else now + self._until - self._wall()
