"""Outages, limits, restarts and rebalances of one destination, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from delivery_kit import ErpTest, ids, times
from trunkline import CircuitBreaker, DeadLetterLimit, Retry, System, Unavailable


def test_an_outage_burns_no_attempt_and_sends_almost_nothing() -> None:
    with ErpTest() as test:
        test.script.down_for("10m")
        for number in range(10):
            test.send(str(number % 3))
            test.advance("1m")
        assert len(test.script.attempts) < 70, "a probe every ten seconds"
        test.run_until_idle()
        assert {attempt.number for attempt in test.script.attempts} == {1}
        assert {attempt.tier for attempt in test.script.attempts} == {""}
        for key in "012":
            mine = [id for id in test.arrived if id.startswith(f"{key}/")]
            assert mine == sorted(mine, key=lambda id: int(id.split("/")[1]))
        assert len(test.arrived) == 10
        assert test.elapsed < 720


def test_a_destination_that_must_not_hold_walks_its_tiers_to_the_end() -> None:
    with ErpTest(outage="tiers") as test:
        test.script.down()
        test.send("a", "b")
        test.run_until_idle()
        assert times(test.script.attempts) == [0.0, 0.0, 10.0, 10.0, 70.0, 70.0]
        assert [letter.error for letter in test.dead_letters(test.erp)] == ["Unavailable"] * 2


def test_the_breaker_opens_probes_with_one_and_ramps_up() -> None:
    with ErpTest(breaker=CircuitBreaker(failures=2, open="30s", longest="30s")) as test:
        test.script.down_for("1m")
        test.send(*"abcdefghij")
        test.advance("10s")
        assert test.state(test.erp) == "open"
        before = len(test.script.attempts)
        test.advance("25s")
        assert len(test.script.attempts) == before + 1, "one probe"
        while test.state(test.erp) != "slow-start":
            test.advance("1s")
        test.run_until_idle()
        test.advance("11s")
        assert test.state(test.erp) == "closed", "also where no other event comes"
        assert sorted(test.arrived) == sorted(f"{k}/{n}" for n, k in enumerate("abcdefghij", 1))


def test_an_unavailable_that_names_a_time_is_believed() -> None:
    with ErpTest() as test:
        test.script.answers(503, retry_after="120")
        test.send("a")
        test.advance("119s")
        assert len(test.script.attempts) == 1
        test.run_until_idle()
        assert [attempt.number for attempt in test.script.attempts] == [1, 1]


def test_nothing_is_sent_in_a_maintenance_window() -> None:
    # The first of January 2026 is a Thursday; Rome is an hour ahead.
    with ErpTest(maintenance="Thu 02:00 2h Europe/Rome") as test:
        test.advance("1h")
        test.send("a")
        test.advance("119m")
        assert test.state(test.erp) == "maintenance"
        assert test.script.attempts == []
        test.advance("61s")
        assert test.arrived == ["a/1"]


def test_a_pause_holds_until_it_ends_or_somebody_ends_it() -> None:
    with ErpTest() as test:
        test.pause(test.erp, until=test.now + timedelta(minutes=5))
        test.send("a")
        test.advance("299s")
        assert (test.state(test.erp), test.arrived) == ("paused", [])
        test.advance("2s")
        assert (test.state(test.erp), test.arrived) == ("closed", ["a/1"])
        test.pause(test.erp)
        test.send("b")
        test.crash()
        test.advance("1h")
        assert test.arrived == ["a/1"]
        test.resume(test.erp)
        assert test.arrived == ["a/1", "b/2"]


def test_the_dead_letter_limit_trips_before_a_topic_drains_into_the_dead_letter_queue() -> None:
    with ErpTest(dead_letter_limit=DeadLetterLimit(share=0.2, minimum=10), concurrency=1) as test:
        test.script.rejects(lambda e: True)
        test.send(*map(str, range(100)))
        test.advance("1m")
        assert test.state(test.erp) == "dead-letter-limit"
        assert len(test.dead_letters(test.erp)) == 10
        test.script.recovers()
        test.resume(test.erp)
        test.run_until_idle()
        assert len(test.arrived) == 90


def test_a_rate_is_kept() -> None:
    with ErpTest(rate="10/s") as test:
        test.send(*map(str, range(50)))
        test.run_until_idle()
        at = times(test.script.delivered)
        assert len(at) == 50
        assert all(later - earlier >= 0.89 for earlier, later in zip(at, at[10:], strict=False))


@pytest.mark.parametrize("policy", [{"concurrent": 2}, {"system": System("erp", concurrent=2)}])
def test_no_more_calls_are_under_way_than_a_limit_says(policy: dict[str, object]) -> None:
    with ErpTest(concurrency=10, **policy) as test:
        test.script.takes("1s")
        test.send(*"abcdefgh")
        assert test.script.under_way == 2
        test.run_until_idle()
        assert len(test.arrived) == 8
        assert 4.0 <= test.script.delivered[-1].at < 8.0


def test_a_429_pauses_all_and_costs_one_event_an_attempt() -> None:
    with ErpTest(concurrency=1) as test:
        test.script.answers(429, retry_after="30")
        test.send("a", "b", "c")
        test.advance("29s")
        assert len(test.script.attempts) == 1
        test.run_until_idle()
        numbers = [attempt.number for attempt in test.script.delivered]
        assert sorted(numbers) == [1, 1, 2]


def test_a_destination_that_has_had_enough_is_called_throttled() -> None:
    with ErpTest() as test:
        test.script.answers(429, times=5)
        test.send("a", "b", "c", "d", "e")
        test.advance("500ms")
        assert test.state(test.erp) == "throttled"
        test.run_until_idle()
        test.advance("1m")
        assert test.state(test.erp) == "closed"


def test_a_timeout_is_an_outage() -> None:
    with ErpTest(timeout="5s") as test:
        test.script.takes("6s")
        test.send("a")
        test.advance("1m")
        assert test.script.delivered == []
        test.script.recovers()
        test.run_until_idle()
        assert [attempt.number for attempt in test.script.delivered] == [1]


def test_a_linger_fills_batches() -> None:
    calls: list[list[str]] = []
    with ErpTest(batch=10, concurrency=1, linger="1s") as test:
        test.script.does(lambda events: calls.append([event.id for event in events]))
        for number in range(3):
            test.send(str(number))
            test.advance("300ms")
        test.run_until_idle()
        assert calls == [["0/1", "1/2", "2/3"]]


@pytest.mark.parametrize("how", ["crash", "restart", "rebalance", "lost"])
def test_neither_counters_nor_due_times_change(how: str) -> None:
    def interrupt(test: ErpTest) -> None:
        if how in ("crash", "restart"):
            getattr(test, how)()
        else:
            test.rebalance(lost=how == "lost")

    with ErpTest() as test:
        test.script.answers(500, times=2)
        test.send("a", "a")
        for _ in range(12):
            test.advance("7s")
            interrupt(test)
        test.run_until_idle()
        assert ids(test.script.attempts) == ["a/1", "a/1", "a/1", "a/2"]
        assert [attempt.number for attempt in test.script.attempts] == [1, 2, 3, 1]
        assert times(test.script.attempts)[:3] == [0.0, 10.0, 70.0]


def test_what_a_crash_repeats_is_the_newest_in_its_order() -> None:
    with ErpTest() as test:
        test.send("a", "a")
        test.advance("1s")
        test.send("a", "b", "a")
        test.crash()
        test.run_until_idle()
        assert [id for id in test.arrived if id[0] == "a"] == ["a/1", "a/2", *["a/3", "a/5"] * 2]


def test_a_crash_in_the_middle_of_a_call_loses_nothing() -> None:
    with ErpTest() as test:
        test.script.takes("10s")
        test.send("a", "b")
        test.advance("5s")
        test.crash()
        test.run_until_idle()
        assert sorted(test.arrived) == ["a/1", "b/2"]


def test_a_rebalance_waits_for_calls_under_way_and_repeats_nothing() -> None:
    with ErpTest() as test:
        test.script.takes("10s")
        test.send("a", "b")
        test.advance("5s")
        test.rebalance()
        test.run_until_idle()
        assert sorted(test.arrived) == ["a/1", "b/2"]


def test_commits_that_fail_are_made_up_for() -> None:
    with ErpTest() as test:
        test.backbone.failures = 3
        test.script.answers(500).answers(422)
        test.send("a", "b", "a")
        test.run_until_idle()
        assert sorted([*test.arrived, *(x.event_id for x in test.dead_letters(test.erp))]) == [
            "a/1", "a/3", "b/2",
        ]  # fmt: skip


def test_a_tier_that_cannot_be_read_blocks_only_those_that_wait_in_it() -> None:
    with ErpTest() as test:
        test.backbone.stall("sales.erp.retry.10s")
        test.script.answers(500)
        test.send("a", "b", "a")
        test.advance("10m")
        assert test.arrived == ["b/2"]
        test.backbone.stall("sales.erp.retry.10s", False)
        test.run_until_idle()
        assert test.arrived == ["b/2", "a/1", "a/3"]


def test_an_outage_that_is_tried_again_by_policy_is_none() -> None:
    with ErpTest(retry=Retry("10s", on=[Unavailable])) as test:
        test.script.answers(503)
        test.send("a")
        test.run_until_idle()
        assert times(test.script.attempts) == [0.0, 10.0]
        assert [attempt.number for attempt in test.script.attempts] == [1, 2]
