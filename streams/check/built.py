"""What is wrong with the connectors that a flow's builders make of its parameters.

Builders connect to nothing, so they can be called by a check: a path template that names no field,
a key that is no column, an option that the sink cannot honour are found before any topic is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trunkline.connectors.base import Sink
from trunkline.errors import ConfigurationError
from trunkline.params import Params
from trunkline.streams.flow.annotations import (
    format_annotation,
    returns_deletes,
    type_of_destination,
)
from trunkline.streams.flow.definition import Destination, Flow, Route, SourceDefinition
from trunkline.streams.flow.problems import FlowError, Problem


def check_built(flow: Flow[Any], env: Params) -> Iterator[Problem]:
    """Call each builder of the flow with ``env``, and look at what it made. Nothing is opened."""
    for source in flow.sources:
        yield from _of_source(source, env)
    for destination in flow.destinations:
        yield from _of_destination(flow, destination, env)


def delete_problem(route: Route[Any, Any], sink: Sink[Any]) -> str:
    """Why the sink cannot take the deletes that the route sends; "" if it can, or none are sent."""
    if sink.accepts_deletes or not (route.otherwise == "delete" or returns_deletes(route)):
        return ""
    return (
        f"sends deletes, but the sink of {route.to.name} takes none: give the sink a way to delete "
        "(HttpSink: delete_method=), or send data that say it"
    )


def _of_source(source: SourceDefinition[Any], env: Params) -> Iterator[Problem]:
    try:
        source(env)
    except Exception as error:  # noqa: BLE001 - a builder's mistake, of any kind
        yield _unbuilt(source, error)


def _of_destination(
    flow: Flow[Any], destination: Destination[Any, Any], env: Params
) -> Iterator[Problem]:
    try:
        sink = destination(env)
        destination.configure(sink)
    except Exception as error:  # noqa: BLE001 - a builder's mistake, of any kind
        yield _unbuilt(destination, error)
        return
    try:
        said = type_of_destination(destination)
        if (made := getattr(sink, "type", said)) is not said:
            names = format_annotation(made), format_annotation(said)
            message = "its sink is made for {}, but it says that it accepts {}".format(*names)
            yield Problem(destination.place, f"destination {destination.name}: {message}")
        for route in flow.routes:
            if route.to is destination and (message := delete_problem(route, sink)):
                yield Problem(route.place, f"route {route.name}: {message}")
    except FlowError:
        return  # the check of the annotations has said so


def _unbuilt(
    definition: SourceDefinition[Any] | Destination[Any, Any], error: Exception
) -> Problem:
    kind = "" if isinstance(error, ConfigurationError) else f"{type(error).__name__}: "
    return Problem(definition.place, f"{definition.kind} {definition.name}: {kind}{error}")
