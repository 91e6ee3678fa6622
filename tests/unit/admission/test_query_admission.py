"""When a destination's system is asked a query: never waiting for it to be up again."""

from __future__ import annotations

from trunkline.errors import Unavailable
from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.admission.gate import NEVER
from trunkline.streams.admission.queries import QueryAdmission
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.streams.flow.policy import Policy
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate


def admission(*limits: QuotaGate) -> tuple[AdmissionController, QueryAdmission]:
    policy = Policy(breaker=CircuitBreaker(failures=2))
    destination = AdmissionController(policy, lambda: 0.0, random=lambda: 0.5)
    return destination, QueryAdmission(destination, limits)


def test_a_system_that_is_up_is_asked() -> None:
    _, queries = admission()
    assert queries.closed_for(0.0) is None
    assert queries.permits(0.0) > 0


def test_failed_queries_open_the_destinations_breaker_and_it_closes_them() -> None:
    destination, queries = admission()
    for _ in range(2):
        queries.acquire(0.0).finish(0.0, 1, Unavailable("down"))
    assert destination.permits(0.0) == 0
    closed = queries.closed_for(0.0)
    assert closed is not None
    assert 0 < closed < NEVER
    destination.override("forced", NEVER)
    assert queries.closed_for(0.0) is None


def test_a_paused_destination_is_not_asked_and_nobody_knows_until_when() -> None:
    destination, queries = admission()
    destination.override("paused", NEVER)
    assert queries.closed_for(0.0) == 0.0


def test_events_take_nothing_of_the_queries_share() -> None:
    gate = QuotaGate(Share(10.0, None))
    _, queries = admission(gate)
    assert queries.permits(0.0) == 0, "no share yet"
    assert queries.retry_at(0.0) > 0
    gate.grant(0.0, Share(10.0, None), 5.0, 1.0)
    assert queries.permits(0.0) == 1
    queries.acquire(0.0)
    assert queries.permits(0.0) == 0
