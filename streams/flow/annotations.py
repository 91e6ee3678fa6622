"""Which types a flow's definitions work with, read from their annotations.

The annotations are the only place where a flow names its types: the engine finds the schemas by
them, and ``trunkline check`` compares them. Annotations may be strings, as under
``from __future__ import annotations``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from trunkline.connectors.base import Sink
from trunkline.event import Event
from trunkline.streams.flow.decorated import Definition
from trunkline.streams.flow.definition import Destination, Route, Topic
from trunkline.streams.flow.enrichment import Enrichment
from trunkline.streams.flow.imported import ImportedOperation
from trunkline.streams.flow.messages import Delete, Message
from trunkline.streams.flow.operation import Call, Operation
from trunkline.streams.flow.problems import FlowError, Problem


def type_of_topic(topic: Topic[Any]) -> type:
    """The canonical type: what the topic's function returns, or ``existing_topic`` was given.

    Raises FlowError, a ConfigurationError that names the place.
    """
    if topic.declared_type is not None:
        return _one_type(topic, topic.declared_type, "the topic's type")
    (found, *more) = members(returned(topic)) or [NoneType]
    if more:
        raise annotation_error(
            topic, "returns several types; a topic has one, so declare a topic for each"
        )
    return _one_type(topic, found, "returns")


def type_of_destination(destination: Destination[Any, Any]) -> type:
    """The type that the sink accepts: ``PickList`` of a builder that returns
    ``HttpSink[PickList]``, or a class that derives from ``Sink[PickList]``.

    Raises FlowError, a ConfigurationError that names the place.
    """
    annotation = returned(destination)
    found = _argument(annotation, Sink)
    if found is None:
        raise annotation_error(
            destination, f"returns {format_annotation(annotation)}, which is no Sink"
        )
    if isinstance(found, TypeVar) or found is Any:
        sink = format_annotation(get_origin(annotation) or annotation)
        raise annotation_error(
            destination, f"says not what its sink accepts: write -> {sink}[Order]"
        )
    return _one_type(destination, found, "the sink accepts")


def type_of_inbox(destination: Destination[Any, Any]) -> type:
    """The type of the messages in a destination's inbox, which its routes return: what its
    enrichment takes, or else what its sink accepts. Raises FlowError, which names the place."""
    if destination.enrichment is None:
        return type_of_destination(destination)
    return _one_type(destination.enrichment, parameter(destination.enrichment), "takes")


def type_of_sent(route: Route[Any, Any]) -> type:
    """The type of what a route sends: of its destination's inbox, or the request of the operation
    that it calls. Raises FlowError."""
    if route.operation is not None:
        return type_of_request(route.operation)
    return type_of_inbox(route.to)


def types_of_result(enrichment: Enrichment[Any, Any, Any, Any]) -> list[Any]:
    """The types that an enrichment may return, without None. Raises FlowError."""
    return members(returned(enrichment))


def type_of_event(route: Route[Any, Any]) -> Any:
    """The ``X`` of the route's ``Event[X]``. Raises FlowError if it takes anything else."""
    annotation = parameter(route)
    if get_origin(annotation) is not Event:
        raise annotation_error(
            route, f"takes {format_annotation(annotation)}: write Event[…] with the topic's type"
        )
    return get_args(annotation)[0]


def type_of_request(operation: Operation[Any]) -> type:
    """The ``X`` of the operation's ``Call[X]``. Raises FlowError if it takes anything else."""
    annotation = parameter(operation)
    if get_origin(annotation) is not Call:
        raise annotation_error(
            operation, f"takes {format_annotation(annotation)}: write Call[…] with the request"
        )
    return _one_type(operation, get_args(annotation)[0], "takes Call of")


def types_of_messages(route: Route[Any, Any]) -> list[Any]:
    """The types of data that a route may return: None, sequences and ``Message`` are taken apart,
    and ``Delete`` has none."""
    annotation = returned(route)
    if is_a(annotation, (Awaitable, Iterator, AsyncIterator)):
        raise annotation_error(
            route, f"returns {format_annotation(annotation)}: write async def, and return a list"
        )
    if isinstance(route.operation, ImportedOperation):
        return []  # its document says what it takes, and each message is held against that
    return [_data_type(part) for part in _messages(annotation) if part is not Delete]


def returns_deletes(route: Route[Any, Any]) -> bool:
    """Whether a route says that it may return a ``Delete``."""
    return Delete in _messages(returned(route))


def _messages(annotation: Any) -> list[Any]:
    """What one message may be: the members of the annotation, and of its sequences' elements."""
    return [part for member in members(annotation) for part in members(_element(member))]


def _data_type(part: Any) -> Any:
    """``PickList`` of ``Message[PickList]``."""
    found = _argument(part, Message)
    return part if found is None else found


def parameter(definition: Definition) -> Any:
    """The annotation of the one parameter, or of the first one of a route or an enrichment. Raises
    FlowError if there is not one, annotated."""
    names = [p.name for p in _parameters(definition.function)]
    if len(names) == 1 or (names and isinstance(definition, Route | Enrichment)):
        return _annotation_of(definition, names[0])
    one = f"{'an' if definition.kind[0] in 'aeiou' else 'a'} {definition.kind}"
    raise annotation_error(definition, f"takes {len(names)} parameters: {one} takes one")


def further_parameters(definition: Definition) -> dict[str, Any]:
    """What a route or an enrichment takes behind its first parameter: names and annotations. Raises
    FlowError for one without an annotation, or that cannot be given by its name."""
    further = _parameters(definition.function)[1:]
    for one in further:
        if one.kind is one.POSITIONAL_ONLY:
            raise annotation_error(definition, f"its parameter {one.name!r} is positional only")
    return {one.name: _annotation_of(definition, one.name) for one in further}


def _annotation_of(definition: Definition, name: str) -> Any:
    try:
        return _hints(definition)[name]
    except KeyError:
        raise annotation_error(definition, f"its parameter {name!r} has no annotation") from None


def returned(definition: Definition) -> Any:
    """The annotation of what it returns. Raises FlowError if there is none."""
    try:
        return _hints(definition)["return"]
    except KeyError:
        raise annotation_error(
            definition, "does not say what it returns: add -> and the type"
        ) from None


def annotation_error(definition: Definition, message: str) -> FlowError:
    """The error that a definition is wrong, with its name and place."""
    text = f"{definition.kind} {definition.name}: {message}"
    return FlowError(Problem(definition.place, text))


def format_annotation(annotation: Any) -> str:
    """An annotation as a person writes it."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return re.sub(r"[\w.]+\.(?=\w)", "", str(annotation))  # without the names of modules


def _hints(definition: Definition) -> dict[str, Any]:
    try:
        return get_type_hints(definition.function)
    except NameError as error:
        hint = "import it outside of TYPE_CHECKING, at the top of the file"
        raise annotation_error(
            definition, f"{error.name!r} in its annotations is not there: {hint}"
        ) from error
    except (TypeError, SyntaxError, AttributeError) as error:
        raise annotation_error(definition, f"its annotations cannot be read: {error}") from error


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those that a caller must give; ones with a default are the author's own business."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in optional
    ]


def members(annotation: Any) -> list[Any]:
    """The members of a union, without None."""
    union = get_origin(annotation) in (Union, UnionType)
    members = get_args(annotation) if union else (annotation,)
    return [member for member in members if member not in (None, NoneType)]


def _element(annotation: Any) -> Any:
    """``PickList`` of ``list[PickList]``, ``tuple[PickList, ...]``, ``Sequence[PickList]``."""
    args = [arg for arg in get_args(annotation) if arg is not Ellipsis]
    if is_a(annotation, (Sequence,)) and len(set(args)) == 1:
        return args[0]
    return annotation


def is_a(annotation: Any, kinds: tuple[type, ...]) -> bool:
    """Whether an annotation is a class, generic or not, that derives from one of ``kinds``."""
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and origin is not Any and issubclass(origin, kinds)


def _argument(annotation: Any, base: type) -> Any:
    """What ``annotation`` gives to the generic ``base`` among its ancestors; None: it has none."""
    origin = get_origin(annotation) or annotation
    if not isinstance(origin, type) or not issubclass(origin, base):
        return None
    given = get_args(annotation)
    if origin is base:
        return given[0] if given else Any
    bound = dict(zip(getattr(origin, "__parameters__", ()), given, strict=False))
    found = (_argument(_bind(parent, bound), base) for parent in _parents(origin))
    return next((argument for argument in found if argument is not None), None)


def _parents(cls: type) -> tuple[Any, ...]:
    """The bases as they were written, with their type arguments."""
    written: tuple[Any, ...] = cls.__dict__.get("__orig_bases__", cls.__bases__)
    return written


def _bind(annotation: Any, bound: dict[Any, Any]) -> Any:
    """``annotation`` with its type variables replaced by what they are bound to."""
    free = getattr(annotation, "__parameters__", ()) if get_origin(annotation) else ()
    return annotation[tuple(bound.get(p, p) for p in free)] if free else annotation


def _one_type(definition: Definition, found: Any, what: str) -> type:
    if isinstance(found, type) and not get_args(found) and found is not NoneType:
        return found
    raise annotation_error(
        definition, f"{what} {format_annotation(found)}: it must be one type that has a schema"
    )
