"""Flows as code: a Python file wires sources, topics, routes and destinations.

Importing a flow does no I/O: builders (sources and destinations) run when a worker has its
parameters. The functions' names are the topology: topics, metrics, CLI arguments and consumer
groups come from them. Decorated functions stay callable, so a route is tested by calling it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, Unpack, overload

from trunkline import naming
from trunkline.connectors.base import Sink
from trunkline.event import Record
from trunkline.params import Params
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.flow.enrichment import (
    ClientDefinition,
    EnrichDecorator,
    Enrichment,
    EnrichmentOptions,
    declared_client,
    enrich_decorator,
)
from trunkline.streams.flow.imported import (
    ImportedOperations,
    ImportOptions,
    OpenAPI,
    imported_operations,
)
from trunkline.streams.flow.messages import Otherwise
from trunkline.streams.flow.operation import (
    Operation,
    OperationDecorator,
    OperationOptions,
    SqlOperationDecorator,
    operation_decorator,
)
from trunkline.streams.flow.parts import (
    Destination,
    Route,
    RouteDecorator,
    RouteFunction,
    Topic,
    TopicDecorator,
)
from trunkline.streams.flow.policy import DestinationOptions, parse_policy
from trunkline.streams.flow.problems import Problem, SourceLocation
from trunkline.streams.flow.source import LINGER, AnySource, SourceDefinition
from trunkline.streams.flow.start import declared_start
from trunkline.streams.flow.table import StoreKind, TableDefinition, declared_table
from trunkline.streams.flow.version import version_of

__all__ = ["Destination", "Flow", "Route", "Topic"]

EnvT = TypeVar("EnvT", bound=Params)
T = TypeVar("T")
C = TypeVar("C")
S = TypeVar("S")
D = TypeVar("D")
R_co = TypeVar("R_co", covariant=True)


_ARTICLE = {SourceDefinition: "a source", Topic: "a topic", Destination: "a destination"}


@dataclass
class Flow(Generic[EnvT]):
    """One integration: everything of one file. ``params`` is the type of its parameters.
    ``version``: what dead letters say of it; a short hash of the file by default.

    Mistakes in the wiring are collected in ``problems`` with their places, so that
    ``trunkline check`` shows all of them at once; a flow with problems does not run.
    """

    name: str
    params: type[EnvT]
    version: str = ""
    sources: list[SourceDefinition[EnvT]] = field(default_factory=list)
    topics: list[Topic[Any]] = field(default_factory=list)
    destinations: list[Destination[EnvT, Any]] = field(default_factory=list)
    routes: list[Route[Any, Any]] = field(default_factory=list)
    tables: list[TableDefinition[Any]] = field(default_factory=list)
    clients: list[ClientDefinition[EnvT, Any]] = field(default_factory=list)
    enrichments: list[Enrichment[EnvT, Any, Any, Any]] = field(default_factory=list)
    operations: list[Operation[Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    place: SourceLocation = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.place = SourceLocation.of_caller(2)  # over the generated __init__, to the flow file
        self.version = self.version or version_of(self.place.file)

    @property
    def control(self) -> str:
        """The compacted topic of what operators ask for: pauses, replays, re-drives."""
        return naming.control(self.name)

    @property
    def audit(self) -> str:
        """The topic that says for ever who did what, when and why."""
        return naming.audit(self.name)

    @overload
    def source(self, build: Callable[[EnvT], AnySource], /) -> SourceDefinition[EnvT]: ...
    @overload
    def source(
        self,
        /,
        *,
        ignore: str | Sequence[str] = (),
        dead_letter_limit: DeadLetterLimit | None = None,
        linger: str = LINGER,
    ) -> Callable[[Callable[[EnvT], AnySource]], SourceDefinition[EnvT]]: ...
    def source(
        self,
        build: Callable[[EnvT], AnySource] | None = None,
        /,
        *,
        ignore: str | Sequence[str] = (),
        dead_letter_limit: DeadLetterLimit | None = None,
        linger: str = LINGER,
    ) -> Any:
        """Declare a source: a function from the parameters to a connector. ``ignore``: streams of
        it, as ``public.audit_log``, that no topic takes on purpose. ``dead_letter_limit``: when so
        much cannot be mapped that it stops, before it publishes that; None for never. ``linger``:
        how long after one change the next ones are gathered into one transaction; "0ms" for a
        transaction as soon as there is a change."""

        def declare(function: Callable[[EnvT], AnySource]) -> SourceDefinition[EnvT]:
            source: SourceDefinition[EnvT] = SourceDefinition(
                *(self, function),
                ignore=ignore,
                dead_letter_limit=dead_letter_limit,
                linger=linger,
            )
            self.sources.append(source)
            return source

        return declare if build is None else declare(build)

    def topic(
        self,
        topic: str,
        *,
        source: SourceDefinition[EnvT] | Sequence[SourceDefinition[EnvT]],
        key: Callable[[Record], str] | None = None,
        event_type: str | Callable[[Any], str] | None = None,
        stream: str | Sequence[str] = (),
    ) -> TopicDecorator:
        """Declare a canonical topic: a function from a source's record to its canonical value.

        None drops the record. ``key``: the entity's key, the record's own by default; for a
        delete the record's data may hold the key's columns only. ``event_type``: ``ce_type``, or
        a function of the value; ``<topic>.<change>`` by default. ``stream``: the source's tables
        or collections that belong here, as ``public.orders``; all by default. A delete does not
        call the function: it is published with its key alone.
        """
        given = tuple(source) if isinstance(source, Sequence) else (source,)
        streams = (stream,) if isinstance(stream, str) else tuple(stream)

        def declare(function: Callable[[Record], Any]) -> Topic[Any]:
            sources = self._only(SourceDefinition, given, function, "source=")
            declared: Topic[Any] = Topic(
                *(self, function, topic),
                sources=sources,
                key=key,
                event_type=event_type,
                streams=streams,
            )
            self.topics.append(declared)
            return declared

        return declare

    def existing_topic(self, topic: str, type: type[T], *, start: str = "earliest") -> Topic[T]:
        """A canonical topic that somebody else publishes, as another flow. ``start``: with what its
        routes begin, at the flow's first start: ``"latest"`` or a time leave out what is older."""

        def existing(record: Record) -> T | None:
            raise TypeError(f"{topic} is published elsewhere: this flow only reads it")

        declared = Topic(self, existing, topic, type=type)
        declared.name = topic
        # Its function is ours, so what is wrong with it is told at the line that declared it.
        declared.place = SourceLocation.of_caller(1)
        declared.start = declared_start(start, topic, declared.place, self.problems)
        self.topics.append(declared)
        return declared

    def received_topic(self, topic: str, type: type[T], *, key: str) -> Topic[T]:
        """A canonical topic whose events systems send to the gateway. ``key``: the field of the
        value that names the entity. docs/gateway.md has the rest."""
        declared = self.existing_topic(topic, type)
        declared.place = SourceLocation.of_caller(1)
        declared.received = key
        return declared

    def table(
        self, topic: Topic[T], *, by: str = "", name: str = "", store: StoreKind = "memory"
    ) -> TableDefinition[T]:
        """Declare a table, which routes look up in a parameter ``Table[T]``: the newest value per
        key of a topic; or with ``by`` an ``Index[T]`` by that field. ``name``: the topic's by
        default. ``store``: ``"disk"`` for large ones. See docs/tables.md."""
        return declared_table(self, topic, by, name, store, SourceLocation.of_caller(1))

    @overload
    def destination(self, build: Callable[[EnvT], Sink[T]], /) -> Destination[EnvT, T]: ...
    @overload
    def destination(
        self, /, **policy: Unpack[DestinationOptions]
    ) -> Callable[[Callable[[EnvT], Sink[T]]], Destination[EnvT, T]]: ...
    def destination(
        self, build: Callable[[EnvT], Sink[Any]] | None = None, /, **policy: Any
    ) -> Any:
        """Declare a destination: a function from the parameters to a sink, and its policy.

        ``policy``: when events are sent, and again; docs/delivery.md has every argument. What is
        wrong with them is collected in ``problems``.
        """
        parsed, wrong = parse_policy(policy)

        def declare(function: Callable[[EnvT], Sink[Any]]) -> Destination[EnvT, Any]:
            declared: Destination[EnvT, Any] = Destination(self, function, policy=parsed)
            self.destinations.append(declared)
            said = [f"destination {declared.name}: {message}" for message in wrong]
            self.problems += [Problem(declared.place, message) for message in said]
            return declared

        return declare if build is None else declare(build)

    def client(self, build: Callable[[EnvT], AsyncIterator[C]], /) -> ClientDefinition[EnvT, C]:
        """Declare a client of enrichments: an async generator from the parameters, which opens it,
        yields it once, and closes it. Enrichments take it by its type."""
        return declared_client(self, build)

    def enrich(
        self, /, *, to: Destination[EnvT, D], **options: Unpack[EnrichmentOptions]
    ) -> EnrichDecorator[EnvT, D]:
        """Declare an enrichment: an async function from what the destination's routes return to
        what its sink gets, or to None, which drops the message. docs/enrichment.md has the rest."""
        only = partial(self._only, Destination, (to,), what="to=")
        return enrich_decorator(self, to, only, options)

    @overload
    def operation(
        self, /, *, to: Destination[EnvT, Any], **options: Unpack[OperationOptions]
    ) -> OperationDecorator: ...
    @overload
    def operation(
        self, /, *, to: Destination[EnvT, Any], sql: str, **options: Unpack[OperationOptions]
    ) -> SqlOperationDecorator: ...
    def operation(self, /, *, to: Destination[EnvT, Any], **options: Any) -> Any:
        """Declare an operation, which others call through the gateway: a function from a ``Call``
        to the request that the destination's system gets, or with ``sql=`` to the values of the
        statement's parameters. docs/operations-of-systems.md has the rest."""
        only = partial(self._only, Destination, (to,), what="to=")
        return operation_decorator(self, to, only, options)

    def import_operations(
        self,
        to: Destination[EnvT, Any],
        document: OpenAPI,
        *,
        only: Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
        reads: Sequence[str] = (),
        **options: Unpack[ImportOptions],
    ) -> ImportedOperations:
        """Declare operations that an OpenAPI document of the destination's system describes, all of
        them or ``only`` these, by their ids. ``rename``: other names; ``reads``: those that change
        nothing, though their method is none of reading. docs/openapi-import.md has the rest."""
        given: dict[str, Any] = {**options}
        return imported_operations(
            *(self, to, document, SourceLocation.of_caller(1)),
            only=only,
            rename=rename or {},
            reads=reads,
            options=given,
        )

    def route(
        self,
        topic: Topic[S],
        *,
        to: Destination[EnvT, D] | Enrichment[EnvT, D, Any, Any] | Operation[D],
        only: str | Sequence[str] = (),
        deletes: bool = False,
        otherwise: Otherwise | None = None,
    ) -> RouteDecorator[S, D]:
        """Declare a route: a pure function from an event to the destination's message, several
        messages in a list, or None. A message is data, a ``Message`` or a ``Delete``.

        ``only``: the event types it listens to (``order.*`` matches a prefix), decided on the
        headers before anything is decoded. Returning ``event.data`` itself forwards the original
        bytes. A delete does not call the route, but is forwarded by key to a destination that
        accepts deletes; with ``deletes`` the function gets it, as an event without data whose
        ``change`` is ``delete``, and what it returns is sent instead. ``otherwise="delete"``: where
        the function returns None or an empty list, a delete of the event's key is sent, so that
        the destination loses what no longer passes the filter. What a route raises sends that
        event to the destination's DLQ. ``to``: a destination; the enrichment that its messages
        pass, which type checkers know by what it takes; or an operation, which is called with what
        the function returns.
        """
        destination = to.to if isinstance(to, Enrichment | Operation) else to
        operation = to if isinstance(to, Operation) else None
        types = (only,) if isinstance(only, str) else tuple(only)

        def declare(function: RouteFunction[S, Any]) -> Route[S, Any]:
            declared: Route[S, Any] = Route(
                *(self, function, topic, destination, types),
                deletes=deletes,
                otherwise=otherwise,
                operation=operation,
            )
            right = self._only(Topic, (topic,), function, "the first argument")
            right += self._only(Destination, (destination,), function, "to=")
            # A route without a topic or a destination would break every look that follows its ends;
            # the problem that `_only` noted says where it stands, and a flow with problems does not
            # run.
            if len(right) == 2:
                self.routes.append(declared)
            return declared

        return declare

    def _only(
        self, kind: type[Any], given: Sequence[Any], function: Callable[..., Any], what: str
    ) -> tuple[Any, ...]:
        """Those of ``given`` that are a ``kind``; each other one is a problem of ``function``."""
        for wrong in (thing for thing in given if not isinstance(thing, kind)):
            expected = _ARTICLE[kind]
            message = f"{function.__name__}: {what} is {wrong!r}: name {expected} of this flow"
            # Noted and not raised: the file goes on being read, so that its other mistakes are told
            # too.
            self.problems.append(Problem(SourceLocation.of(function), message))
        return tuple(thing for thing in given if isinstance(thing, kind))
