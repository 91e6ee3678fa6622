"""What operators decide about events that wait: attempt now, discard; in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from delivery_kit import ErpTest, ids
from trunkline import Retry
from trunkline.admin.waiting import WaitingEvent, _waiting, decision_records, freed
from trunkline.errors import DataError
from trunkline.kafka.messages import event_of
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.deliver import schedule
from trunkline.streams.retry.decisions import RetryAction, RetryDecision
from trunkline.times import iso

LONG = Retry("10s", "1h")


def waiting(test: ErpTest) -> list[WaitingEvent]:
    """What is in the retry topics and not done with, as ``list_waiting`` tells it."""
    step = test._worker.deliveries["erp"].step
    found = []
    for place, offsets in step._tracker._partitions.items():
        if ".retry." in place[0]:
            for message in test._parts.topics.read(place, offsets.committable, 1 << 40):
                if not offsets.is_done(message.offset() or 0):
                    found.append(_waiting(event_of(message, bytes)))
    return sorted(found, key=lambda one: one.sequence)


def decide(test: ErpTest, action: RetryAction, events: list[WaitingEvent]) -> None:
    """What ``trunkline retry`` writes."""
    audit = AuditRecord(what="retry", on="erp", who="ada")
    records = dict(decision_records("erp", action, events, audit))
    if action == "discard":
        records |= decision_records("erp", "now", freed(events, waiting(test)), audit)
    for key, value in records.items():
        at = iso(test._parts.clock())
        test._do(test._control.put(key, {**value, "at": at}))


def failing_long(test: ErpTest, *keys: str, times: int = 2) -> None:
    """Events of these keys fail until they are in the tier of an hour."""
    test.script.rejects(lambda event: event.id in keys, 500, times=times * len(keys))


def test_what_waits_is_attempted_at_once_and_in_order() -> None:
    with ErpTest(retry=LONG) as test:
        failing_long(test, "a/1")
        test.send("a", "a", "a", "b")
        test.advance("1m")
        assert test.arrived == ["b/4"]
        assert [(one.id, one.tier) for one in waiting(test)][:1] == [("a/1", "1h")]
        decide(test, "now", waiting(test))
        test.advance("30s")
        assert test.arrived == ["b/4", "a/1", "a/2", "a/3"]


def test_what_stands_in_front_in_its_topic_waits_on() -> None:
    with ErpTest(retry=LONG) as test:
        failing_long(test, "a/1", "b/2", "c/3")
        test.send("a", "b", "c")
        test.advance("1m")
        decide(test, "now", [one for one in waiting(test) if one.id == "b/2"])
        test.advance("10s")
        assert test.arrived == ["b/2"]
        test.advance("2h")
        assert test.arrived == ["b/2", "a/1", "c/3"]


@pytest.mark.parametrize("action", ["now", "discard"])
def test_a_decision_holds_through_a_crash(action: RetryAction) -> None:
    with ErpTest(retry=LONG) as test:
        failing_long(test, "a/1")
        test.send("a", "a")
        test.advance("1m")
        events = waiting(test)
        decide(test, action, events if action == "now" else events[:1])
        test.crash()
        test.advance("30s")
        assert set(test.arrived) == ({"a/1", "a/2"} if action == "now" else {"a/2"})
        assert test.arrived[-1] == "a/2"


def test_a_decision_is_about_one_wait_and_ends() -> None:
    with ErpTest(retry=Retry("10s", "1h", "2h")) as test:
        failing_long(test, "a/1", times=3)
        test.send("a")
        test.advance("1m")
        decide(test, "now", waiting(test))
        test.advance("5m")
        assert ids(test.script.attempts) == ["a/1"] * 3, "it failed again, and waits again"
        test.advance("6m")
        assert not [key for key in test._control.state if key.startswith("retry/")]
        test.advance("2h")
        assert test.arrived == ["a/1"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_any_event_of_a_key_can_be_discarded(which: int) -> None:
    with ErpTest(retry=LONG) as test:
        failing_long(test, "a/1")
        test.send("a", "a", "a")
        test.advance("1m")
        events = waiting(test)
        decide(test, "discard", [events[which]])
        test.advance("2h")
        left = [one.id for one in events if one is not events[which]]
        assert test.arrived == left
        assert test.dead_letters(test.erp) == []
        assert waiting(test) == []


def test_without_order_each_is_by_itself() -> None:
    with ErpTest(retry=LONG, order="none") as test:
        failing_long(test, "a/1", "a/2")
        test.send("a", "a")
        test.advance("1m")
        first, second = waiting(test)
        decide(test, "now", [second])
        test.advance("1s")
        assert test.arrived == ["a/2"]
        decide(test, "discard", [first])
        test.advance("2h")
        assert test.arrived == ["a/2"]


def test_a_halted_key_is_not_moved() -> None:
    with ErpTest(retry=Retry("10s"), on_dead="halt") as test:
        test.script.answers(422)
        test.send("a", "a")
        test.advance("1m")
        for action in ("now", "discard"):
            decide(test, action, [one for one in waiting(test) if one.halted])  # type: ignore[arg-type]
            test.advance("1m")
        assert test.arrived == []


def test_much_that_is_not_due_goes_round_instead_of_filling_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedule, "MAX_READ_EARLY", 3)
    with ErpTest(retry=LONG) as test:
        keys = [f"k{number}" for number in range(12)]
        test.script.rejects(lambda event: event.key in keys, 500, times=24)
        test.send(*keys)
        test.advance("1m")
        decide(test, "now", [one for one in waiting(test) if one.key == "k11"])
        test.advance("1s")
        assert test.arrived == ["k11/12"]
        assert len(waiting(test)) == 11
        test.advance("3h")
        assert len(test.arrived) == 12


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"action": "dance", "events": [], "ends": {}, "at": "2026-01-01T00:00:00Z"},
        {"action": "now", "events": [1], "ends": {}, "at": "2026-01-01T00:00:00Z"},
        {"action": "now", "events": [], "ends": [], "at": "2026-01-01T00:00:00Z"},
        {"action": "now", "events": [], "ends": {}, "at": "soon"},
    ],
)
def test_a_record_that_is_no_decision_stops_nothing(record: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        RetryDecision.from_record(record)
    with ErpTest() as test:
        test._do(test._control.put("retry/erp/0/x", record))
        test.send("a")
        assert test.arrived == ["a/1"]
