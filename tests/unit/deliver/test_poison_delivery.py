"""One event that its destination cannot bear, among others that it takes: through the whole step,
in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from delivery_kit import ErpTest, ids
from trunkline import Event, Retry, Retryable, Unavailable
from trunkline.schemas.commerce import Order

Behaviour = Callable[[Sequence[Event[Order]]], Awaitable[None]]
GOOD = [f"good{number}" for number in range(40)]


def with_poison(*keys: str, error: Exception | None = None) -> Behaviour:
    """Whatever call has an event of these keys fails, and takes all of its events with it. None:
    it is never answered. Other calls take 10 ms."""

    async def does(events: Sequence[Event[Order]]) -> None:
        if any(event.key in keys for event in events):
            if error is None:
                await asyncio.sleep(3600)
            else:
                raise error
        await asyncio.sleep(0.01)

    return does


ANSWERS = {
    "502": Unavailable("502", status=502),
    "reset": Unavailable("connection reset"),
    "in a while": Unavailable("503", status=503, after=5),
    "never": None,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_poison_event_ends_in_the_dead_letter_queue_and_all_others_flow(answer: str) -> None:
    with ErpTest(retry=Retry("1s", "2s", "5s"), timeout="2s") as test:
        test.script.does(with_poison("poison", error=ANSWERS[answer]))
        test.send("poison", *GOOD)
        for _ in range(300):
            test.send(*GOOD[:5])
            test.advance("1s")
        assert len(test.arrived) == len(GOOD) + 1500
        assert {attempt.number for attempt in test.script.delivered} == {1}
        assert [letter.event_id for letter in test.dead_letters(test.erp)] == ["poison/1"]
        assert test.dead_letters(test.erp)[0].attempts == 4
        assert test.state(test.erp) == "closed"


def test_what_follows_a_poison_event_under_its_key_keeps_its_order() -> None:
    with ErpTest(retry=Retry("1s", "2s")) as test:
        test.script.rejects(lambda e: e.id == "k/1", Unavailable("502"))
        test.send("k", "k", *GOOD, "k")
        for _ in range(100):
            test.send(*GOOD[:10])
            test.advance("1s")
        assert [id for id in test.arrived if id.startswith("k/")] == ["k/2", "k/43"]
        assert [letter.event_id for letter in test.dead_letters(test.erp)] == ["k/1"]


def test_an_event_that_is_held_is_told_of() -> None:
    """The others are delivered, and then nobody else comes whose calls could blame it."""
    with ErpTest() as test:
        test.script.does(with_poison("poison", error=ANSWERS["502"]))
        test.send("poison", *GOOD)
        test.advance("1m")
        (status,) = (test._control.state[key] for key in test._control.state)
        assert test.state(test.erp) == "closed"
        (held,) = status["held"]
        assert (status["state"], held["id"], held["key"]) == ("holding", "poison/1", "poison")
        assert held["place"].startswith("sales.erp.inbox/")
        assert held["times"] > 5
        assert held["since"].startswith("2026-01-01T00:00:00")
        assert "502" in held["error"]
        test.script.recovers()
        test.advance("1m")
        assert test._control.state == {}, "all is well"


def test_good_events_do_not_wait_for_a_poison_event() -> None:
    with ErpTest() as test:
        test.script.does(with_poison("poison", error=ANSWERS["502"]))
        test.send("poison", *GOOD)
        test.advance("1s")
        assert len(test.arrived) == 40


def test_a_poison_event_that_was_alone_does_not_keep_the_breaker_open() -> None:
    with ErpTest() as test:
        test.script.does(with_poison("poison", error=ANSWERS["502"]))
        test.send("poison")
        test.advance("10m")
        assert test.state(test.erp) in ("open", "half-open")
        assert {attempt.number for attempt in test.script.attempts} == {1}, "it may be an outage"
        test.send("good")
        test.advance("13s")
        assert test.arrived == ["good/2"], "the next probe is the event that has not failed"
        for number in range(60):
            test.send(*(f"more{number}-{key}" for key in "abcdefghij"))
            test.advance("20s")
            assert len(test.arrived) == 10 * number + 11
        assert [letter.event_id for letter in test.dead_letters(test.erp)] == ["poison/1"]


def test_many_poison_events_do_not_keep_the_breaker_open_either() -> None:
    poison = [f"poison{number}" for number in range(10)]
    with ErpTest(retry=Retry("1s", "2s")) as test:
        test.script.does(with_poison(*poison, error=ANSWERS["502"]))
        test.send(*poison)
        test.advance("1m")
        for number in range(200):
            test.send(*(f"{key}-{number}" for key in GOOD[:10]))
            test.advance("1s")
        assert len(test.arrived) == 2000
        assert len(test.dead_letters(test.erp)) == 10


@pytest.mark.parametrize("heads", [1, 5])
def test_poison_events_with_nothing_but_their_own_keys_behind_them_wait_for_the_answers_of_others(
    heads: int,
) -> None:
    """Nothing tells them from an outage. Ten answers for each of them, or a few more, are enough
    (docs/breaker.md), also where these come one by one and each has its chance to fail before."""
    poison = [f"poison{number}" for number in range(heads)]
    with ErpTest(retry=Retry("1s", "2s", "5s")) as test:
        test.script.rejects(lambda e: int(e.id.rpartition("/")[2]) <= heads, Unavailable("502"))
        test.send(*poison, *poison)
        test.advance("3m")
        assert test.arrived == []
        assert {attempt.number for attempt in test.script.attempts} == {1}
        for number in range(12 * heads + 10):
            test.send(f"other{number}")
            test.advance("6s")
        assert len(test.arrived) == 12 * heads + 10 + heads
        assert sorted(w.shown_key for w in test.dead_letters(test.erp)) == poison


def test_a_poison_event_does_not_take_its_batch_with_it() -> None:
    with ErpTest(batch=50, retry=Retry("1s", "2s")) as test:
        test.script.does(with_poison("poison", error=ANSWERS["reset"]))
        test.send(*GOOD, "poison", *(f"more{number}" for number in range(200)))
        for number in range(30):
            test.send(f"late{number}")
            test.advance("1s")
        assert len(test.arrived) == 270
        assert {attempt.number for attempt in test.script.delivered} == {1}
        assert [letter.event_id for letter in test.dead_letters(test.erp)] == ["poison/41"]


def test_in_an_outage_of_everything_nothing_is_blamed() -> None:
    """Also not what failed before it while others were answered."""
    with ErpTest() as test:
        test.script.does(with_poison("unlucky", error=ANSWERS["502"]))
        test.send("unlucky", *GOOD)
        test.advance("1s")
        test.script.recovers()
        test.script.down_for("1h")
        for number in range(60):
            test.send(f"more{number}", *GOOD[:3])
            test.advance("1m")
        test.run_until_idle()
        assert {attempt.number for attempt in test.script.attempts} == {1}
        assert test.dead_letters(test.erp) == []
        assert len(test.arrived) == 41 + 240


def test_with_outage_tiers_every_event_burns_its_attempts_as_it_says() -> None:
    with ErpTest(retry=Retry("1s"), outage="tiers") as test:
        test.script.does(with_poison("poison", error=ANSWERS["502"]))
        test.send("poison", *GOOD)
        test.run_until_idle()
        numbers = [attempt.number for attempt in test.script.attempts if attempt.key == "poison"]
        assert numbers == [1, 2]


def test_an_event_that_takes_for_ever_stops_its_own_partition_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"step.MAX_OPEN": 40, "backpressure.MAX_OPEN": 40, "backpressure.MAX_OFFSET_SPAN": 80}
    for name, size in sizes.items():
        monkeypatch.setattr(f"trunkline.streams.deliver.{name}", size)
    with ErpTest(partitions=2) as test:
        test.script.does(with_poison("poison"))
        test.send("poison")
        test.backbone.batch = 10
        for _ in range(50):
            test.send(*GOOD)
            test.advance("1s")
        inbox = test.backbone.records("sales.erp.inbox")
        stuck = next(m.partition() for m in inbox if m.key() == b"poison")
        elsewhere = [m for m in inbox if m.partition() != stuck]
        here = len(test.arrived) - len(elsewhere)
        assert len(elsewhere) > 500
        assert 55 <= here <= 100, "up to what a commit can tell"
        test.script.recovers()


def test_an_answer_that_blames_the_event_itself_is_none_of_this() -> None:
    with ErpTest(retry=Retry("1s")) as test:
        test.script.rejects(lambda e: e.key == "bad", Retryable("500"))
        test.send("bad", *GOOD)
        test.run_until_idle()
        numbers = [attempt.number for attempt in test.script.attempts if attempt.key == "bad"]
        assert numbers == [1, 2]
        assert "bad/1" not in ids(test.script.delivered)


def test_a_poison_event_that_asks_for_41_days_stops_the_others_for_two_minutes_at_most() -> None:
    """Not if the destination says so of another event as well: see the breaker's own tests."""
    with ErpTest() as test:
        asks = Unavailable("503", status=503, after=3_600_000)
        test.script.does(with_poison("poison", error=asks))
        test.send("poison", *GOOD)
        test.advance("150s")
        assert len(test.arrived) == 40
        for _ in range(300):
            test.send(*GOOD[:5])
            test.advance("1s")
        assert len(test.arrived) == 40 + 1500
        assert [(w.key, w.tier) for w in test.waiting(test.erp)] == [("poison", "1m")]
