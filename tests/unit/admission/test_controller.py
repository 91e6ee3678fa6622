"""All reasons not to send to a destination, asked as one."""

from __future__ import annotations

from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.admission.gate import NEVER
from trunkline.streams.flow.policy import Policy
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate


def test_a_paused_destination_wants_no_share_of_a_limit() -> None:
    gate = QuotaGate(Share(10.0, None))
    asked: list[float] = []
    gate.on_starved = asked.append
    guard = AdmissionController(Policy(), lambda: 0.0, [gate])
    guard.override("paused", NEVER)
    assert guard.permits(1.0) == 0
    assert guard.retry_at(1.0) == NEVER
    assert asked == []
    guard.override("auto", NEVER)
    assert guard.permits(2.0) == 0
    assert 2.0 in asked


def test_the_smallest_room_counts() -> None:
    gate = QuotaGate(Share(20.0, None))
    gate.grant(0.0, Share(20.0, None), 100.0)
    assert AdmissionController(Policy(), lambda: 0.0, [gate]).permits(50.0) == 2
