"""What every reason not to send to a destination has in common: ask, acquire a permit, finish it.

A circuit breaker, a maintenance window, an operator's override, a dead-letter limit, a throttle
and a quota are gates, and so is the ``AdmissionController`` that asks all of them. Times are the
event loop's (``loop.time()``), in seconds.
"""

from __future__ import annotations

from typing import Protocol

UNLIMITED = 1 << 30
"""The permits of a gate that sets no limit now."""

NEVER = float("inf")


class Permit(Protocol):
    """The right to make one call of the sink, with so many events. Finished exactly once."""

    def finish(
        self, now: float, sent: int, failure: Exception | None, *, again: bool = False
    ) -> None:
        """The call is over.

        ``sent``: how many of its events the destination was asked about. With 0 the call was
        cancelled, or nothing could be sent after all: that is neither a success nor a failure.
        ``failure``: what came of those sent, None if they were accepted. ``Unavailable`` means
        that the system is down; any other error is an answer of it. ``again``: the call repeats
        what is known of its events, which failed before: as a failure it is no sign that the system
        is down, and as a success none of how many calls fail (see ``streams.deliver.poison``).
        """
        ...


class Gate(Protocol):
    """One reason not to send. Called from the event loop only; no method blocks.

    A gate that need not tell calls apart is its own permit: ``acquire`` returns the gate.
    """

    def permits(self, now: float) -> int:
        """How many events may be sent now: 0 for none, UNLIMITED for no limit."""
        ...

    def acquire(self, now: float, count: int) -> Permit:
        """One call of the sink begins, with ``count`` events: from 1 to what ``permits`` says."""
        ...

    def retry_at(self, now: float) -> float:
        """When ``permits`` may be more than it is now; NEVER if only the end of a call or a
        command from outside can change it."""
        ...


class OnOffGate:
    """A Gate that is either open, without a limit, or closed. Subclasses say until when it is
    closed; calls that are under way when it closes just end."""

    def closed_until(self, now: float) -> float | None:
        """When it opens, on the clock of ``now``; NEVER if a command must open it; None while it
        is open."""
        raise NotImplementedError

    def permits(self, now: float) -> int:
        """UNLIMITED while it is open, else 0."""
        return UNLIMITED if self.closed_until(now) is None else 0

    def acquire(self, now: float, count: int) -> Permit:
        """The gate itself: calls do not matter to it."""
        return self

    def finish(
        self, now: float, sent: int, failure: Exception | None, *, again: bool = False
    ) -> None:
        """Nothing to count."""

    def retry_at(self, now: float) -> float:
        """When it opens; ``now`` if it is open."""
        until = self.closed_until(now)
        return now if until is None else until
