"""A door: a gatekeeper that is open or shut, whatever the calls to the destination end with."""

from __future__ import annotations

from trunkline.streams.admission.gate import PLENTY


class Door:
    """A Gatekeeper whose room is all or nothing: who inherits says until when it is shut."""

    def shut_until(self, now: float) -> float | None:
        """When it opens, on the clock of ``now``; NEVER if a command must; None if it is open."""
        raise NotImplementedError

    def room(self, now: float) -> int:
        """PLENTY if open, else 0."""
        return PLENTY if self.shut_until(now) is None else 0

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
