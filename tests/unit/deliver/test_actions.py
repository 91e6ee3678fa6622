"""What key order decides is carried out: a record in a tier, a decision, a discarded event."""

from __future__ import annotations

import asyncio

from delivery_parts import FLOW, Parts, event
from trunkline.headers import TL_ATTEMPT, TL_DUE_AT, TL_HALTED, TL_SEQ
from trunkline.streams.retry.key_order import AskOperator, Discard, RetryLater

TIER = FLOW.destinations[0].tiers[0]


def halted(offset: int) -> dict[str, str]:
    return {TL_SEQ: str(offset), TL_HALTED: "1", TL_ATTEMPT: "3"}


def test_an_event_that_is_to_wait_becomes_a_record_of_a_tier_and_is_done_with() -> None:
    parts = Parts()
    parts.read(0)
    parts.runner.run([RetryLater(event(0), 110.0, {TL_ATTEMPT: "1"})])
    asyncio.run(parts.committer.commit())
    (((record,), _),) = parts.broker.commits
    assert (record.topic, record.partition, record.key) == (TIER, 0, b"a")
    assert dict(record.headers)[TL_ATTEMPT] == b"1"
    assert TL_DUE_AT in dict(record.headers)
    assert parts.tracker.open == 0
    assert parts.metric("trunkline_retries_total", tier=TIER.rpartition(".")[2]) == 1


def test_a_discarded_event_is_done_with_and_leaves_nothing() -> None:
    parts = Parts()
    parts.read(0)
    parts.runner.run([Discard(event(0))])
    asyncio.run(parts.committer.commit())
    assert [records for records, _ in parts.broker.commits] == [[]]
    assert parts.tracker.open == 0


def test_a_decision_is_applied_when_what_came_of_it_is_committed() -> None:
    """A worker that dies before leaves the decision to the next one."""
    parts = Parts({"0": "discard"})
    parts.read(0)
    parts.order.begin([("a", 0, 0.0)])
    waits = event(0, **halted(0))
    parts.runner.run([AskOperator(waits)])
    assert parts.tracker.open == 0
    assert parts.decisions.applied == []
    asyncio.run(parts.committer.commit())
    assert [h.sequence for h in parts.decisions.applied] == ["0"]


def test_without_a_decision_a_halted_event_waits_on() -> None:
    parts = Parts()
    parts.read(0)
    parts.order.begin([("a", 0, 0.0)])
    parts.runner.run([AskOperator(event(0, **halted(0)))])
    asyncio.run(parts.committer.commit())
    (((record,), _),) = parts.broker.commits
    assert dict(record.headers)[TL_HALTED] == b"1"
    assert parts.decisions.applied == []
