"""All reasons not to send to a destination, asked as one."""

from __future__ import annotations

from trunkline import CircuitBreaker, DeadLetterLimit, Unavailable
from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.admission.gate import NEVER, UNLIMITED
from trunkline.streams.flow.maintenance import Window
from trunkline.streams.flow.policy import Policy
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate


def test_a_paused_destination_wants_no_share_of_a_limit() -> None:
    gate = QuotaGate(Share(10.0, None))
    asked: list[float] = []
    gate.on_starved = asked.append
    admission = AdmissionController(Policy(), lambda: 0.0, [gate])
    admission.override("paused", NEVER)
    assert admission.permits(1.0) == 0
    assert admission.retry_at(1.0) == NEVER
    assert asked == []
    admission.override("auto", NEVER)
    assert admission.permits(2.0) == 0
    assert 2.0 in asked


def test_the_strictest_gate_counts() -> None:
    gate = QuotaGate(Share(20.0, None))
    gate.grant(0.0, Share(20.0, None), 100.0)
    assert AdmissionController(Policy(), lambda: 0.0, [gate]).permits(50.0) == 2


def test_a_call_takes_a_permit_of_every_gate_and_gives_all_of_them_back() -> None:
    gates = [QuotaGate(Share(None, 3)) for _ in range(2)]
    for gate in gates:
        gate.grant(0.0, gate.whole, 100.0)
    admission = AdmissionController(Policy(), lambda: 0.0, gates)
    permit = admission.acquire(1.0, 5)
    admission.acquire(1.0, 5)
    gates[0].give_back(1.0)
    gates[1].give_back(1.0)
    assert [gate.holds(1.0).calls for gate in gates] == [2, 2]
    permit.finish(2.0, 5, None)
    assert [gate.holds(2.0).calls for gate in gates] == [1, 1]


def down(admission: AdmissionController) -> None:
    """The breaker opens at 1.0, for 5 s."""
    admission.acquire(1.0, 1).finish(1.0, 1, Unavailable("503"))


def test_forced_events_are_sent_although_the_breaker_is_open() -> None:
    admission = AdmissionController(Policy(breaker=CircuitBreaker(failures=1)), lambda: 0.0)
    down(admission)
    assert (admission.permits(2.0), admission.state(2.0)) == (0, "open")
    assert admission.retry_at(2.0) >= 6.0
    admission.override("forced", NEVER)
    assert (admission.permits(2.0), admission.state(2.0)) == (UNLIMITED, "closed")
    admission.override("auto", NEVER)
    assert (admission.permits(2.0), admission.state(2.0)) == (0, "open")


def test_what_walks_its_tiers_in_an_outage_has_no_breaker() -> None:
    policy = Policy(breaker=CircuitBreaker(failures=1), outage="tiers")
    admission = AdmissionController(policy, lambda: 0.0)
    down(admission)
    assert (admission.permits(2.0), admission.state(2.0)) == (UNLIMITED, "closed")


def test_the_reason_that_only_a_person_ends_is_told_first() -> None:
    policy = Policy(
        breaker=CircuitBreaker(failures=1),
        dead_letter_limit=DeadLetterLimit(minimum=1),
        maintenance=(Window.parse("Thu 00:00 2h UTC"),),  # 1 January 1970 was a Thursday
    )
    clock = [9000.0]
    admission = AdmissionController(policy, lambda: clock[0])
    states = [admission.state(1.0)]
    down(admission)
    states.append(admission.state(1.0))
    clock[0] = 0.0
    states.append(admission.state(1.0))
    assert admission.dead_letter_limit is not None
    admission.dead_letter_limit.dead_lettered(1.0, 1)
    states.append(admission.state(1.0))
    admission.override("paused", NEVER)
    states.append(admission.state(1.0))
    assert states == ["closed", "open", "maintenance", "dead-letter-limit", "paused"]


def test_a_resume_resets_the_dead_letter_limit_and_a_pause_does_not() -> None:
    admission = AdmissionController(
        Policy(dead_letter_limit=DeadLetterLimit(minimum=1)), lambda: 0.0
    )
    assert admission.dead_letter_limit is not None
    admission.dead_letter_limit.dead_lettered(1.0, 1)
    admission.override("paused", NEVER)
    assert admission.dead_letter_limit.tripped_at == 1.0
    admission.override("auto", NEVER)
    assert (admission.permits(2.0), admission.state(2.0)) == (UNLIMITED, "closed")
