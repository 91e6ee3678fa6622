"""What a sink's error means for one event: by itself, and where its destination knows better."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import Retry, errors
from trunkline.connectors.http.answers import failure
from trunkline.errors import (
    DeliveryError,
    PartialFailure,
    RegistryUnavailable,
    Rejected,
    Retryable,
    SerializationError,
    Unavailable,
)
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.flow.policy import Policy, parse_policy


def policy(*, on: Any = (), **arguments: Any) -> Policy:
    parsed, wrong = parse_policy({"retry": Retry("1s", on=on), **arguments})
    assert wrong == []
    return parsed


def classified(error: Exception, **arguments: Any) -> DeliveryError:
    return ErrorClassifier(policy(**arguments)).classify(error)


def raised_from(error: Exception, *causes: Exception) -> Exception:
    """``error`` with a chain of causes."""
    for link, cause in zip((error, *causes), causes, strict=False):
        link.__cause__ = cause
    return error


class Late(TimeoutError):
    """A user's own."""


class Busy(Retryable):
    """A user's own instruction, with a constructor that says nothing to its base."""

    def __init__(self) -> None:
        Exception.__init__(self, "busy")
        self.after = 7.0


# What errors mean by themselves.


@pytest.mark.parametrize("error", [Rejected("no"), Retryable("later"), Unavailable("down"), Busy()])
def test_an_instruction_is_kept_as_it_is(error: DeliveryError) -> None:
    assert classified(error) is error


def test_what_is_no_instruction_is_tried_again_and_keeps_its_traceback() -> None:
    error = KeyError("id")
    found = classified(error)
    assert type(found) is Retryable
    assert str(found) == "KeyError: 'id'"
    assert found.__cause__ is error


@pytest.mark.parametrize("error", [SerializationError("not Avro"), errors.NoData("a delete")])
def test_data_that_cannot_be_read_is_never_accepted(error: Exception) -> None:
    found = classified(error)
    assert (type(found), str(found), found.__cause__) == (Rejected, str(error), error)


def test_a_registry_that_is_down_is_never_a_reason_to_dead_letter() -> None:
    assert type(classified(RegistryUnavailable("no answer"))) is Unavailable


def test_a_partial_failure_is_no_instruction_for_one_event() -> None:
    found = classified(PartialFailure({3: Rejected("no")}))
    assert type(found) is Retryable
    assert str(found) == "PartialFailure: 1 events of the batch failed"


# What a destination knows better.


@pytest.mark.parametrize("status", [400, 404, 408, 409, 422, 429, 500, 503])
def test_a_status_can_be_rejected_or_tried_again(status: int) -> None:
    error = failure(status, f"POST answered {status}", retry_after="17")
    rejected = classified(error, reject=[status])
    again = classified(error, on=[status])
    assert (type(rejected), type(again)) == (Rejected, Retryable)
    assert str(rejected) == str(again) == f"POST answered {status}"
    assert rejected.status == again.status == status


def test_other_statuses_mean_what_they_mean() -> None:
    error = failure(404, "gone")
    assert classified(error, on=[409], reject=[410, 503]) is error


def test_what_the_destination_asked_to_wait_is_kept() -> None:
    found = classified(failure(503, "busy", retry_after="17"), on=[503])
    assert isinstance(found, Retryable)
    assert found.after == 17
    assert getattr(classified(Busy(), on=[409]), "after", None) == 7


@pytest.mark.parametrize("given", [{"reject": [409]}, {"on": [409]}])
def test_the_cause_that_a_sink_told_is_kept(given: dict[str, Any]) -> None:
    error = Unavailable("PUT /7 answered 409", status=409, cause="PUT /{key} answered 409")
    assert classified(error, **given).cause == "PUT /{key} answered 409"


def test_the_status_of_a_foreign_error_counts() -> None:
    error = ValueError("answered 409")
    error.status = 409  # type: ignore[attr-defined]
    assert type(classified(error, reject=[409])) is Rejected
    assert classified(error).status == 409


@pytest.mark.parametrize("named", [Late, TimeoutError, OSError])
def test_a_class_of_a_cause_counts_and_so_do_its_subclasses(named: type[Exception]) -> None:
    error = raised_from(Unavailable("no answer"), RuntimeError("inner"), Late())
    assert type(classified(error, reject=[named])) is Rejected
    assert type(classified(error, on=[named])) is Retryable


def test_a_class_that_has_nothing_to_do_with_it_changes_nothing() -> None:
    error = raised_from(Unavailable("no answer"), Late())
    assert classified(error, reject=[ValueError], on=[KeyError]) is error


def test_an_instruction_can_be_named_too() -> None:
    assert type(classified(Rejected("no"), on=[Rejected])) is Retryable
    assert type(classified(Busy(), reject=[Retryable])) is Rejected


# The more specific one wins.


def test_a_status_wins_over_a_class() -> None:
    error = failure(409, "conflict")
    assert type(classified(error, reject=[409], on=[Rejected])) is Rejected
    assert type(classified(error, on=[409], reject=[Rejected])) is Retryable


def test_a_class_wins_over_its_base() -> None:
    assert type(classified(Late(), reject=[Late], on=[TimeoutError])) is Rejected
    assert type(classified(Late(), on=[Late], reject=[TimeoutError])) is Retryable


def test_the_error_wins_over_its_cause() -> None:
    error = raised_from(ValueError("outer"), KeyError("inner"))
    assert type(classified(error, reject=[ValueError], on=[KeyError])) is Rejected
    assert type(classified(error, on=[ValueError], reject=[KeyError])) is Retryable


def test_causes_in_a_circle_end() -> None:
    error, cause = Unavailable("a"), ValueError("b")
    error.__cause__, cause.__cause__ = cause, error
    assert classified(error, reject=[KeyError]) is error


ERRORS = st.sampled_from(
    [Rejected("r"), Retryable("l", after=3), Unavailable("u"), KeyError("k"), Late(), Busy()]
) | st.integers(300, 599).map(lambda status: failure(status, str(status)))
CAUSES = st.lists(st.sampled_from([404, 409, 503, KeyError, TimeoutError, Retryable]), max_size=3)


@given(error=ERRORS, reject=CAUSES, on=CAUSES)
def test_it_is_always_one_of_three(error: Exception, reject: list[Any], on: list[Any]) -> None:
    found = classified(error, reject=[cause for cause in reject if cause not in on], on=on)
    assert isinstance(found, Rejected | Retryable | Unavailable)
    assert found is error or found.__cause__ is error
