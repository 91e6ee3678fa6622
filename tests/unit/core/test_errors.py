"""The tree of errors: what each one means to the engine is its place in the tree."""

from __future__ import annotations

import inspect
import pickle

import pytest

import trunkline
from trunkline import errors
from trunkline.errors import (
    AddressError,
    ConfigurationError,
    DataError,
    DeliveryError,
    MissingExtra,
    NoData,
    PartialFailure,
    RegistryRefused,
    RegistryUnavailable,
    Rejected,
    Retryable,
    RuleViolations,
    SerializationError,
    SourceError,
    TableUnreadable,
    TrunklineError,
    Unavailable,
)

TREE = {
    ConfigurationError: TrunklineError,
    AddressError: ConfigurationError,
    RegistryRefused: ConfigurationError,
    MissingExtra: ConfigurationError,
    DataError: TrunklineError,
    SerializationError: DataError,
    RuleViolations: SerializationError,
    NoData: DataError,
    RegistryUnavailable: TrunklineError,
    TableUnreadable: TrunklineError,
    SourceError: TrunklineError,
    DeliveryError: TrunklineError,
    Rejected: DeliveryError,
    Retryable: DeliveryError,
    Unavailable: DeliveryError,
    PartialFailure: DeliveryError,
}


def all_errors() -> list[type[Exception]]:
    return [
        e
        for _, e in inspect.getmembers(errors, inspect.isclass)
        if e.__module__ == errors.__name__ and issubclass(e, Exception)
    ]


@pytest.mark.parametrize(("error", "parent"), TREE.items())
def test_each_error_hangs_where_its_meaning_is(error: type, parent: type) -> None:
    assert error.__bases__ == (parent,)


def test_the_tree_is_whole_and_drawn_in_the_docstring() -> None:
    assert set(all_errors()) == {TrunklineError, *TREE}
    drawn = [
        line.split("── ")[1].split()[0]
        for line in str(errors.__doc__).splitlines()
        if "── " in line
    ]
    assert sorted(drawn) == sorted(error.__name__ for error in TREE)


def test_a_registry_that_is_down_is_no_fault_of_the_data() -> None:
    assert not issubclass(RegistryUnavailable, DataError | DeliveryError)


@pytest.mark.parametrize("error", [Retryable, Unavailable])
def test_what_the_destination_asked_to_wait(error: type[Retryable] | type[Unavailable]) -> None:
    assert error("busy").after is None
    assert error("busy", after=30).after == 30
    assert str(error("busy", after=30)) == "busy"


@pytest.mark.parametrize("error", [Rejected, Retryable, Unavailable])
def test_the_status_of_an_answer(error: type[DeliveryError]) -> None:
    assert error("no").status is None
    assert error("no", status=409).status == 409
    assert str(error("no", status=409)) == "no"


def test_a_partial_failure_names_the_failed_ones() -> None:
    given = {3: Rejected("no"), 5: Retryable("later")}
    failure = PartialFailure(given)
    given.clear()
    assert list(failure.failures) == [3, 5]
    assert str(failure) == "2 events of the batch failed"


def test_a_missing_driver_says_which_extra_to_install() -> None:
    message = "PostgresCDC needs an extra: pip install 'trunkline[postgres]'"
    assert str(MissingExtra("PostgresCDC", "postgres")) == message


def test_errors_of_sinks_are_public() -> None:
    for error in (Rejected, Retryable, Unavailable, PartialFailure):
        assert error.__name__ in trunkline.__all__


@pytest.mark.parametrize("error", [Rejected("no"), Retryable("later"), Unavailable("down")])
def test_errors_cross_processes(error: Exception) -> None:
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)
