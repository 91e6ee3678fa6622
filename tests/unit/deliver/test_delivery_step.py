"""The delivery step: order per key, retries and dead letters, in virtual time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from delivery_kit import ErpTest, ids, times
from trunkline import Event, Retry, Retryable
from trunkline.errors import RegistryRefused, RegistryUnavailable, SerializationError
from trunkline.streams.deliver.backpressure import MAX_OPEN
from trunkline.streams.deliver.sink_call import SinkCall
from trunkline.streams.retry.tiers import due_of

# Order


def test_a_key_waits_for_its_first_event_and_others_do_not() -> None:
    with ErpTest() as test:
        test.script.answers(500)
        test.send("a", "a", "b", "a", "b")
        assert test.arrived == ["b/3", "b/5"]
        test.advance("11s")
        assert test.arrived == ["b/3", "b/5", "a/1", "a/2", "a/4"]


def test_order_holds_through_all_tiers_into_the_dead_letter_queue() -> None:
    with ErpTest() as test:
        test.script.rejects(lambda e: e.id in ("a/1", "b/4"), 500)
        test.send("a", "a", "a", "b", "b", "c")
        assert test.arrived == ["c/6"]
        test.advance("69s")
        assert test.arrived == ["c/6"]
        test.advance("2s")
        assert sorted(test.arrived) == ["a/2", "a/3", "b/5", "c/6"]
        assert test.arrived.index("a/2") < test.arrived.index("a/3")
        assert [letter.event_id for letter in test.dead_letters(test.erp)] == ["a/1", "b/4"]
        assert [letter.attempts for letter in test.dead_letters(test.erp)] == [3, 3]


def test_each_follower_has_all_its_own_attempts() -> None:
    with ErpTest() as test:
        test.script.rejects(lambda e: e.id in ("a/1", "a/2"), 500)
        test.send("a", "a", "a")
        test.run_until_idle()
        assert ids(test.script.attempts) == ["a/1"] * 3 + ["a/2"] * 3 + ["a/3"]
        assert [a.number for a in test.script.attempts] == [1, 2, 3, 1, 2, 3, 1]
        assert [a.tier for a in test.script.attempts[:3]] == ["", "10s", "1m"]


def test_followers_go_as_soon_as_the_first_is_through() -> None:
    with ErpTest(retry=Retry("10s", "1m", "10m")) as test:
        test.script.answers(500, times=2)
        test.send("a", "a", "a")
        test.advance("5s")
        test.send("a")
        test.run_until_idle()
        assert test.arrived == ["a/1", "a/2", "a/3", "a/4"]
        assert times(test.script.delivered)[0] == 70.0
        assert times(test.script.delivered)[-1] <= 80.0


def test_a_failed_call_leaves_nothing_to_the_garbage_collector(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error, its traceback and the call are a circle; thousands of them stop a worker for 0.2 s
    each time that the collector clears them away."""
    caplog.set_level(logging.CRITICAL)  # what is logged has the errors, as long as pytest keeps it
    gc.collect()
    gc.disable()
    try:
        with ErpTest() as test:
            test.script.does(too_early)
            test.send(*"abcdef")
            test.run_until_idle()
            assert len(test.script.failed) == 6
            test.script.attempts.clear()  # they have the errors
            assert not [found for found in gc.get_objects() if isinstance(found, SinkCall)]
    finally:
        gc.enable()


def too_early(events: Sequence[Event[Any]]) -> None:
    """Nothing is taken at the first attempt."""
    if not events[0].header("tl_attempt"):
        raise Retryable("too early")


def test_one_that_comes_while_its_key_waits_joins_the_end() -> None:
    with ErpTest() as test:
        test.script.answers(500)
        test.send("a")
        for _ in range(9):
            test.advance("1s")
            test.send("a")
        assert test.arrived == []
        test.run_until_idle()
        assert test.arrived == [f"a/{n}" for n in range(1, 11)]


def test_without_order_nobody_waits_for_anybody() -> None:
    with ErpTest(order="none") as test:
        test.script.rejects(lambda e: e.id == "a/1", 500, times=1)
        test.send("a", "a", "a")
        assert test.arrived == ["a/2", "a/3"]
        test.advance("11s")
        assert test.arrived == ["a/2", "a/3", "a/1"]


def test_what_is_behind_a_failed_one_in_its_batch_comes_after_it() -> None:
    with ErpTest(batch=10, concurrency=1) as test:
        test.pause(test.erp)
        test.send("a", "b", "a", "b")
        test.script.rejects(lambda e: e.id == "a/1", 500, times=1)
        test.resume(test.erp)
        test.run_until_idle()
        assert test.arrived[-2:] == ["a/1", "a/3"]
        assert test.script.state["a"] == {"id": "a", "status": "paid", "total_cents": 3}


def test_a_hundred_thousand_blocked_keys_hold_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL", logger="trunkline")
    with ErpTest(batch=1000, concurrency=4) as test:
        test.script.rejects(lambda e: e.key != "free", 500)
        for start in range(0, 100_000, 10_000):
            test.send(*map(str, range(start, start + 10_000)))
            test.advance("1s")
        test.advance("2s")
        step = test._worker.deliveries["erp"].step
        assert step.gauges.waiting == 100_000
        test.send("free")
        test.advance("1s")
        assert test.arrived == ["free/100001"]
        assert step._tracker.open < 2 * MAX_OPEN, "what waits in tiers is not in memory"


# Time


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_never_early_and_hardly_late(seed: int | None) -> None:
    def on_time(events: Sequence[Event[Any]]) -> None:
        (event,) = events
        if due := due_of(event):
            lateness.append(test.now.timestamp() - due)
        raise Retryable("later")

    lateness: list[float] = []
    with ErpTest(seed=seed) as test:
        test.script.does(on_time)
        for number in range(40):
            test.send(str(number))
            test.advance("333ms")
        test.run_until_idle()
    assert len(lateness) == 80
    assert min(lateness) >= 0
    assert max(lateness) < 0.01


def test_delays_are_as_written_and_jitter_only_adds() -> None:
    with ErpTest() as test:
        test.script.answers(500, times=3)
        test.send("a")
        test.run_until_idle()
        assert times(test.script.attempts) == [0.0, 10.0, 70.0]
    with ErpTest(seed=7) as test:
        test.script.answers(500, times=3)
        test.send("a")
        test.run_until_idle()
        _, second, third = times(test.script.attempts)
        assert 10.0 < second <= 11.0
        assert 60.0 < third - second <= 65.0


def test_a_retry_after_beyond_its_tier_is_honoured() -> None:
    with ErpTest() as test:
        test.script.answers(500, retry_after="400")
        test.send("a", "b", "a")
        test.run_until_idle()
        assert ids(test.script.attempts) == ["a/1", "b/2", "a/1", "a/3"]
        assert times(test.script.attempts)[2] == 400.0
        assert test.script.attempts[2].number == 2


def test_a_delay_comes_before_the_first_attempt() -> None:
    with ErpTest(delay="5m") as test:
        test.send("a")
        test.advance("1m")
        test.send("a", "b")
        test.advance("239s")
        assert test.script.attempts == []
        test.run_until_idle()
        assert ids(test.script.attempts) == ["a/1", "a/2", "b/3"]
        assert times(test.script.attempts) == [300.0, 360.0, 360.0]


# Headers


def test_headers_are_replaced_and_never_appended() -> None:
    with ErpTest() as test:
        test.script.answers(500, times=2)
        test.send("a")
        test.run_until_idle()
    last = test.script.attempts[-1]
    names = [name for name, _ in last.event.headers]
    assert len(names) == len(set(names))
    assert (
        last.headers
        | {
            "tl_origin": "retry",
            "tl_attempt": "2",
            "tl_seq": "0",
            "tl_first_failed_at": "2026-01-01T00:00:00.000+00:00",
            "tl_error_class": "Retryable",
            "tl_error": "the test answers 500",
        }
        == last.headers
    )
    assert last.headers["tl_due_at"] == "2026-01-01T00:01:10.001+00:00"
    assert last.headers["ce_id"] == "a/1"
    assert last.headers["tl_from"].startswith("orders/")


# Bad input and schemas


@pytest.mark.parametrize("hold", [RegistryUnavailable("down"), RegistryRefused("no access")])
def test_a_schema_that_cannot_be_asked_for_holds_and_loses_nothing(hold: Exception) -> None:
    with ErpTest() as test:
        test.break_reading(hold, times=3)
        test.send("a", "b")
        test.advance("5s")
        assert sorted(test.arrived) == ["a/1", "b/2"]
        assert [attempt.number for attempt in test.script.attempts] == [1, 1]


def test_an_error_that_no_reader_should_raise_loses_nothing() -> None:
    with ErpTest() as test:
        test.break_reading(MemoryError("for a moment"), times=1)
        test.send("a", "b")
        test.run_until_idle()
        assert sorted(test.arrived) == ["a/1", "b/2"]


def test_what_cannot_be_read_is_dead_lettered_and_is_no_answer_of_the_destination() -> None:
    with ErpTest(concurrency=1) as test:
        test.script.down()
        test.send("a")
        test.break_reading(SerializationError("no order"), times=1, of="b")
        test.send("b")
        test.advance("1m")
        assert test.state(test.erp) != "closed"
        test.script.up()
        test.run_until_idle()
        assert test.arrived == ["a/1"]
        assert [letter.event_id for letter in test.dead_letters(test.erp)] == ["b/2"]


def test_a_dead_letter_keeps_every_byte_and_says_why() -> None:
    with ErpTest() as test:
        test.script.rejects(lambda e: True, 422)
        test.send("a")
        test.run_until_idle()
        (letter,) = test.dead_letters(test.erp)
        (event,) = test.published(test.orders)
        assert (letter.key, letter.value) == (b"a", event.value)
        assert (letter.error, letter.message) == ("Rejected", "the test answers 422")
        assert (letter.stage, letter.attempts) == ("deliver", 1)
        assert letter.came_from == f"sales.erp.inbox/{letter.partition}/0"


# on_dead="halt"


def test_a_halted_key_waits_for_a_person_and_others_do_not() -> None:
    with ErpTest(on_dead="halt") as test:
        test.script.answers(422)
        test.send("a", "a", "b")
        test.advance("1h")
        assert test.arrived == ["b/3"]
        (letter,) = test.dead_letters(test.erp)
        assert letter.event_id == "a/1"
        assert [w.id for w in test.waiting(test.erp) if w.halted] == ["a/1"]


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("action", ["retry", "discard"])
def test_halted_keys_are_told_of_until_they_go_on(action: str, crash: bool) -> None:
    with ErpTest(on_dead="halt") as test:
        test.script.answers(422, times=7)
        test.send(*"aabcdefg")
        test.advance("1s")
        if crash:
            test.crash()
        test.advance("5s")
        (status,) = (test._control.state[key] for key in test._control.state)
        assert test.state(test.erp) == "closed"
        assert (status["state"], status["halted_keys"], len(status["halted"])) == ("halted", 7, 5)
        (halted,) = (one for one in status["halted"] if one["key"] == "a")
        assert (halted["id"], halted["times"]) == ("a/1", 1)
        assert halted["place"].startswith("sales.erp.inbox/")
        assert halted["since"].startswith("2026-01-01T00:00:00")
        assert halted["error"].startswith("Rejected: ")
        for letter in test.dead_letters(test.erp):
            test.release(letter, action)
        test.run_until_idle()
        test.advance("1m")
        assert not [key for key in test._control.state if key.startswith("status/")]


@pytest.mark.parametrize(("action", "rest"), [("retry", ["a/1", "a/2"]), ("discard", ["a/2"])])
@pytest.mark.parametrize("crash", [False, True])
def test_a_decision_lets_a_halted_key_go_on(action: str, rest: list[str], crash: bool) -> None:
    with ErpTest(on_dead="halt") as test:
        test.script.answers(422)
        test.send("a", "a")
        test.advance("1m")
        test.release(*test.dead_letters(test.erp), action)
        if crash:
            test.crash()
        test.run_until_idle()
        assert test.arrived == rest


def test_a_decision_stands_until_what_came_of_it_is_committed() -> None:
    with ErpTest(on_dead="halt") as test:
        test.script.answers(422)
        test.send("a", "a")
        test.advance("1s")
        test.release(*test.dead_letters(test.erp), "discard")
        test.advance("59050ms")  # it is discarded, and not committed
        test.crash()
        test.run_until_idle()
        assert test.arrived == ["a/2", "a/2"]
        test.advance("1m")
        assert not [key for key in test._control.state if key.startswith("release/")]


def test_a_decision_is_about_one_death() -> None:
    """A decision that was obeyed, and is there still, moves no event that has died anew."""
    with ErpTest(on_dead="halt") as test:
        test.script.answers(422, times=2)
        test.send("a", "a")
        test.advance("1m")
        (first,) = test.dead_letters(test.erp)
        test.release(first, "retry")
        test.advance("2m")
        _, second = test.dead_letters(test.erp)
        test.release(first, "retry")
        test.advance("5m")
        assert ids(test.script.attempts) == ["a/1", "a/1"]
        test.release(second, "discard")
        test.run_until_idle()
        assert test.arrived == ["a/2"]


def test_one_that_is_retried_by_hand_is_halted_no_more() -> None:
    """It has its tiers again, and a second death is told as the first was."""
    with ErpTest(on_dead="halt") as test:
        test.script.answers(422).answers(500).answers(422)
        test.send("a", "a")
        test.advance("1m")
        test.release(*test.dead_letters(test.erp), "retry")
        test.advance("5m")
        assert [attempt.number for attempt in test.script.attempts] == [1, 2, 3]
        assert len(test.dead_letters(test.erp)) == 2
