"""A flow as it is written, and the systems of its sources and destinations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from trunkline.admin.doctor.diagnosis import Diagnosis
from trunkline.connectors.base import Finding, PushSource, Sink, Source
from trunkline.errors import TrunklineError
from trunkline.masking import without_secrets
from trunkline.params import ParameterError, load_params
from trunkline.streams.check.environment import check_environment
from trunkline.streams.check.flows import check
from trunkline.streams.flow.definition import Flow

T = TypeVar("T")

_SILENT = (Source.check, PushSource.check, Sink.check)
_NO_PARAMS = "name the environment (--env), or set the parameters"
PATIENCE = 30.0
"""Seconds that one system may take to answer."""


@dataclass(slots=True)
class Called(Generic[T]):
    """What became of a call. ``late``: it has not returned."""

    late: bool = True
    value: T | None = None
    failure: BaseException | None = None

    def result(self) -> T:
        """What it returned, or raises what it raised."""
        if self.failure is not None:
            raise self.failure
        return self.value  # type: ignore[return-value]  # it returned, so it is a T


def call_within(seconds: float, call: Callable[[], T]) -> Called[T]:
    """Call in a thread that the process does not wait for: a driver may hang longer than its own
    timeout says, and the other systems are to be looked at."""
    found: Called[T] = Called()

    def run() -> None:
        value, failure = None, None
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001 - handed on to whoever called
            failure = error
        found.value, found.failure, found.late = value, failure, False

    thread = threading.Thread(target=run, name="doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    return found


def examine_flow(flow: Flow[Any], environment: str) -> Iterator[Diagnosis]:
    """Mistakes in the flow, and in its parameters in this environment. Connects to nothing."""
    problems = [*check(flow), *check_environment([flow], environment or None)]
    for one in problems:
        yield Diagnosis(flow.name, str(one), "warning" if one.warning else "wrong")
    if not problems:
        yield Diagnosis(flow.name, "the flow and its parameters are right")


def examine_systems(flow: Flow[Any], file: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """What each source and destination says of its system. Blocks, for half a minute each at the
    most."""
    try:
        params = load_params(flow.params, file, flow=flow.name)
    except ParameterError as error:  # told as mistakes of the flow where it is meant to run here
        yield Diagnosis(flow.name, f"its systems are not asked: {error}", "warning", _NO_PARAMS)
        return
    for part in (*flow.sources, *flow.destinations):
        area = f"{flow.name}.{part.name}"
        found = call_within(PATIENCE, partial(_findings, part, params))
        if found.late:
            told = f"its system has not answered for {PATIENCE:.0f} s"
            yield Diagnosis(area, told, "warning", "look whether it hangs, and at firewalls")
            continue
        yield from of_findings(area, found.result())


def _findings(part: Any, params: Any) -> Iterable[Finding] | str:
    """What a connector finds; that it cannot be asked is a finding, too. A text: it cannot tell."""
    try:
        connector = part(params)
        if type(connector).check in _SILENT:
            return "its connector cannot say whether its system is well"
        return list(connector.check())
    except TrunklineError as error:
        return [Finding(without_secrets(str(error)))]


def of_findings(area: str, found: Iterable[Finding] | str) -> Iterator[Diagnosis]:
    """As diagnoses; "ok" if there are none."""
    if isinstance(found, str):
        yield Diagnosis(area, found)
        return
    findings = list(found)
    for one in findings:
        yield Diagnosis(area, one.what, "warning" if one.warning else "wrong", one.mend)
    if not findings:
        yield Diagnosis(area, "its system is as it must be")
