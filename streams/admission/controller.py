"""The gate of one destination as its policy has it: an operator's override, maintenance windows,
the dead-letter limit, the circuit breaker, the throttle, quotas."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from trunkline.streams.admission.circuit_breaker import CircuitBreakerState
from trunkline.streams.admission.dead_letter_limit import DeadLetterGate
from trunkline.streams.admission.gate import UNLIMITED, Gate, Permit
from trunkline.streams.admission.maintenance import MaintenanceGate
from trunkline.streams.admission.manual import ManualOverride, Override
from trunkline.streams.admission.throttle import AdaptiveThrottle
from trunkline.streams.flow.policy import Policy

DestinationState = Literal[
    "closed",
    "open",
    "half-open",
    "slow-start",
    "paused",
    "maintenance",
    "dead-letter-limit",
    "throttled",
]


class _PermitOfAll:
    """One permit of each gate, finished together."""

    __slots__ = ("_permits",)

    def __init__(self, permits: list[Permit]) -> None:
        self._permits = permits

    def finish(self, now: float, sent: int, failure: Exception | None) -> None:
        """Finish each of them."""
        for permit in self._permits:
            permit.finish(now, sent, failure)


class AdmissionController:
    """Every reason not to send to one destination, asked as one: a Gate of gates.

    With ``outage="tiers"`` there is no breaker: such a destination must not hold. ``wall``: epoch
    seconds; ``limits``: further gates; ``chance``: numbers from 0 to 1, for jitter.
    """

    def __init__(
        self,
        policy: Policy,
        wall: Callable[[], float],
        limits: Sequence[Gate] = (),
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.manual = ManualOverride(wall)
        self.breaker = CircuitBreakerState(policy.breaker, random=chance)
        self.maintenance = MaintenanceGate(policy.maintenance, wall)
        limit = policy.dead_letter_limit
        self.dead_letter_limit = None if limit is None else DeadLetterGate(limit)
        self.throttle = AdaptiveThrottle()
        first: list[Gate] = [self.manual, self.maintenance]
        if self.dead_letter_limit is not None:
            first.append(self.dead_letter_limit)
        self._with_breaker = policy.outage == "hold"
        # Limits come last and are asked only if nothing else is shut: to ask them is to want a
        # share, which others can use meanwhile.
        last = [self.throttle, *limits]
        self._always = [*first, *last]
        self._all = [*first, self.breaker, *last] if self._with_breaker else self._always

    def _asked(self) -> Sequence[Gate]:
        return self._always if self.manual.state == "forced" else self._all

    def permits(self, now: float) -> int:
        """How many events may be sent now."""
        permits = UNLIMITED
        for gate in self._asked():
            permits = min(permits, gate.permits(now))
            if permits <= 0:
                break
        return permits

    def acquire(self, now: float, count: int) -> Permit:
        """A permit of every gate, in one."""
        return _PermitOfAll([gate.acquire(now, count) for gate in self._all])

    def retry_at(self, now: float) -> float:
        """When to ask again, if nothing may be sent now; NEVER if that is not known."""
        closed = (gate for gate in self._asked() if gate.permits(now) <= 0)
        return next((gate.retry_at(now) for gate in closed), now)

    def override(self, state: Override, until: float) -> None:
        """What an operator wants, until then (epoch seconds). Anything but a pause says also that
        a person has looked, which resets the dead-letter limit."""
        self.manual.set(state, until)
        if state != "paused" and self.dead_letter_limit is not None:
            self.dead_letter_limit.reset()

    def state(self, now: float) -> DestinationState:
        """In a word, the strongest reason first."""
        if self.manual.state == "paused":
            return "paused"
        if self.dead_letter_limit is not None and self.dead_letter_limit.tripped_at is not None:
            return "dead-letter-limit"
        if self.maintenance.permits(now) <= 0:
            return "maintenance"
        overridden = self.manual.state == "forced" or not self._with_breaker
        if not overridden and self.breaker.state != "closed":
            return self.breaker.state
        return "throttled" if self.throttle.is_throttling(now) else "closed"
