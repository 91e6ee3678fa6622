"""A destination's arguments as its policy: what each becomes, what cannot be, what contradicts."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from trunkline import (
    Alert,
    CircuitBreaker,
    ConfigurationError,
    DeadLetterLimit,
    Flow,
    Params,
    Rejected,
    Retry,
    Retryable,
    System,
    Unavailable,
)
from trunkline.connectors.base import Sink
from trunkline.streams.flow.policy import (
    NONE_BY_DEFAULT,
    DestinationOptions,
    Limits,
    Policy,
    parse_policy,
)

ERP = System("erp", rate="50/s")

EVERYTHING: dict[str, Any] = {
    "order": "none",
    "retry": Retry("1s", "1m", on=[409]),
    "delay": "5m",
    "on_dead": "continue",
    "outage": "tiers",
    "reject": [422, KeyError],
    "breaker": CircuitBreaker(failures=3),
    "maintenance": ["Sun 02:00 2h Europe/Rome", "30 4 * * * 10m UTC"],
    "rate": "120/m",
    "concurrent": 10,
    "batch": 100,
    "linger": "50ms",
    "timeout": "5s",
    "system": ERP,
    "dead_letter_limit": DeadLetterLimit(share=0.2),
    "alert": Alert(lag="1h"),
}


def right(**arguments: Any) -> Policy:
    policy, wrong = parse_policy(arguments)
    assert wrong == []
    return policy


def wrong(**arguments: Any) -> str:
    """What is wrong with an argument, or several together."""
    (message,) = parse_policy(arguments)[1]
    return message


def test_nothing_given_is_a_safe_policy() -> None:
    policy = right()
    assert policy == Policy()
    assert (policy.order, policy.retry, policy.delay) == ("key", Retry.DEFAULT, 0)
    assert (policy.on_dead, policy.outage, policy.reject) == ("continue", "hold", ())
    assert (policy.breaker, policy.maintenance, policy.dead_letter_limit) == (
        CircuitBreaker(),
        (),
        None,
    )
    assert (policy.limits, policy.system, policy.alert) == (Limits(), None, Alert())


def test_everything_can_be_given() -> None:
    assert EVERYTHING.keys() == get_type_hints(DestinationOptions).keys()
    policy = right(**EVERYTHING)
    assert (policy.order, policy.on_dead, policy.outage) == ("none", "continue", "tiers")
    assert (policy.delay, policy.reject) == (300, (422, KeyError))
    assert policy.limits == Limits(rate=2, concurrent=10, batch=100, linger=0.05, timeout=5)
    assert [str(window) for window in policy.maintenance] == EVERYTHING["maintenance"]
    for name in ("retry", "breaker", "system", "dead_letter_limit", "alert"):
        assert getattr(policy, name) is EVERYTHING[name]


def test_none_is_as_good_as_nothing_where_nothing_is_what_there_is_by_default() -> None:
    """``maintenance=None if env == "test" else …``. But breaker=None would not mean the breaker
    that a destination has by default."""
    assert right(**dict.fromkeys(NONE_BY_DEFAULT)) == Policy()
    assert {"maintenance", "rate", "system", "delay", "reject"} <= NONE_BY_DEFAULT
    for name in EVERYTHING.keys() - NONE_BY_DEFAULT:
        assert wrong(**{name: None}).startswith(f"{name}: None ")


def test_one_window_is_a_text() -> None:
    (window,) = right(maintenance="Sun 02:00 2h Europe/Rome").maintenance
    assert str(window) == "Sun 02:00 2h Europe/Rome"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("order", "keys", "'keys' is not 'key' or 'none'"),
        ("order", None, "None is not 'key' or 'none'"),
        ("order", [], "[] is not 'key' or 'none'"),
        ("on_dead", "stop", "'stop' is not 'continue' or 'halt'"),
        ("outage", "wait", "'wait' is not 'hold' or 'tiers'"),
        ("retry", "10s", "'10s' is no Retry: write Retry('10s', '1m')"),
        ("retry", Retry, "<class 'trunkline.streams.flow.retry.Retry'> is no Retry"),
        ("delay", "5 minutes", "'5 minutes' is not a duration"),
        ("delay", "-5m", "'-5m' is not a duration"),
        ("linger", 0.05, "0.05 is not a duration"),
        ("timeout", "0s", "'0s' is no time at all"),
        ("rate", "-5/s", "'-5/s' is not a rate"),
        ("rate", "0/s", "the rate '0/s' lets nothing through"),
        ("rate", 50, "50 is not a rate"),
        ("concurrent", 0, "0 is not a whole number from 1 on"),
        ("batch", -1, "-1 is not a whole number from 1 on"),
        ("batch", "100", "'100' is not a whole number"),
        ("batch", True, "True is not a whole number"),
        ("reject", 422, "422 is no list"),
        ("reject", "422", "'422' is no list"),
        ("reject", [200], "200 is neither an HTTP status from 300 to 599 nor"),
        ("reject", [KeyError()], "KeyError() is neither"),
        ("maintenance", "Sun 02:00 2h", "it has no time zone"),
        ("maintenance", "Sun 02:00 2h Moon/Base", "no time zone 'Moon/Base'"),
        ("maintenance", "daily 02:00 24h UTC", "it must be shorter than its period"),
        ("maintenance", "99 2 * * * 1h UTC", "'99 2 * * *' is not a cron expression"),
        ("maintenance", [7], "[7]: write 'Sun 02:00 2h Europe/Rome', or several"),
        ("breaker", 5, "5 is no CircuitBreaker: write CircuitBreaker()"),
        ("system", "erp", "'erp' is no System: write System('erp', rate='50/s')"),
        ("dead_letter_limit", 0.2, "0.2 is no DeadLetterLimit"),
        ("alert", "10m", "'10m' is no Alert"),
    ],
)
def test_a_wrong_argument_is_told_by_its_name_and_counts_as_not_given(
    name: str, value: Any, message: str
) -> None:
    policy, said = parse_policy({name: value})
    assert len(said) == 1
    assert said[0].startswith(f"{name}: ")
    assert message in said[0]
    assert policy == Policy()


def test_an_argument_that_is_not_there_is_told_with_those_that_are() -> None:
    message = wrong(retries=Retry("1s"))
    assert message.startswith("retries= is no argument: there are order, retry, delay, ")


def test_all_that_is_wrong_is_told_at_once() -> None:
    _, said = parse_policy({"rate": "fast", "batch": 0, "nonsense": 1})
    assert [message.split(":")[0] for message in said] == [
        "nonsense= is no argument",
        "rate",
        "batch",
    ]


# What is right by itself and wrong together.


def test_a_halted_key_needs_an_order() -> None:
    right(on_dead="halt")
    assert wrong(on_dead="halt", order="none").endswith("needs order='key'")


@pytest.mark.parametrize(("cause", "named"), [(409, "409"), (KeyError, "KeyError")])
def test_a_cause_is_rejected_or_tried_again(cause: Any, named: str) -> None:
    right(reject=[409], retry=Retry("1s", on=[KeyError, ValueError]))
    message = wrong(reject=[cause], retry=Retry("1s", on=[cause]))
    assert message == f"{named} is in reject= and in the retry's on=: choose one"


@pytest.mark.parametrize("cause", [Unavailable, Exception, BaseException])
def test_an_outage_must_not_empty_the_inbox_into_the_dlq(cause: Any) -> None:
    right(reject=[503, TimeoutError, Retryable, Rejected])
    assert "every outage" in wrong(reject=[cause])
    right(retry=Retry("1s", on=[cause]))


# In a flow.


def destination(**arguments: Any) -> Any:
    flow = Flow("orders", Params)

    @flow.destination(**arguments)
    def erp(env: Params) -> Sink[Any]:
        raise AssertionError("no builder runs")

    return erp


def test_a_destination_has_a_topic_for_each_delay() -> None:
    assert destination().tiers == (
        "orders.erp.retry.10s",
        "orders.erp.retry.1m",
        "orders.erp.retry.10m",
    )
    assert destination(retry=Retry("500ms", "1.5h")).tiers == (
        "orders.erp.retry.500ms",
        "orders.erp.retry.1.5h",
    )


def test_a_flow_has_a_topic_for_commands_and_one_for_the_record() -> None:
    flow = Flow("orders", Params)
    assert (flow.control, flow.audit) == ("orders.control", "orders.audit")


def test_mistakes_wait_for_the_check_with_their_place() -> None:
    wrong_one = destination(rate="fast", batch=0)
    assert wrong_one.policy == Policy()
    problems = wrong_one.flow.problems
    assert [problem.place for problem in problems] == [wrong_one.place] * 2
    assert problems[0].message.startswith("destination erp: rate: 'fast' is not a rate")


def test_a_policy_is_one_line() -> None:
    assert str(Policy()) == "order key, retry 10s 1m 10m"
    given = {
        "rate": "50/s",
        "system": ERP,
        "reject": [422, KeyError],
        "dead_letter_limit": DeadLetterLimit(),
        "batch": 5,
    }
    assert str(right(**given)) == (
        "order key, retry 10s 1m 10m, rate 50/s, system erp, reject 422 KeyError, batch 5"
    )


def test_what_a_policy_is_made_of_refuses_nonsense_where_it_stands() -> None:
    with pytest.raises(ConfigurationError):
        CircuitBreaker(failures=0)
    with pytest.raises(ConfigurationError):
        DeadLetterLimit(share=2)
