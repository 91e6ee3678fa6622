"""The gate of one destination as its policy has it: an operator's override, maintenance windows,
the dead-letter limit, the circuit breaker, the throttle, quotas."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from trunkline.streams.admission.circuit_breaker import CircuitBreakerState
from trunkline.streams.admission.dead_letter_limit import DeadLetterGate
from trunkline.streams.admission.gate import NEVER, UNLIMITED, Gate, OnOffGate, Permit
from trunkline.streams.admission.maintenance import MaintenanceGate
from trunkline.streams.admission.manual import ManualOverride, Override
from trunkline.streams.admission.throttle import AdaptiveThrottle
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
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


class PermitOfAll:
    """One permit of each gate, finished together."""

    __slots__ = ("_permits",)

    def __init__(self, permits: list[Permit]) -> None:
        self._permits = permits

    def finish(
        self, now: float, sent: int, failure: Exception | None, *, again: bool = False
    ) -> None:
        """Finish each of them."""
        for permit in self._permits:
            permit.finish(now, sent, failure, again=again)


class EnrichmentAdmission:
    """When the system may be asked that a destination's enrichment asks: it is another one than the
    destination's, and may be down, or have enough, by itself. Both halves are gates of the
    destination, too: what cannot be enriched is not sent."""

    def __init__(self, breaker: CircuitBreakerState) -> None:
        self.breaker = breaker
        self.throttle = AdaptiveThrottle()

    def acquire(self, now: float, count: int) -> Permit:
        """A permit for a call that asks about so many events."""
        return PermitOfAll([self.breaker.acquire(now, count), self.throttle.acquire(now, count)])

    def is_in_trouble(self, now: float) -> bool:
        """Whether it keeps the destination from being sent to as fast as could be."""
        return self.breaker.state != "closed" or self.throttle.is_throttling(now)


class AdmissionController:
    """Every reason not to send to one destination in one worker, asked as one: a Gate of gates.

    ``clock``: returns epoch seconds; ``limits``: further gates, the quotas; ``random``: returns
    numbers from 0 to 1, for jitter. ``enrichment``: when the system that the destination's
    enrichment asks counts as down. Its breaker and throttle are asked as all gates are, but have
    permits of their own: what the sink answers says nothing of that system.
    """

    def __init__(
        self,
        policy: Policy,
        clock: Callable[[], float],
        limits: Sequence[Gate] = (),
        *,
        enrichment: CircuitBreaker | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.manual = ManualOverride(clock)
        self.breaker = CircuitBreakerState(policy.breaker, random=random)
        self.enrichment = (
            None
            if enrichment is None
            else EnrichmentAdmission(CircuitBreakerState(enrichment, random=random))
        )
        self.maintenance = MaintenanceGate(policy.maintenance, clock)
        limit = policy.dead_letter_limit
        self.dead_letter_limit = None if limit is None else DeadLetterGate(limit)
        self.throttle = AdaptiveThrottle()
        self._throttles = [self.throttle]
        if self.enrichment is not None:
            self._throttles.append(self.enrichment.throttle)
        first: list[Gate] = [self.manual]
        if policy.maintenance:
            first.append(self.maintenance)
        if self.dead_letter_limit is not None:
            first.append(self.dead_letter_limit)
        # A destination with outage="tiers" must not hold: its events walk their tiers instead.
        self._with_breaker = policy.outage == "hold"
        # Quotas come last, and are asked only if nothing else is closed. To ask one is to demand a
        # share of the limit: a paused destination would keep half of 50 events a second from one
        # that could use them.
        last = [*self._throttles, *limits]
        self._without_breaker = [*first, *last]
        self._all = [*first, self.breaker, *last] if self._with_breaker else self._without_breaker
        # Those to which calls matter: to the others a permit of theirs is none.
        others = self.enrichment and self.enrichment.throttle
        self._counting = [
            gate for gate in self._all if not (isinstance(gate, OnOffGate) or gate is others)
        ]
        self._breakers = [self.breaker] if self._with_breaker else []
        self._in_order: Sequence[Gate] = self._all
        if self.enrichment is not None and self._with_breaker:
            self._breakers.append(self.enrichment.breaker)
            self._in_order = [*first, *self._breakers, *last]

    def _asked(self) -> Sequence[Gate]:
        return self._without_breaker if self.manual.state == "forced" else self._in_order

    def of_system(self) -> list[Gate]:
        """The gates that say whether anything at all may be sent to the system now."""
        own: list[Gate] = [self.manual, self.maintenance]
        breaker: list[Gate] = [self.breaker] if self._with_breaker else []
        return [*own, *([] if self.manual.state == "forced" else breaker), self.throttle]

    def learning(self) -> list[Gate]:
        """The gates to which each call of the system matters, whatever it is about."""
        return [self.breaker, self.throttle] if self._with_breaker else [self.throttle]

    def permits(self, now: float) -> int:
        """How many events may be sent now: as many as the strictest gate permits."""
        permits = UNLIMITED
        for gate in self._asked():
            if (permitted := gate.permits(now)) < permits:
                permits = permitted
                if permits <= 0:
                    break
        return permits

    def acquire(self, now: float, count: int) -> Permit:
        """A permit of every gate that calls matter to, in one."""
        # Of the breaker, too, while an operator forces past it: when the forcing ends, it must know
        # what is under way.
        return PermitOfAll([gate.acquire(now, count) for gate in self._counting])

    def retry_at(self, now: float) -> float:
        """When to ask again, if nothing may be sent now; NEVER if that is not known."""
        closed = (gate for gate in self._asked() if gate.permits(now) <= 0)
        return next((gate.retry_at(now) for gate in closed), now)

    def override(self, state: Override, until: float) -> None:
        """Obey an operator until ``until``, in epoch seconds.

        A ``resume``, forced or not, resets the dead-letter limit: it says that a person has looked.
        Forced, it also ends what a 429 asked for: a pause, and the slower rate after it.
        """
        self.manual.set(state, until)
        if state != "paused" and self.dead_letter_limit is not None:
            self.dead_letter_limit.reset()
        if state == "forced":
            for throttle in self._throttles:
                throttle.reset()

    def closed_until(self, now: float) -> float | None:
        """When sending goes on by itself, if nothing is sent now and the time is known; else None.
        Quotas are not asked: to ask one is to demand a share of it."""
        gates: list[Gate] = [self.manual, self.maintenance]
        if self.manual.state != "forced":
            gates += self._breakers
        for gate in [*gates, *self._throttles]:
            if gate.permits(now) <= 0:
                return None if (at := gate.retry_at(now)) == NEVER else at
        return None

    @property
    def opened_at(self) -> float | None:
        """When the outage began that is not yet overcome, of the destination or of what its
        enrichment asks; None if there is none."""
        return next((b.opened_at for b in self._breakers if b.opened_at is not None), None)

    def state(self, now: float) -> DestinationState:
        """How sending is, in a word; ``closed`` is the breaker's word for "all is well".

        Of several reasons the one that a person must know first: what only a person ends
        (``paused``, ``dead-letter-limit``), then what ends by itself.
        """
        if self.manual.state == "paused":
            return "paused"
        if self.dead_letter_limit is not None and self.dead_letter_limit.tripped_at is not None:
            return "dead-letter-limit"
        if self.maintenance.permits(now) <= 0:
            return "maintenance"
        for breaker in self._breakers:
            breaker.settle(now)
            if breaker.state != "closed" and self.manual.state != "forced":
                return breaker.state
        throttling = any(throttle.is_throttling(now) for throttle in self._throttles)
        return "throttled" if throttling else "closed"
