"""What keeps a destination from being sent to, and until when."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.admin.destinations import DestinationOverview
from trunkline.admin.status import WorkerStatus
from trunkline.streams.flow.policy import Policy
from trunkline.streams.worker.supervisor import CANNOT_OPEN
from trunkline.times import epoch_seconds, parse_duration

NEVER = float("inf")
DOWN = ("open", "half-open", CANNOT_OPEN)
"""States of a worker for which its destination is down."""
LIMIT = "dead-letter-limit"


@dataclass(frozen=True, slots=True)
class Hold:
    """``until``: epoch seconds before which nothing is sent; 0 for no hold, NEVER for one that only
    a person ends. ``stay``: workers must not end meanwhile, though they send nothing."""

    until: float = 0.0
    stay: bool = False


NO_HOLD = Hold()


class HoldMemory:
    """Tells of one destination what holds it, and remembers an outage when no worker is left to
    tell of it. For the reader's thread.

    Case: a breaker probes each 30 minutes; the workers sleep between two probes, and their records
    go with them. Without a memory the events would look as if they could be sent, and wake them.
    """

    def __init__(self, policy: Policy) -> None:
        self._longest = parse_duration(policy.breaker.longest)
        self._probe_at = 0.0

    def look(self, seen: DestinationOverview, now: float) -> Hold:
        """What holds it at ``now``."""
        if seen.in_force == "paused":
            return Hold(seen.override.ends_at)
        told = [worker for worker in seen.workers if not worker.stale]
        # The limit counts in the worker's memory: one that starts anew has forgotten it, and would
        # go on dead-lettering although nobody has looked.
        if any(worker.state == LIMIT for worker in told):
            return Hold(NEVER, stay=True)
        down = [worker for worker in told if worker.state in DOWN]
        if seen.in_force == "forced":
            self._probe_at = 0.0
        elif down:
            # As many as there are: one worker may be cut off from a system that others reach.
            probe = min(_probe_at(worker, now) for worker in down)
            self._probe_at = max(probe, now + self._longest)
            if len(down) >= seen.members:
                return Hold(probe)
        elif seen.members:
            self._probe_at = 0.0
        elif self._probe_at > now:
            return Hold(self._probe_at)
        return NO_HOLD


def _probe_at(worker: WorkerStatus, now: float) -> float:
    """When a worker tries again whether the destination is up; now, if it does not say."""
    try:
        return epoch_seconds(worker.until) or now
    except ValueError:  # somebody else's record: no reason to sleep
        return now
