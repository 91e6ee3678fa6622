"""Whether a destination may be sent something now: every reason not to, asked as one.

A breaker, a maintenance window, a limit, an operator's hand and a valve are gatekeepers; the
delivery step asks the gate alone. Times are the event loop's (``loop.time()``), in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

PLENTY = 1 << 30
"""The room of a gatekeeper that sets no limit now."""

NEVER = float("inf")


class Gatekeeper(Protocol):
    """One reason not to send. Called from the event loop only; no method blocks.

    ``sent`` and ``ended`` (or ``cancelled``) are called in pairs, with the same counts in total.
    """

    def room(self, now: float) -> int:
        """How many events may be sent now: 0 for none, PLENTY for no limit."""

    def sent(self, now: float, count: int) -> None:
        """So many events are sent now, in one call of the sink."""

    def ended(self, now: float, count: int, failure: Exception | None) -> None:
        """The call ended. ``failure``: what the sink raised, or None. ``Unavailable`` means that
        the system is down; any other DeliveryError is an answer of it."""

    def cancelled(self, now: float, count: int) -> None:
        """The call was cancelled, or nothing was sent after all: neither success nor failure."""

    def opens_at(self, now: float) -> float:
        """When ``room`` may be more than it is now; NEVER if only a call's end or somebody's
        command can change it."""


class Gate:
    """All gatekeepers of one destination in one worker: the smallest room counts."""

    def __init__(self, keepers: Sequence[Gatekeeper] = ()) -> None:
        self._keepers = tuple(keepers)

    def room(self, now: float) -> int:
        """How many events may be sent now."""
        return min((keeper.room(now) for keeper in self._keepers), default=PLENTY)

    def sent(self, now: float, count: int) -> None:
        """So many events are sent now."""
        for keeper in self._keepers:
            keeper.sent(now, count)

    def ended(self, now: float, count: int, failure: Exception | None) -> None:
        """The call that sent so many events ended."""
        for keeper in self._keepers:
            keeper.ended(now, count, failure)

    def cancelled(self, now: float, count: int) -> None:
        """The call that sent so many events was cancelled."""
        for keeper in self._keepers:
            keeper.cancelled(now, count)

    def opens_at(self, now: float) -> float:
        """When to ask again, if there is no room now: when the last of those that are shut opens;
        NEVER if that is not known."""
        shut = [keeper for keeper in self._keepers if keeper.room(now) <= 0]
        return max((keeper.opens_at(now) for keeper in shut), default=now)
