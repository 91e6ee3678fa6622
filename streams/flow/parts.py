"""The parts of a flow that are wired: topics, destinations, and the routes between them; and what
the decorators of topics and routes accept, for type checkers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Generic, Protocol, TypeAlias, TypeVar, overload

from trunkline import naming
from trunkline.connectors.base import CallLimits, Sink
from trunkline.errors import ConfigurationError
from trunkline.event import Event, Record
from trunkline.params import Params
from trunkline.streams.flow.decorated import DeclaringFlow, Definition
from trunkline.streams.flow.enrichment import Enrichment
from trunkline.streams.flow.messages import Delete, Message, Otherwise
from trunkline.streams.flow.operation import Operation
from trunkline.streams.flow.policy import Policy
from trunkline.streams.flow.source import SourceDefinition
from trunkline.streams.flow.start import Start

EnvT = TypeVar("EnvT", bound=Params)
T = TypeVar("T")
S = TypeVar("S")
D = TypeVar("D")
R_co = TypeVar("R_co", covariant=True)


class Topic(Definition, Generic[T]):
    """A canonical topic: call it with a record and it returns the canonical value, or None.
    ``received``: the field of its value that is the key, of one whose events systems send to the
    gateway; "" for any other."""

    def __init__(
        self,
        flow: DeclaringFlow,
        function: Callable[[Record], T | None],
        topic: str,
        *,
        sources: Sequence[SourceDefinition[Any]] = (),
        key: Callable[[Record], str] | None = None,
        event_type: str | Callable[[T], str] | None = None,
        streams: tuple[str, ...] = (),
        type: type[T] | None = None,
    ) -> None:
        super().__init__(flow, function, "topic")
        self.topic = topic
        self.sources = tuple(sources)
        self.key = key
        self.event_type = event_type
        self.streams = streams
        self.declared_type = type
        self.start: Start = "earliest"
        self.received = ""

    def __call__(self, record: Record) -> T | None:
        value: T | None = self.function(record)
        return value


class Destination(Definition, Generic[EnvT, T]):
    """A destination of a flow: call it with the parameters and it builds the sink."""

    function: Callable[[EnvT], Sink[T]]

    def __init__(
        self, flow: DeclaringFlow, function: Callable[[EnvT], Sink[T]], *, policy: Policy
    ) -> None:
        super().__init__(flow, function, "destination")
        self.policy = policy
        self.enrichment: Enrichment[EnvT, Any, T, Any] | None = None
        self.operations: list[Operation[Any]] = []

    def __call__(self, env: EnvT) -> Sink[T]:
        return self.function(env)

    def build(self, env: EnvT) -> Sink[T]:
        """The sink, with what this destination says of its calls. Raises ConfigurationError for
        what the sink cannot honour."""
        sink = self(env)
        self.configure(sink)
        return sink

    def configure(self, sink: Sink[T]) -> None:
        """Tell the sink what this destination says of its calls; raises as ``build`` does."""
        limits = self.policy.limits
        try:
            sink.configure(
                CallLimits(limits.timeout, limits.batch, limits.linger, limits.concurrent)
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.flow.name}.{self.name}: {error}") from error

    @property
    def inbox(self) -> str:
        """The destination's own topic: everything that it is to receive passes through it."""
        return naming.inbox(self.flow.name, self.name)

    @property
    def tiers(self) -> tuple[str, ...]:
        """The topics where its events wait for another attempt, one for each delay of ``retry``."""
        delays = self.policy.retry.delays
        return tuple(naming.tier(self.flow.name, self.name, delay) for delay in delays)

    @property
    def max_backlog(self) -> float:
        """Seconds of its oldest event beyond which one of its operations takes no new calls; 0:
        none says so."""
        said = (one.policy.max_backlog for one in self.operations)
        return min((most for most in said if most), default=0.0)

    @property
    def calls(self) -> str:
        """The topic that says how each call of its operations stands."""
        return naming.calls(self.flow.name, self.name)

    @property
    def queries(self) -> str:
        """The topic of what its system is asked; "" where no operation only reads."""
        asks = any(one.policy.is_query for one in self.operations)
        return naming.queries(self.flow.name, self.name) if asks else ""

    @property
    def dlq(self) -> str:
        """The topic where this destination's undeliverable events end."""
        return naming.dlq(self.flow.name, self.name)


class Route(Definition, Generic[S, R_co]):
    """A pure function from a canonical event, and what it looks up, to a destination's messages; or
    to requests of an ``operation`` of it, which are called."""

    function: Callable[..., R_co]

    def __init__(
        self,
        flow: DeclaringFlow,
        function: Callable[..., R_co],
        topic: Topic[S],
        to: Destination[Any, Any],
        only: tuple[str, ...],
        *,
        deletes: bool = False,
        otherwise: Otherwise | None = None,
        operation: Operation[Any] | None = None,
    ) -> None:
        super().__init__(flow, function, "route")
        self.topic = topic
        self.to = to
        self.only = only
        self.deletes = deletes
        self.otherwise = otherwise
        self.operation = operation

    def __call__(self, event: Event[S], *more: Any, **named: Any) -> R_co:
        return self.function(event, *more, **named)


RouteFunction = Callable[Concatenate[Event[S], ...], T]
Sent: TypeAlias = D | Message[D] | Delete | Sequence[D] | Sequence[D | Message[D] | Delete] | None


class RouteDecorator(Protocol[S, D]):
    """What ``@flow.route(...)`` accepts: the return type must be the destination's."""

    @overload
    def __call__(self, function: RouteFunction[S, D]) -> Route[S, D]: ...
    @overload
    def __call__(self, function: RouteFunction[S, D | None]) -> Route[S, D | None]: ...
    @overload
    def __call__(self, function: RouteFunction[S, list[D]]) -> Route[S, list[D]]: ...
    @overload
    def __call__(self, function: RouteFunction[S, Awaitable[D]]) -> Route[S, Awaitable[D]]: ...
    @overload
    def __call__(
        self, function: RouteFunction[S, Awaitable[D | None]]
    ) -> Route[S, Awaitable[D | None]]: ...
    @overload
    def __call__(
        self, function: RouteFunction[S, Awaitable[D | Sequence[D] | None]]
    ) -> Route[S, Awaitable[D | Sequence[D] | None]]: ...
    @overload
    def __call__(
        self, function: RouteFunction[S, D | Sequence[D] | None]
    ) -> Route[S, D | Sequence[D] | None]: ...
    @overload
    def __call__(self, function: RouteFunction[S, Sent[D]]) -> Route[S, Sent[D]]: ...
    @overload
    def __call__(
        self, function: RouteFunction[S, Awaitable[Sent[D]]]
    ) -> Route[S, Awaitable[Sent[D]]]: ...


class TopicDecorator(Protocol):
    """What ``@flow.topic(...)`` accepts."""

    def __call__(self, function: Callable[[Record], T | None]) -> Topic[T]: ...
