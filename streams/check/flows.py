"""What is wrong with flows, found without I/O: no Kafka, no registry, no connector is built.

Each check looks at one thing and yields all that is wrong with it, so that ``trunkline check``
shows everything at once. A check that needs a type stays silent where there is none: the check
of the annotations has said so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from inspect import iscoroutinefunction
from itertools import chain, combinations
from typing import Any, TypeVar, get_args

from trunkline.connectors.base import PushSource, Source
from trunkline.event import Change
from trunkline.params import Params
from trunkline.schemas.types import has_schema
from trunkline.streams.check.enrichments import enrichment_problems
from trunkline.streams.check.groups import group_problems
from trunkline.streams.check.operations import operation_problems, operations_collide
from trunkline.streams.check.tables import check_tables
from trunkline.streams.flow.annotations import (
    annotation_error,
    format_annotation,
    is_a,
    members,
    parameter,
    returned,
    type_of_destination,
    type_of_event,
    type_of_sent,
    type_of_topic,
    types_of_messages,
)
from trunkline.streams.flow.decorated import Definition
from trunkline.streams.flow.definition import Destination, Flow, Route, Topic
from trunkline.streams.flow.enrichment import ClientDefinition, Enrichment
from trunkline.streams.flow.operation import Operation
from trunkline.streams.flow.problems import FlowError, Problem
from trunkline.streams.flow.source import SourceDefinition
from trunkline.streams.flow.system import System, conflicting_limits
from trunkline.streams.flow.table_parameters import tables_of

T = TypeVar("T")
Problems = Iterator[Problem]
LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""What Kafka takes as a topic's name (``org.apache.kafka.common.internals.Topic``)."""


def check(flow: Flow[Any]) -> list[Problem]:
    """Everything that is wrong with one flow, in the order of the file."""
    found = [*flow.problems, *chain.from_iterable(look(flow) for look in _CHECKS)]
    # Two looks may find one mistake: a parameter without a type is one of the signature, and then
    # the route's type cannot be told either.
    return sorted(dict.fromkeys(found), key=lambda problem: problem.place)


def check_together(flows: Sequence[Flow[Any]]) -> list[Problem]:
    """What is wrong between flows that share a Kafka cluster, each of them right by itself."""
    looks = (_same_name, _types_disagree, _published_by_two, _colliding_topics, _systems_disagree)
    return [*chain.from_iterable(look(flows) for look in (*looks, operations_collide))]


def _names(flow: Flow[Any]) -> Problems:
    """Names that Kafka refuses, since they become topics: a flow "täglich"."""
    if not _is_legal(flow.name):
        yield Problem(flow.place, f"flow {flow.name!r}: {_RULE}")
        return
    if not _is_legal(flow.control):
        yield Problem(flow.place, f"flow {flow.name!r}: its topic {flow.control!r}: {_RULE}")
    for definition in _definitions(flow):
        for name in _topics_of(definition):
            if not _is_legal(name):
                yield _problem(definition, f"its topic {name!r} cannot be: {_RULE}")


def _is_legal(name: Any) -> bool:
    return isinstance(name, str) and bool(LEGAL.fullmatch(name)) and name not in (".", "..")


_RULE = "Kafka takes letters, digits, '.', '_' and '-', up to 249 of them"


def _params_type(flow: Flow[Any]) -> Problems:
    """A flow whose parameters are no ``Params``: they could not be loaded."""
    if not is_a(flow.params, (Params,)):
        given = format_annotation(flow.params)
        message = f"flow {flow.name!r}: {given} is no class that derives from Params"
        yield Problem(flow.place, message)


def _defined_twice(flow: Flow[Any]) -> Problems:
    """Two parts of one name: a source and a destination ``erp`` would share a DLQ."""
    first: dict[str, Definition] = {}
    for definition in sorted(_definitions(flow), key=lambda d: d.place):
        before = first.setdefault(definition.name, definition)
        if before is not definition and not _is_existing(definition):
            message = f"the name is taken by the {before.kind} in line {before.place.line}"
            yield _problem(definition, f"{message}: names make topics and metrics, choose another")


def _published_twice(flow: Flow[Any]) -> Problems:
    """Two functions that declare one canonical topic."""
    first: dict[str, Topic[Any]] = {}
    for topic in flow.topics:
        before = first.setdefault(topic.topic, topic)
        if before is not topic:
            message = f"{topic.topic!r} is declared in line {before.place.line} already"
            yield _problem(topic, f"{message}: declare it once, with source=[…] for several")


def _reserved_topics(flow: Flow[Any]) -> Problems:
    """A canonical topic under the name of one that Trunkline makes for itself, as an inbox."""
    makers = (*flow.sources, *flow.destinations)
    taken = {name: maker.name for maker in makers for name in _topics_of(maker)}
    taken |= dict.fromkeys((flow.control, flow.audit), flow.name)
    for topic in flow.topics:
        if topic.topic in taken:
            message = f"{topic.topic!r} is a topic that {taken[topic.topic]} keeps for itself"
            yield _problem(topic, f"{message}: choose another name")


def _foreign_definitions(flow: Flow[Any]) -> Problems:
    """A route or topic that names a part of another flow, imported from its file: that flow's
    worker does not know of it."""
    used: list[tuple[Definition, Definition]] = []
    used += [(topic, source) for topic in flow.topics for source in topic.sources]
    used += [(route, part) for route in flow.routes for part in (route.topic, route.to)]
    used += [(part, part.to) for part in flow.enrichments]
    used += [(part, part.to) for part in flow.operations]
    for definition, part in used:
        if part.flow is not flow:
            message = f"the {part.kind} {part.name} belongs to the flow {part.flow.name!r}"
            mend = (
                f"; use flow.existing_topic({part.topic!r}, …)" if isinstance(part, Topic) else ""
            )
            yield _problem(definition, message + mend)


def _unconnected(flow: Flow[Any]) -> Problems:
    """Sources without a topic, topics without a source, destinations without a route; and, as a
    warning, topics that no route of this flow reads: another flow's may."""
    fed = [source for topic in flow.topics for source in topic.sources]
    for source in _not_among(flow.sources, fed):
        yield _problem(
            source, f"no topic takes its records: add @flow.topic(…, source={source.name})"
        )
    # source= that names no source of the flow was told of when it was written: that nothing feeds
    # the topic would be the same mistake once more.
    known = [problem.place for problem in flow.problems]
    for topic in flow.topics:
        if not topic.sources and not _is_existing(topic) and topic.place not in known:
            yield _problem(topic, "no source feeds it: give source=")
    called = [*(r.to for r in flow.routes), *(o.to for o in flow.operations)]
    for destination in _not_among(flow.destinations, called):
        yield _problem(
            destination, f"no route leads to it: add @flow.route(…, to={destination.name})"
        )
    read = [*(route.topic for route in flow.routes), *(table.topic for table in flow.tables)]
    # A warning alone: a flow that only publishes, for others to read, is a whole flow.
    for topic in _not_among(flow.topics, read):
        yield Problem(topic.place, f"topic {topic.name}: no route of this flow reads it", True)


def _signatures(flow: Flow[Any]) -> Problems:
    """Functions without one annotated parameter or an annotated result, and async ones that are
    no routes: only the router awaits."""
    for definition in _functions_of_the_file(flow):
        yield from _error_of(parameter, definition)
        yield from _error_of(returned, definition)
        if iscoroutinefunction(definition.function) and not isinstance(definition, Route):
            # The publisher takes what a topic's function returns: that would be a coroutine.
            yield _problem(definition, "is async: only routes may be")


def _builders(flow: Flow[Any]) -> Problems:
    """Sources and destinations that take other parameters than the flow's, or build no source."""
    for builder in (*flow.sources, *flow.destinations):
        takes = _type_or_none(parameter, builder)
        if takes is not None and not is_a(flow.params, (takes,)) and takes is not Any:
            wanted, given = format_annotation(takes), format_annotation(flow.params)
            message = f"takes {wanted}, but the flow's parameters are {given}"
            yield _problem(builder, message)
    for source in flow.sources:
        returns = _type_or_none(returned, source)
        if returns is not None and not all(is_a(m, (Source, PushSource)) for m in members(returns)):
            yield _problem(source, f"returns {format_annotation(returns)}, which is no Source")


def _types(flow: Flow[Any]) -> Problems:
    """Topics and destinations without one type of their own, or whose type has no schema."""
    typed: list[tuple[Any, Callable[[Any], type]]] = []
    typed += [(topic, type_of_topic) for topic in flow.topics]
    typed += [(destination, type_of_destination) for destination in flow.destinations]
    for definition, type_of in typed:
        yield from _error_of(type_of, definition)
        found = _type_or_none(type_of, definition)
        if found is not None and not has_schema(found):
            yield _problem(
                definition, f"{format_annotation(found)} has no Avro schema: {_DESCRIBE}"
            )


_DESCRIBE = (
    "describe it in avro_schemas/<domain>/, run `trunkline schemas generate`, "
    "and import the type that it makes"
)


def _route_types(flow: Flow[Any]) -> Problems:
    """Routes that take another type than their topic carries, or return another one than their
    destination accepts."""
    for route in flow.routes:
        yield from _error_of(type_of_event, route)
        yield from _error_of(types_of_messages, route)
        yield from _error_of(tables_of, route)
        takes, sends = (
            _type_or_none(type_of_event, route),
            _type_or_none(type_of_topic, route.topic),
        )
        if takes not in (None, Any, sends) and sends is not None:
            event = f"takes Event[{format_annotation(takes)}]"
            yield _problem(
                route, f"{event}, but {route.topic.topic} carries {format_annotation(sends)}"
            )
        accepts = _type_or_none(type_of_sent, route)
        for message in _type_or_none(types_of_messages, route) or ():
            if accepts is not None and message not in (Any, accepts):
                through = route.operation or route.to.enrichment or route.to
                verb = "accepts" if through is route.to else "takes"
                sink = f"the {through.kind} {through.name} {verb} {format_annotation(accepts)}"
                yield _problem(route, f"returns {format_annotation(message)}, but {sink}")


def _unmatched_filters(flow: Flow[Any]) -> Problems:
    """A pattern of ``only=`` that no event of the topic can match: a typing error."""
    for route in flow.routes:
        possible = _event_types(route.topic)
        for pattern in route.only if possible else ():
            if not any(fnmatchcase(event_type, str(pattern)) for event_type in possible):
                message = f"only={pattern!r} never matches: the events of {route.topic.topic} are"
                yield _problem(route, f"{message} of type {', '.join(possible)}")


def _arguments(flow: Flow[Any]) -> Problems:
    """Arguments of a wrong type: type checkers see them too, but not everybody uses one."""
    for topic in flow.topics:
        if topic.key is not None and not callable(topic.key):
            yield _problem(topic, f"key={topic.key!r}: it is a function of the record")
        if not isinstance(topic.event_type, str | None) and not callable(topic.event_type):
            yield _problem(topic, f"event_type={topic.event_type!r}: it is a text or a function")
        for source in topic.sources:
            for name in filter(topic.streams.__contains__, source.ignore):
                yield _problem(topic, f"stream={name!r}: {source.name} has it in ignore=, too")
    for route in flow.routes:
        if not all(isinstance(pattern, str) for pattern in route.only):
            yield _problem(route, f"only={route.only!r}: it is a text or several")
        if not isinstance(route.deletes, bool):
            yield _problem(route, f"deletes={route.deletes!r}: it is True or False")
        if route.otherwise not in (None, "delete"):
            yield _problem(route, f'otherwise={route.otherwise!r}: it is "delete" or nothing')


_CHECKS: list[Callable[[Flow[Any]], Problems]] = [
    _names,
    _params_type,
    _defined_twice,
    _published_twice,
    _reserved_topics,
    group_problems,
    _foreign_definitions,
    _unconnected,
    _signatures,
    _builders,
    _types,
    _route_types,
    _unmatched_filters,
    _arguments,
    check_tables,
    enrichment_problems,
    operation_problems,
]


def _same_name(flows: Sequence[Flow[Any]]) -> Problems:
    """Two flows of one name: each would route the other's events."""
    for one, other in combinations(flows, 2):
        if one.name == other.name:
            message = f"flow {other.name!r}: the flow at {one.place} has the same name"
            yield Problem(other.place, f"{message}; they would share inboxes, so choose another")


def _types_disagree(flows: Sequence[Flow[Any]]) -> Problems:
    """One topic in two flows with two types: one of them cannot decode it."""
    for one, other in combinations([topic for flow in flows for topic in flow.topics], 2):
        types = _type_or_none(type_of_topic, one), _type_or_none(type_of_topic, other)
        if one.topic == other.topic and None not in types and types[0] is not types[1]:
            there = f"{format_annotation(types[0])} at {one.place}"
            yield _problem(
                other, f"{other.topic} carries {format_annotation(types[1])} here and {there}"
            )


def _published_by_two(flows: Sequence[Flow[Any]]) -> Problems:
    """One topic that two flows publish: events of one key come from both, in no order."""
    topics = [topic for flow in flows for topic in flow.topics if topic.sources]
    for one, other in combinations(topics, 2):
        if one.topic == other.topic and one.flow.name != other.flow.name:
            message = f"{other.topic!r} is published by the flow {one.flow.name!r}, too, at"
            mend = "events of one key come in no order. One of them can read it: existing_topic()"
            yield Problem(
                other.place, f"topic {other.name}: {message} {one.place}: {mend}", warning=True
            )


def _colliding_topics(flows: Sequence[Flow[Any]]) -> Problems:
    """Topics that differ only by '.' and '_'. Kafka refuses the second one: in the names of its
    metrics both would be the same."""
    first: dict[str, str] = {}
    for definition in chain.from_iterable(map(_definitions, flows)):
        for name in _topics_of(definition):
            before = first.setdefault(str(name).replace(".", "_"), name)
            if before != name:
                message = f"its topic {name!r} collides with {before!r}"
                yield _problem(definition, f"{message}: to Kafka '.' and '_' are the same here")


def _systems_disagree(flows: Sequence[Flow[Any]]) -> Problems:
    """One system with other limits in another flow: their workers would divide different totals."""
    first: dict[str, tuple[str, System]] = {}
    for destination in chain.from_iterable(flow.destinations for flow in flows):
        if (system := destination.policy.system) is not None:
            here = (str(destination.place), system)
            for message in conflicting_limits([first.setdefault(system.name, here), here]):
                yield Problem(destination.place, message, warning=True)


def _definitions(flow: Flow[Any]) -> list[Definition]:
    wired = [*flow.sources, *flow.topics, *flow.destinations, *flow.routes]
    return [*wired, *flow.clients, *flow.enrichments, *flow.operations]


def _functions_of_the_file(flow: Flow[Any]) -> list[Definition]:
    """The definitions that are functions of one parameter: all but existing topics, and but
    clients, enrichments and operations."""
    others = (ClientDefinition, Enrichment, Operation)
    found = (one for one in _definitions(flow) if not isinstance(one, others))
    return [definition for definition in found if not _is_existing(definition)]


def _is_existing(definition: Definition) -> bool:
    return isinstance(definition, Topic) and definition.declared_type is not None


def _topics_of(definition: Definition) -> tuple[str, ...]:
    """The Kafka topics that belong to a definition."""
    if isinstance(definition, Topic):
        return (definition.topic,)
    if isinstance(definition, SourceDefinition):
        return (definition.positions, definition.dlq)
    if isinstance(definition, Destination):
        calls = (definition.calls,) if definition.operations else ()
        return (definition.inbox, *definition.tiers, definition.dlq, *calls)
    return ()


def _event_types(topic: Topic[Any]) -> list[str]:
    """The event types that a topic can have; [] if that is decided when it runs."""
    if isinstance(topic.event_type, str):
        return [topic.event_type]
    if topic.event_type is None and not _is_existing(topic):
        return [f"{topic.topic}.{change}" for change in get_args(Change)]
    return []


def _not_among(all_: Iterable[T], used: Sequence[Any]) -> Iterator[T]:
    return (one for one in all_ if not any(one is other for other in used))


def _type_or_none(type_of: Callable[[Any], T], definition: Definition) -> T | None:
    """The type that ``type_of`` finds, or None where it raises: another check reports that."""
    try:
        return type_of(definition)
    except FlowError:
        return None


def _error_of(type_of: Callable[[Any], object], definition: Definition) -> Problems:
    try:
        type_of(definition)
    except FlowError as error:
        yield error.problem


def _problem(definition: Definition, message: str) -> Problem:
    return annotation_error(definition, message).problem
