"""What a destination names as an outage is held; one event that is answered so is not."""

from __future__ import annotations

from typing import Any

import pytest

from delivery_kit import ErpTest
from trunkline import Retry
from trunkline.connectors.http.answers import failure
from trunkline.errors import Rejected, Retryable, Unavailable
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.flow.policy import parse_policy


def classified(error: Exception, **arguments: Any) -> type[Exception]:
    policy, wrong = parse_policy(arguments)
    assert wrong == []
    return type(ErrorClassifier(policy).classify(error))


def test_statuses_and_classes_that_are_named_mean_down() -> None:
    named = [500, 404, ConnectionError]
    assert classified(Retryable("500", status=500), outage=named) is Unavailable
    assert classified(Rejected("404", status=404), outage=named) is Unavailable
    assert classified(ConnectionResetError("away"), outage=named) is Unavailable
    assert classified(Retryable("501", status=501), outage=named) is Retryable
    assert classified(Retryable("500", status=500), outage="hold") is Retryable


def test_a_status_is_more_specific_than_a_class() -> None:
    error = Unavailable("503", status=503)
    assert classified(error, outage=[Unavailable], reject=[503]) is Rejected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"outage": "maybe"}, "nor a list of what means down"),
        ({"outage": [200]}, "neither an HTTP status"),
        ({"outage": [500], "reject": [500]}, "500 is in outage= and in reject=: choose one"),
        (
            {"outage": [500], "retry": Retry("1s", on=[500])},
            "500 is in outage= and in the retry's on=: choose one",
        ),
    ],
)
def test_what_cannot_be_is_told_once(arguments: dict[str, Any], says: str) -> None:
    _, wrong = parse_policy(arguments)
    assert len(wrong) == 1
    assert says in wrong[0]


@pytest.mark.parametrize("status", [502, 503, 504, 520, 522, 524, 527, 530])
def test_a_gateway_whose_origin_is_away_is_an_outage(status: int) -> None:
    assert type(failure(status, "x")) is Unavailable
    assert type(failure(500, "x")) is Retryable


def test_a_500_for_everything_is_held_where_it_is_named() -> None:
    with ErpTest(retry=Retry("1s"), outage=[500]) as test:
        test.script.rejects(lambda e: True, 500)
        test.send(*"abcdefgh")
        test.advance("10m")
        assert {attempt.number for attempt in test.script.attempts} == {1}
        test.script.recovers()
        test.run_until_idle()
        assert len(test.arrived) == 8
        assert test.dead_letters(test.erp) == []


def test_a_500_for_one_event_is_that_events_though_it_is_named() -> None:
    with ErpTest(retry=Retry("1s"), outage=[500]) as test:
        test.script.rejects(lambda e: e.key == "bad", 500)
        test.send("bad")
        for number in range(60):
            test.send(*(f"{key}{number}" for key in "abcdefghij"))
            test.advance("1s")
        assert len(test.arrived) == 600
        assert [letter.event_id for letter in test.dead_letters(test.erp)] == ["bad/1"]
