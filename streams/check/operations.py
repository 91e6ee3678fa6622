"""What is wrong with operations: what they take and return, their key, and their destinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trunkline.connectors.base import HttpRequest, Sink, SqlRequest
from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of
from trunkline.schemas.types import has_schema, schema_of
from trunkline.streams.flow.annotations import (
    annotation_error,
    format_annotation,
    is_a,
    returned,
    type_of_request,
)
from trunkline.streams.flow.definition import Destination, Flow
from trunkline.streams.flow.imported import ImportedOperation
from trunkline.streams.flow.operation import QUERIES, Operation
from trunkline.streams.flow.problems import FlowError, Problem

KEYS = ("string", "int", "long")
"""The types of a field that names an entity; a UUID is a string or fixed."""


def operation_problems(flow: Flow[Any]) -> Iterator[Problem]:
    """All that is wrong with what a flow offers at the gateway."""
    yield from _received(flow)
    yield from _routed(flow)
    for operation in flow.operations:
        for message in (*_types(operation), *_destination(operation), *_doubt(operation)):
            yield _problem(operation, message)


def _routed(flow: Flow[Any]) -> Iterator[Problem]:
    """What is wrong with the operations that routes call."""
    for route in flow.routes:
        if (called := route.operation) is None:
            continue
        if called.policy.is_query:
            message = f"calls {called.name}, which only reads: its answer would go nowhere"
            yield annotation_error(route, message).problem
        if called.policy.approve:
            message = f"calls {called.name}, each call of which somebody must approve"
            yield annotation_error(route, f"{message}: declare one without approve=").problem


def _received(flow: Flow[Any]) -> Iterator[Problem]:
    """What is wrong with the topics whose events come through the gateway."""
    for topic in flow.topics:
        type_ = topic.declared_type
        # Of a type without a schema the check of topics says so.
        if topic.received and type_ is not None and has_schema(type_):
            for message in _key(topic.received, schema_of(type_).parsed):
                yield Problem(topic.place, f"topic {topic.topic}: {message}")


def operations_collide(flows: Sequence[Flow[Any]]) -> Iterator[Problem]:
    """Two flows that offer an operation of one name of one system: callers could not tell them
    apart."""
    first: dict[tuple[str, str], Operation[Any]] = {}
    for operation in (one for flow in flows for one in flow.operations):
        before = first.setdefault((operation.system, operation.name), operation)
        if before is not operation:
            message = f"the system {operation.system!r} has it already, at {before.place}"
            yield _problem(operation, f"{message}: choose another name")


def call_problem(sink: Sink[Any]) -> str:
    """Why a destination's sink cannot run operations; "" if it can."""
    if sink.takes_calls is None:
        return f"its destination's {type(sink).__name__} runs no operations: use an HttpSink"
    if sink.max_batch > 1:
        mend = "give the sink max_batch=1" if sink.takes_calls is SqlRequest else "leave batch= out"
        return (
            f"its destination sends several events in one request: a call is one, so {mend}, or "
            "declare the operation for a destination of its own"
        )
    return ""


def _types(operation: Operation[Any]) -> Iterator[str]:
    try:
        request, returns = type_of_request(operation), returned(operation)
    except FlowError as error:
        yield error.problem.message.removeprefix(f"operation {operation.name}: ")
        return
    if operation.policy.sql and not is_a(returns, (Mapping,)):
        shown = format_annotation(returns)
        yield f"returns {shown}: with sql= it returns parameters' values, a Mapping[str, object]"
    if not operation.policy.sql and returns is not HttpRequest:
        yield f"returns {format_annotation(returns)}: an operation returns HttpRequest"
    if not has_schema(request):
        yield (
            f"Call[{format_annotation(request)}] has no Avro schema: describe it in "
            "avro_schemas/<domain>/, run `trunkline schemas generate`, and import the type"
        )
        return
    if key := operation.policy.key:
        yield from _key(key, schema_of(request).parsed)


def _key(key: str, schema: Any) -> Iterator[str]:
    named = avro.named_types(schema)
    fields = {field["name"]: field["type"] for field in schema["fields"]}
    if key not in fields:
        yield f"key={key!r} is no field: there are {', '.join(fields)}"
        return
    type_ = fields[key]
    type_ = named.get(type_, type_) if isinstance(type_, str) else type_
    logical = logical_of(type_)
    plain = avro.kind(type_) in KEYS and logical is None
    if not plain and (logical is None or logical.python != "uuid.UUID"):
        yield f"key={key!r} is no string, int, long or UUID, which alone can name an entity"


def _doubt(operation: Operation[Any]) -> Iterator[str]:
    """What is wrong with the query that tells whether a call was done."""
    if not (name := operation.policy.check):
        return
    query = operation.check
    if query is None:
        verbs = ", ".join(QUERIES)
        yield (
            f"doubt='check:{name}': the destination {operation.to.name} has no operation {name} "
            f"that only reads (verb {verbs})"
        )
        return
    try:
        given, asked = type_of_request(operation), type_of_request(query)
    except FlowError:
        return  # is said of that operation
    if not (has_schema(given) and has_schema(asked)):
        return
    if isinstance(operation, ImportedOperation) and isinstance(query, ImportedOperation):
        yield from _parameters(operation, query)
        return
    has = {field["name"] for field in schema_of(given).parsed["fields"]}
    for field in schema_of(asked).parsed["fields"]:
        if field["name"] not in has and "default" not in field:
            yield f"doubt='check:{name}': {name} needs the field {field['name']}, which it has not"


def _parameters(operation: ImportedOperation, query: ImportedOperation) -> Iterator[str]:
    has = operation.form.operation.arguments
    for name, one in query.form.operation.arguments.items():
        if one.required and name not in has:
            told = f"needs the parameter {name}, which it has not"
            yield f"doubt='check:{query.name}': {query.name} {told}"


def _destination(operation: Operation[Any]) -> Iterator[str]:
    to: Destination[Any, Any] = operation.to
    if to.policy.order != "key":
        yield (
            f"the destination {to.name} has order={to.policy.order!r}: two attempts of one call "
            "could run side by side; leave order= out"
        )
    if to.enrichment is not None:
        yield (
            f"the destination {to.name} has the enrichment {to.enrichment.name}, which takes other "
            "messages: declare the operation for a destination of its own"
        )
    try:
        sink = returned(to)
    except FlowError:
        return  # the check of the destination has said so
    if not is_a(sink, (Sink,)):
        return
    kind, takes = format_annotation(sink), getattr(sink, "takes_calls", None)
    if takes is None:
        yield f"the destination {to.name} is a {kind}, which runs no operations: use an HttpSink"
    elif takes is not operation.takes:
        mend = "give the operation its statement, sql=" if takes is SqlRequest else "leave sql= out"
        yield f"the destination {to.name} is a {kind}: {mend}"


def _problem(operation: Operation[Any], message: str) -> Problem:
    return annotation_error(operation, message).problem
