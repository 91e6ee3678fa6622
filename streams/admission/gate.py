"""What every reason not to send to a destination has in common.

A breaker, a maintenance window, a limit, an operator's hand and a valve are gatekeepers, and so is
the guard that asks all of them. Times are the event loop's (``loop.time()``), in seconds.
"""

from __future__ import annotations

from typing import Protocol

UNLIMITED = 1 << 30
"""The room of a gatekeeper that sets no limit now."""

NEVER = float("inf")


class Gate(Protocol):
    """One reason not to send. Called from the event loop only; no method blocks.

    ``sent`` and ``ended`` (or ``cancelled``) are called in pairs, with the same counts in total.
    """

    def room(self, now: float) -> int:
        """How many events may be sent now: 0 for none, PLENTY for no limit."""
        ...

    def sent(self, now: float, count: int) -> None:
        """So many events are sent now, in one call of the sink."""
        ...

    def ended(self, now: float, count: int, failure: Exception | None) -> None:
        """The call ended. ``failure``: what the sink raised, or None. ``Unavailable`` means that
        the system is down; any other DeliveryError is an answer of it."""
        ...

    def cancelled(self, now: float, count: int) -> None:
        """The call was cancelled, or nothing was sent after all: neither success nor failure."""
        ...

    def opens_at(self, now: float) -> float:
        """When ``room`` may be more than it is now; NEVER if only a call's end or somebody's
        command can change it."""
        ...


class Open:
    """A gatekeeper that always has room."""

    def room(self, now: float) -> int:
        """Plenty."""
        return UNLIMITED

    def sent(self, now: float, count: int) -> None:
        """Nothing to count."""

    def ended(self, now: float, count: int, failure: Exception | None) -> None:
        """Nothing to learn."""

    def cancelled(self, now: float, count: int) -> None:
        """Nothing to take back."""

    def opens_at(self, now: float) -> float:
        """Now."""
        return now


class OnOffGate:
    """A Gate whose room is all or nothing: who inherits says until when it is shut."""

    def shut_until(self, now: float) -> float | None:
        """When it opens, on the clock of ``now``; NEVER if a command must; None if it is open."""
        raise NotImplementedError

    def room(self, now: float) -> int:
        """PLENTY if open, else 0."""
        return UNLIMITED if self.shut_until(now) is None else 0

    def opens_at(self, now: float) -> float:
        """When it opens; ``now`` if it is open."""
        until = self.shut_until(now)
        return now if until is None else until

    def sent(self, now: float, count: int) -> None:
        """Nothing to a door."""

    def ended(self, now: float, count: int, failure: Exception | None) -> None:
        """Nothing to a door."""

    def cancelled(self, now: float, count: int) -> None:
        """Nothing to a door."""
