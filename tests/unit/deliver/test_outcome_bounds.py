"""What a sink raises is anybody's: numbers are bounded, and a failure that cannot be handled ends
its event, never the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from delivery_kit import ErpTest
from trunkline import Event, PartialFailure, Rejected, Retry, Retryable, Unavailable
from trunkline.streams.deliver.failures import bounded_seconds, sound_failure
from trunkline.streams.deliver.outcomes import OutcomeHandler
from trunkline.streams.retry.tiers import due_of, failures_of

HOUR = 3600.0
ODD = [float("inf"), 10**400, 1e300, 99999999999999, float("nan"), -5.0, float("-inf")]


class Mute(Retryable):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Stubborn(Retryable):
    @property
    def after(self) -> float:  # type: ignore[override]
        return float("inf")

    def __init__(self) -> None:
        Exception.__init__(self, "stubborn")


class Sly(Exception):
    @property
    def after(self) -> float:
        raise KeyError("after")


def raises(make: Callable[[], Exception]) -> Callable[[Sequence[Event[Any]]], None]:
    """The first call that has an event of ``a`` fails so."""
    left = [make]

    def does(events: Sequence[Event[Any]]) -> None:
        if left and events[0].key == "a":
            raise left.pop()()

    return does


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(7, 7.0), (0, 0.0), (-1, 0.0), (float("-inf"), 0.0), (None, None), ("10", None)]
    + [(each, HOUR) for each in (float("inf"), 10**400, 1e300, HOUR + 1)]
    + [(float("nan"), None)],
)
def test_seconds_are_bounded(given: object, seconds: float | None) -> None:
    assert bounded_seconds(given, HOUR) == seconds


@pytest.mark.parametrize("after", ODD, ids=lambda after: f"{str(after)[:9]}")
@pytest.mark.parametrize("error", [Retryable, Unavailable])
def test_an_odd_wish_to_wait_is_bounded(error: type[Retryable], after: float) -> None:
    with ErpTest() as test:
        test.script.does(raises(lambda: error("busy", after=after, status=503)))
        test.send("a", "b")
        test.advance("70m")
        assert sorted(test.arrived) == ["a/1", "b/2"]


@pytest.mark.parametrize("after", ODD, ids=lambda after: f"{str(after)[:9]}")
def test_a_429_of_any_wish_pauses_for_a_bounded_time(after: float) -> None:
    with ErpTest() as test:
        test.script.does(
            raises(lambda: PartialFailure({0: Retryable("x", after=after, status=429)}))
        )
        test.send("a", "b")
        test.advance("70m")
        assert sorted(test.arrived) == ["a/1", "b/2"]


def test_the_longest_wait_is_the_policys() -> None:
    with ErpTest(retry=Retry("10s", "1m", max_retry_after="90s")) as test:
        test.script.does(raises(lambda: Retryable("busy", after=1e9)))
        test.send("a")
        test.advance("89s")
        assert test.arrived == []
        test.advance("3s")
        assert test.arrived == ["a/1"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mute("x"),
        Stubborn,
        Sly,
        lambda: PartialFailure({0: "no"}),  # type: ignore[dict-item]
        lambda: PartialFailure({0: Mute("x")}),
        lambda: PartialFailure({0: Sly("x")}),  # type: ignore[dict-item]
    ],
)
def test_a_failure_that_cannot_be_used_ends_its_event_alone(make: Callable[[], Exception]) -> None:
    with ErpTest() as test:
        test.script.does(raises(make))
        test.send("a", "b", "a")
        test.run_until_idle()
        (letter,) = test.dead_letters(test.erp)
        assert letter.event_id == "a/1"
        assert "cannot be used" in letter.message or "no exception" in letter.message
        assert sorted(test.arrived) == ["a/3", "b/2"]


def test_words_that_are_no_utf_8_go_to_a_tier() -> None:
    with ErpTest() as test:
        test.script.does(raises(lambda: Retryable("caf\udce9")))
        test.send("a")
        test.advance("12s")
        assert test.arrived == ["a/1"]


def test_what_fails_while_an_event_is_concluded_ends_the_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(OutcomeHandler, "_history", broken)
    with ErpTest() as test:
        test.script.does(raises(lambda: Retryable("busy")))
        test.send("a", "b", "a")
        test.run_until_idle()
        (letter,) = test.dead_letters(test.erp)
        assert (letter.event_id, letter.error) == ("a/1", "ZeroDivisionError")
        assert sorted(test.arrived) == ["a/3", "b/2"]


def test_a_failure_is_changed_only_where_it_must_be() -> None:
    error = Retryable("busy", after=7)
    assert sound_failure(error, HOUR) is error
    partial = PartialFailure({1: error, 2: Rejected("no")})
    assert sound_failure(partial, HOUR) is partial
    assert partial.failures[1] is error


def event(topic: str, **headers: str) -> Event[Any]:
    named = [(name, text.encode()) for name, text in headers.items()]
    return Event(key="a", value=b"", headers=named, decode=bytes, topic=topic, offset=5)


@pytest.mark.parametrize("junk", ["abc", "-1", "٣", "9" * 40, "0001-01-01T00:00:00", "NaN"])
def test_headers_of_somebody_else_stop_nothing(junk: str) -> None:
    waiting = event("f.erp.retry.10s", tl_due_at=junk, tl_attempt=junk, tl_seq=junk)
    assert due_of(waiting) <= 0.0
    assert (failures_of(waiting), waiting.sequence) == (0, 5)


def test_an_event_of_the_inbox_has_all_its_attempts() -> None:
    assert failures_of(event("f.erp.inbox", tl_attempt="7")) == 0
    assert failures_of(event("f.erp.retry.10s", tl_attempt="7")) == 7


def test_a_topic_full_of_rejected_events_floods_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with ErpTest() as test:
        test.script.does(rejecting)
        test.send(*(f"k{number}" for number in range(500)))
        test.advance("10s")
        assert len(test.dead_letters(test.erp)) == 500
        told = [line for line in caplog.messages if "is dead-lettered" in line]
        assert len(told) == 20
        test.advance("1m")
        test.send("last")
        test.advance("1s")
    assert any("erp: Rejected, dead-lettered: 480 more" in line for line in caplog.messages)


async def rejecting(events: Any) -> None:
    raise Rejected("no")
