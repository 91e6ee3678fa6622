"""Deliveries through an enrichment, in virtual time: order, retries, outages, dead letters."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat
from typing import Any

import httpx
import pytest

from enriching_kit import EnrichTest, Prices, enriching
from trunkline import CircuitBreaker, Rejected, Retry, Retryable, Unavailable
from trunkline.headers import TL_TRACEBACK
from trunkline.testing import FlowTest

FAST = {"breaker": CircuitBreaker(open="5s", longest="10s", slow_start="0s")}


@pytest.fixture
def prices() -> Prices:
    return Prices()


def test_the_sink_gets_what_the_function_returns(prices: Prices) -> None:
    with EnrichTest(prices) as test:
        test.send("a", "b")
        test.run_until_idle()
        assert test.script.state == {
            "a": {"id": "a!", "status": "priced", "total_cents": 100},
            "b": {"id": "b!", "status": "priced", "total_cents": 100},
        }
        assert test.arrived == ["a/1", "b/2"]
        assert prices.opened == 1
        assert prices.closed == 0
    assert prices.closed == 1
    assert test.metric("trunkline_enrichments_total", outcome="enriched") == 2
    assert test.metric("trunkline_enrichment_seconds_count") == 2


def test_what_is_not_there_yet_goes_to_a_tier_and_its_key_waits(prices: Prices) -> None:
    answers: dict[str, Any] = {"a": Retryable("no such customer yet")}
    prices.does = lambda id: answers.get(id, 100)
    with EnrichTest(prices) as test:
        test.send("a", "b", "a")
        test.advance("5s")
        assert test.arrived == ["b/2"]
        assert [(wait.id, wait.failures) for wait in test.waiting(test.erp)][-1] == ("a/1", 1)
        answers.clear()
        test.run_until_idle()
        assert test.arrived == ["b/2", "a/1", "a/3"]
        assert len({attempt.event.idempotency_key for attempt in test.script.attempts}) == 3
    assert prices.asked == ["a", "b", "a", "a"]


def test_a_retry_asks_again_and_its_idempotency_key_stays(prices: Prices) -> None:
    answers = iter([100, 120])
    prices.does = lambda id: next(answers)
    with EnrichTest(prices) as test:
        test.script.answers(500)
        test.send("a")
        test.run_until_idle()
        one, other = test.script.attempts
        assert [one.event.data["total_cents"], other.event.data["total_cents"]] == [100, 120]
        assert one.event.idempotency_key == other.event.idempotency_key


def test_what_a_client_awaits_while_it_opens_may_be_cancelled(prices: Prices) -> None:
    lost = [True]

    def closing() -> None:
        if lost and lost.pop():
            raise asyncio.CancelledError

    prices.opens = closing
    with EnrichTest(prices) as test:
        test.send("a")
        test.run_until_idle("1h")
        assert test.arrived == ["a/1"]


@pytest.mark.parametrize("batch", [1, 10])
def test_what_the_function_awaits_may_be_cancelled(prices: Prices, batch: int) -> None:
    """By a pool that is closed, say: the event is tried again, and its sender goes on."""
    lost = [True]

    def closing(id: str) -> int:
        if id == "a" and lost and lost.pop():
            raise asyncio.CancelledError
        return 100

    prices.does = closing
    with EnrichTest(prices, batch=batch) as test:
        test.send("a", "b")
        test.run_until_idle()
        assert test.arrived == ["b/2", "a/1"]


@pytest.mark.parametrize("batch", [1, 10])
def test_rejected_is_a_dead_letter_and_its_key_goes_on(prices: Prices, batch: int) -> None:
    answers = chain([Rejected("no customer of ours")], repeat(100))
    prices.does = lambda id: next(answers) if id == "a" else 100
    with EnrichTest(prices, batch=batch) as test:
        test.send("a", "b", "a")
        test.run_until_idle()
        assert sorted(test.arrived) == ["a/3", "b/2"]
        (letter,) = test.dead_letters(test.erp)
        assert (letter.key, letter.error) == (b"a", "Rejected")
        assert letter.message == "no customer of ours"
        assert "in the enrichment priced" in letter.header(TL_TRACEBACK)


def test_a_halted_key_waits(prices: Prices) -> None:
    answers: dict[str, Any] = {"a": Rejected("no customer of ours")}
    prices.does = lambda id: answers.get(id, 100)
    with EnrichTest(prices, batch=10, on_dead="halt") as test:
        test.send("a", "a", "b")
        test.advance("1s")
        assert test.arrived == ["b/3"]
        answers.clear()
        (letter,) = test.dead_letters(test.erp)
        test.release(letter)
        test.run_until_idle()
        assert test.arrived == ["b/3", "a/1", "a/2"]


def test_what_is_no_value_of_the_sinks_type_is_a_dead_letter(prices: Prices) -> None:
    prices.does = lambda id: "much"
    with EnrichTest(prices) as test:
        test.send("a")
        test.run_until_idle()
        (letter,) = test.dead_letters(test.erp)
        assert letter.error == "SerializationError"
        assert "total_cents" in letter.message
        assert not test.script.attempts


def test_an_unforeseen_error_is_retried(prices: Prices) -> None:
    prices.does = lambda id: KeyError("price")
    with EnrichTest(prices) as test:
        test.send("a")
        test.run_until_idle()
        (letter,) = test.dead_letters(test.erp)
        assert (letter.error, letter.attempts) == ("KeyError", 3)


def test_what_returns_none_is_dropped(prices: Prices) -> None:
    prices.does = lambda id: None if id == "a" else 100
    with EnrichTest(prices, batch=10) as test:
        test.send("a", "b", "a")
        test.run_until_idle()
        assert test.arrived == ["b/2"]
        assert not test.dead_letters(test.erp)
    assert test.metric("trunkline_enrichments_total", outcome="dropped") == 2


def test_a_delete_passes_as_it_is(prices: Prices) -> None:
    with EnrichTest(prices) as test:
        test.publish(test.orders, None, key="a")
        test.run_until_idle()
        assert [(a.key, a.change) for a in test.script.delivered] == [("a", "delete")]
    assert not prices.asked


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize(
    "error",
    [
        *(Unavailable("503"), httpx.ConnectError("refused"), TimeoutError()),
        *(ConnectionResetError(), ExceptionGroup("", [KeyError("x"), Unavailable("503")])),
    ],
    ids=repr,
)
def test_an_outage_holds_and_asks_seldom(prices: Prices, batch: int, error: Exception) -> None:
    prices.does = lambda id: error
    with EnrichTest(prices, batch=batch, enrich=FAST) as test:
        test.send(*(f"k{number}" for number in range(50)))
        test.advance("10m")
        assert not test.script.attempts
        assert not test.dead_letters(test.erp)
        # A few until it opens (a batch asks for its events side by side), then one each 10 seconds.
        assert len(prices.asked) < 60 + 10 * batch
        assert test.state(test.erp) in ("open", "half-open")
        prices.does = lambda id: 100
        test.advance("30s")
        assert len(test.arrived) == 50
        assert all(attempt.event.header("tl_attempt") == "" for attempt in test.script.attempts)
        assert test.state(test.erp) == "closed"


def test_the_breaker_is_not_the_sinks(prices: Prices) -> None:
    """A destination that is down is not known by the system that the enrichment asks, nor the
    other way round."""
    with EnrichTest(prices, enrich=FAST) as test:
        admission = test._delivery(test.erp).admission
        enrichment = admission.enrichment.breaker
        assert enrichment is not None
        test.script.down()
        test.send("a")
        test.advance("1m")
        assert (admission.breaker.state == "closed", enrichment.state) == (False, "closed")
        test.script.up()
        test.run_until_idle()
        test.advance("30s")
        prices.does = lambda id: Unavailable("gone")
        test.send("b")
        test.advance("1m")
        assert (admission.breaker.state, enrichment.state == "closed") == ("closed", False)


def test_a_system_that_has_enough_is_asked_more_slowly_and_no_other_attempt_is_used_up(
    prices: Prices,
) -> None:
    enough = iter([Retryable("slow down", status=429, after=30)] * 3)
    prices.does = lambda id: next(enough, 100)
    with EnrichTest(prices, batch=50, enrich={"concurrent": 1}) as test:
        test.send(*(f"k{number}" for number in range(50)))
        for seconds, asked in [(0, 1), (29, 1), (31, 2), (62, 3)]:
            test.advance(f"{seconds - test.elapsed:.0f}s")
            assert (len(prices.asked), test.state(test.erp)) == (asked, "throttled")
        assert test.script.state == {}
        waiting = test.waiting(test.erp)
        assert sum(wait.failures for wait in waiting) == 3, "one each of those that were refused"
        test.run_until_idle()
        assert len(test.script.state) == 50
        assert test.dead_letters(test.erp) == []
        assert test.state(test.erp) == "closed"


def test_the_sinks_429_and_that_of_the_system_that_is_asked_are_two(prices: Prices) -> None:
    with EnrichTest(prices) as test:
        admission = test._worker.deliveries["erp"].admission
        assert admission.enrichment is not None
        test.script.answers(429, retry_after="30")
        test.send("a")
        test.advance("1s")
        now = test._loop.time()
        assert admission.throttle.permits(now) == 0
        assert admission.enrichment.throttle.permits(now) > 0
        test.run_until_idle()
        prices.does = lambda id: Retryable("slow down", status=429, after=30)
        test.send("b")
        test.advance("1s")
        now = test._loop.time()
        assert admission.throttle.permits(now) > 0
        assert admission.enrichment.throttle.permits(now) == 0
        test.force(test.erp)
        assert admission.enrichment.throttle.permits(test._loop.time()) > 0


def test_the_status_names_the_enrichment(prices: Prices) -> None:
    prices.does = lambda id: httpx.ConnectError("refused")
    with EnrichTest(prices, enrich=FAST) as test:
        test.send("a")
        test.advance("1m")
        (status,) = [v for k, v in test._control.state.items() if k.startswith("status/erp/")]
        assert status["state"] == "open"
        assert status["why"] == "enrichment priced: ConnectError: refused"


def test_with_outage_tiers_its_outages_walk_the_tiers(prices: Prices) -> None:
    prices.does = lambda id: Unavailable("gone")
    with EnrichTest(prices, outage="tiers") as test:
        test.send("a")
        test.run_until_idle()
        (letter,) = test.dead_letters(test.erp)
        assert letter.attempts == 3


def test_the_policys_overrides_concern_it_too(prices: Prices) -> None:
    class Gone(Exception):
        pass

    prices.does = lambda id: Gone("for ever")
    with EnrichTest(prices, reject=[Gone]) as test:
        test.send("a")
        test.run_until_idle()
        assert len(prices.asked) == 1
        assert len(test.dead_letters(test.erp)) == 1


@pytest.mark.parametrize("batch", [1, 10])
def test_one_poison_event_takes_nobody_with_it(prices: Prices, batch: int) -> None:
    prices.does = lambda id: Unavailable("502") if id == "bad" else 100
    with EnrichTest(prices, batch=batch, retry=Retry("10s")) as test:
        test.send("bad")
        for number in range(200):
            test.send(f"k{number}")
            test.advance("1s")
        assert len(test.arrived) == 200
        (letter,) = test.dead_letters(test.erp)
        assert letter.key == b"bad"


def test_an_event_that_poisons_the_sink_is_found_behind_an_enrichment(prices: Prices) -> None:
    with EnrichTest(prices, retry=Retry("10s")) as test:
        test.script.rejects(lambda event: event.key == "bad", 503)
        test.send("bad")
        for number in range(200):
            test.send(f"k{number}")
            test.advance("1s")
        assert len(test.arrived) == 200
        (letter,) = test.dead_letters(test.erp)
        assert letter.key == b"bad"


def test_a_batch_is_asked_for_side_by_side_and_no_more_than_said(prices: Prices) -> None:
    prices.takes = 1.0
    with EnrichTest(prices, batch=100, enrich={"concurrent": 5}) as test:
        test.send(*(f"k{number}" for number in range(20)))
        test.advance("5s")
        assert len(test.arrived) == 20
    assert prices.most == 5


def test_a_call_that_hangs_is_an_outage(prices: Prices) -> None:
    prices.takes = 3600.0
    with EnrichTest(prices, enrich={"timeout": "2s", **FAST}) as test:
        test.send("a")
        test.advance("1m")
        prices.takes = 0.0
        test.run_until_idle("1m")
        assert test.arrived == ["a/1"]


def test_answers_are_kept_for_a_while(prices: Prices) -> None:
    answers = iter([Retryable("not yet"), *range(100, 200)])
    prices.does = lambda id: next(answers)
    with EnrichTest(prices, enrich={"cache": "10m"}) as test:
        test.send("a")
        test.advance("1m")
        test.send("a")
        test.advance("1m")
        assert [one.event.data["total_cents"] for one in test.script.delivered] == [100, 100]
        test.advance("9m")
        test.send("a")
        test.advance("1m")
        assert test.script.state["a"] == {"id": "a!", "status": "priced", "total_cents": 101}
    assert prices.asked == ["a", "a", "a"]
    assert test.metric("trunkline_enrichments_total", outcome="cached") == 1
    assert test.metric("trunkline_enrichments_total", outcome="failed") == 1


def test_a_client_that_cannot_be_opened_holds_this_destination(prices: Prices) -> None:
    def refused() -> None:
        raise OSError("no route to host")

    prices.opens = refused
    with EnrichTest(prices) as test:
        test.send("a")
        test.advance("1m")
        step = test._delivery(test.erp).step
        assert step.open_failure == (
            "enrichment priced: its client prices cannot be opened: OSError: no route to host"
        )
        prices.opens = lambda: None
        test.run_until_idle()
        assert test.arrived == ["a/1"]


def test_a_crash_repeats_and_loses_nothing(prices: Prices) -> None:
    prices.takes = 1.0
    with EnrichTest(prices, batch=5) as test:
        test.send("a", "b", "a")
        test.advance("500ms")
        test.crash()
        test.run_until_idle()
        assert [id for id in test.arrived if id[0] == "a"] == ["a/1", "a/3"]
        assert "b/2" in test.arrived


def test_a_client_of_the_tests(prices: Prices) -> None:
    other = Prices()
    with EnrichTest(prices) as usual:
        usual.send("a")
    flow = enriching(prices)
    with FlowTest(flow, clients={Prices: other}) as test:
        test.publish(flow.topics[0], {"id": "z", "status": "paid", "total_cents": 1})
        test.run_until_idle()
    assert other.asked == ["z"]
    assert prices.asked == ["a"]
