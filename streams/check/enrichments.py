"""What is wrong with a flow's enrichments and their clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

from trunkline.schemas.types import has_schema
from trunkline.streams.flow.annotations import (
    annotation_error,
    format_annotation,
    is_a,
    parameter,
    type_of_destination,
    type_of_inbox,
    types_of_result,
)
from trunkline.streams.flow.decorated import Definition
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.enrichment import ClientDefinition, Enrichment
from trunkline.streams.flow.injection import clients_of, type_of_client
from trunkline.streams.flow.problems import FlowError, Problem


def enrichment_problems(flow: Flow[Any]) -> Iterator[Problem]:
    """Enrichments that cannot be called, or whose types do not fit what stands before and after
    them; clients that cannot be opened, or of which two have one type."""
    for client in flow.clients:
        yield from _of_client(client)
    for enrichment in flow.enrichments:
        yield from _of_enrichment(enrichment)


def _of_client(client: ClientDefinition[Any, Any]) -> Iterator[Problem]:
    flow = client.flow
    if not isasyncgenfunction(client.function):
        yield _problem(
            client, "is no async generator: write async def, and yield the client once it is open"
        )
    takes = yield from _told(client, parameter)
    if takes is not None and takes is not Any and not is_a(flow.params, (takes,)):
        wanted, given = format_annotation(takes), format_annotation(flow.params)
        yield _problem(client, f"takes {wanted}, but the flow's parameters are {given}")
    kind = yield from _told(client, type_of_client)
    for other in flow.clients[: flow.clients.index(client)] if kind is not None else ():
        if _found(other, type_of_client) is kind:
            message = f"the client {other.name} in line {other.place.line} has the same type"
            yield _problem(client, f"{message}: an enrichment could not tell them apart")


def _of_enrichment(enrichment: Enrichment[Any, Any, Any, Any]) -> Iterator[Problem]:
    to = enrichment.to
    if not iscoroutinefunction(enrichment.function):
        yield _problem(
            enrichment, "is not async: write async def, since it waits for another system"
        )
    if to.enrichment is not enrichment and to.enrichment is not None:
        message = f"{to.name} has the enrichment {to.enrichment.name}"
        line = to.enrichment.place.line
        yield _problem(enrichment, f"{message} in line {line} already: one function does it all")
        return
    takes = yield from _told(enrichment, lambda one: type_of_inbox(one.to))
    if takes is not None and not has_schema(takes):
        yield _problem(
            enrichment,
            f"takes {format_annotation(takes)}, which has no Avro schema: it is what the inbox "
            "holds, so describe it in avro_schemas/<domain>/, and run `trunkline schemas generate`",
        )
    # What an enrichment returns needs no schema: it goes to the sink at once and into no topic.
    accepts = _found(to, type_of_destination)
    for returns in (yield from _told(enrichment, types_of_result)) or ():
        if accepts is not None and returns not in (Any, accepts):
            sink = f"the sink of {to.name} accepts {format_annotation(accepts)}"
            yield _problem(enrichment, f"returns {format_annotation(returns)}, but {sink}")
    yield from _told_only(enrichment, clients_of)


def _told(definition: Any, look: Callable[[Any], Any]) -> Any:
    """What ``look`` finds; or None, and what it raises is a problem."""
    try:
        return look(definition)
    except FlowError as error:
        yield error.problem
        return None


def _told_only(definition: Any, look: Callable[[Any], Any]) -> Iterator[Problem]:
    yield from _told(definition, look)


def _found(definition: Any, look: Callable[[Any], Any]) -> Any:
    try:
        return look(definition)
    except FlowError:
        return None  # it is told of where the definition itself is looked at


def _problem(definition: Definition, message: str) -> Problem:
    return annotation_error(definition, message).problem
