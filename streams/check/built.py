"""What is wrong with the connectors that a flow's builders make of its parameters.

Builders connect to nothing, so they can be called by a check: a path template that names no field,
a key that is no column, an option that the sink cannot honour are found before any topic is made.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from trunkline.connectors.base import Sink
from trunkline.errors import AddressError, ConfigurationError, MissingExtra
from trunkline.masking import without_secrets
from trunkline.params import Params
from trunkline.streams.check.operations import call_problem
from trunkline.streams.check.stand_ins import stand_ins
from trunkline.streams.check.streams import (
    Streams,
    stream_problems,
    streams_left_over,
    streams_never_given,
    streams_of,
)
from trunkline.streams.flow.annotations import (
    format_annotation,
    returns_deletes,
    type_of_destination,
)
from trunkline.streams.flow.definition import Destination, Flow, Route
from trunkline.streams.flow.problems import FlowError, Problem
from trunkline.streams.flow.source import SourceDefinition

_Definition = SourceDefinition[Any] | Destination[Any, Any]


def check_built(flow: Flow[Any], env: Params) -> Iterator[Problem]:
    """Call each builder of the flow with ``env``, and look at what it made. Nothing is opened."""
    given: dict[str, Streams] = {}
    for definition in _definitions(flow):
        try:
            yield from _of(flow, definition, env, given)
        except Exception as error:  # noqa: BLE001 - a builder's mistake, of any kind
            yield _unbuilt(definition, error)
    yield from stream_problems(flow, given)


def check_built_of_stand_ins(flow: Flow[Any], params: type[Params]) -> Iterator[Problem]:
    """As ``check_built`` where no parameters are known: what is wrong whatever they are.

    That is what is wrong with every set of stand-ins; sets of which a builder makes nothing, as
    they suit it not, tell nothing."""
    sets = list(stand_ins(params))
    streams: list[dict[str, Streams]] = [{} for _ in sets]
    for definition in _definitions(flow):
        found = [
            _of_stand_in(flow, definition, env, given)
            for env, given in zip(sets, streams, strict=True)
        ]
        yield from _common(problems for problems in found if problems is not None)
    for source in flow.sources:
        telling = [given for given in streams if source.name in given]
        yield from _common(
            list(streams_left_over(flow, source, given[source.name])) for given in telling
        )
    for topic in flow.topics:
        telling = [given for given in streams if all(s.name in given for s in topic.sources)]
        yield from _common(list(streams_never_given(topic, given)) for given in telling)


def _definitions(flow: Flow[Any]) -> Iterator[_Definition]:
    yield from flow.sources
    yield from flow.destinations


def _of_stand_in(
    flow: Flow[Any], definition: _Definition, env: Params, given: dict[str, Streams]
) -> list[Problem] | None:
    """What is wrong with what the builder makes of stand-ins; None if that may be their fault."""
    try:
        return list(_of(flow, definition, env, given))
    except Exception as error:  # noqa: BLE001 - a builder's mistake, of any kind
        return [_unbuilt(definition, error)] if _whatever_the_values(error, env) else None


def _common(found: Iterable[list[Problem]]) -> list[Problem]:
    """The problems that are in each of the lists."""
    lists = list(found)
    first = lists[0] if lists else []
    # By equality, words and all: a message that quotes a stand-in's value differs from set to set
    # and drops out, and what stays has nothing made up in it.
    return [problem for problem in first if all(problem in others for others in lists)]


def _whatever_the_values(error: Exception, env: Params) -> bool:
    """Whether another value of a parameter might not have prevented the error.

    A connector says what it cannot be built of. What a builder raises itself may be about a
    value (a region that it does not know), but for names that there are not."""
    if isinstance(error, AddressError | MissingExtra):
        return False
    if isinstance(error, ConfigurationError):
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        # The frame that raised: a builder's own `raise ConfigurationError` may judge the made-up
        # value.
        return str(frame.f_globals.get("__name__", "")).startswith("trunkline.")
    if isinstance(error, AttributeError):
        return error.obj is env  # env.warehose_url
    return isinstance(error, NameError | ImportError) or (
        isinstance(error, TypeError) and "argument" in str(error) and "()" in str(error)
    )


def delete_problem(route: Route[Any, Any], sink: Sink[Any]) -> str:
    """Why the sink cannot take the deletes that the route sends; "" if it can, or none are sent."""
    if not (route.otherwise == "delete" or returns_deletes(route)):
        return ""
    if route.operation is not None:
        return f"sends deletes, but {route.operation.name} is an operation: call one that deletes"
    if sink.accepts_deletes:
        return ""
    return (
        f"sends deletes, but the sink of {route.to.name} takes none: give the sink a way to delete "
        "(HttpSink: delete_method=), or send data that say it"
    )


def _of(
    flow: Flow[Any], definition: _Definition, env: Params, given: dict[str, Streams]
) -> Iterator[Problem]:
    """Builds it, and looks at what it is; ``given`` gets the streams of a source. Raises what the
    builder raises."""
    if isinstance(definition, SourceDefinition):
        given[definition.name] = streams_of(definition(env))
        return
    sink = definition(env)
    definition.configure(sink)
    try:
        said = type_of_destination(definition)
        if (made := getattr(sink, "type", said)) is not said:
            names = format_annotation(made), format_annotation(said)
            message = "its sink is made for {}, but it says that it accepts {}".format(*names)
            yield Problem(definition.place, f"destination {definition.name}: {message}")
        for operation in definition.operations:
            if message := call_problem(sink):
                yield Problem(operation.place, f"operation {operation.name}: {message}")
        for route in flow.routes:
            if route.to is definition and (message := delete_problem(route, sink)):
                yield Problem(route.place, f"route {route.name}: {message}")
    except FlowError:
        return  # the check of the annotations has said so


def _unbuilt(definition: _Definition, error: Exception) -> Problem:
    kind = "" if isinstance(error, ConfigurationError) else f"{type(error).__name__}: "
    told = without_secrets(str(error))  # a library's error quotes the address that it cannot read
    return Problem(definition.place, f"{definition.kind} {definition.name}: {kind}{told}")
