"""Enrichment as a flow declares it: a function that adds to a destination's messages what another
system knows, and the clients that it asks with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
)

from trunkline.errors import ConfigurationError
from trunkline.params import Params
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.streams.flow.decorated import DeclaringFlow, Definition
from trunkline.streams.flow.problems import Problem, parsed_arguments
from trunkline.streams.flow.system import is_count
from trunkline.times import parse_duration

EnvT = TypeVar("EnvT", bound=Params)
C = TypeVar("C")
S = TypeVar("S")
D = TypeVar("D")
P = ParamSpec("P")

CONCURRENT = 20
"""Calls of the function under way at once, in one worker."""
TIMEOUT = 30.0
"""Seconds that one call may take."""


class EnrichmentOptions(TypedDict, total=False):
    """What ``@flow.enrich`` can be given, as a user writes it; docs/enrichment.md explains each."""

    cache: str
    concurrent: int
    timeout: str
    breaker: CircuitBreaker


@dataclass(frozen=True, slots=True)
class EnrichmentPolicy:
    """How an enrichment is called. ``cache``: seconds that an answer is kept, 0 for not at all;
    ``concurrent``: calls under way at once in a worker; ``timeout``: seconds of one call;
    ``more``: what of it a person wrote, for the picture that ``trunkline graph`` draws."""

    cache: float = 0.0
    concurrent: int = CONCURRENT
    timeout: float = TIMEOUT
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)

    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The policy in a line, as a person wrote it."""
        return ", ".join([*self.more, f"concurrent {self.concurrent}"])


class ClientDefinition(Definition, Generic[EnvT, C]):
    """A client of a flow: an async generator that opens it, yields it once, and closes it."""

    function: Callable[[EnvT], AsyncIterator[C]]

    def __call__(self, env: EnvT) -> AsyncIterator[C]:
        return self.function(env)


class Enrichment(Definition, Generic[EnvT, S, D, P]):
    """An async function from a destination's inbox message to what its sink gets. ``to``: the
    ``Destination[EnvT, D]``."""

    function: Callable[Concatenate[S, P], Awaitable[D | None]]

    def __init__(
        self,
        flow: DeclaringFlow,
        function: Callable[Concatenate[S, P], Awaitable[D | None]],
        to: Any,
        policy: EnrichmentPolicy,
    ) -> None:
        super().__init__(flow, function, "enrichment")
        self.to = to
        self.policy = policy

    def __call__(self, data: S, *args: P.args, **kwargs: P.kwargs) -> Awaitable[D | None]:
        return self.function(data, *args, **kwargs)


class EnrichDecorator(Protocol[EnvT, D]):
    """What ``@flow.enrich(...)`` accepts: the function returns what the sink takes."""

    def __call__(
        self, function: Callable[Concatenate[S, P], Awaitable[D | None]]
    ) -> Enrichment[EnvT, S, D, P]: ...


def declared_client(
    flow: DeclaringFlow, build: Callable[[EnvT], AsyncIterator[C]]
) -> ClientDefinition[EnvT, C]:
    """Add a client to the flow."""
    declared: ClientDefinition[EnvT, C] = ClientDefinition(flow, build, "client")
    flow.clients.append(declared)
    return declared


def enrich_decorator(
    flow: DeclaringFlow,
    to: Any,
    only: Callable[..., tuple[Any, ...]],
    options: EnrichmentOptions,
) -> EnrichDecorator[Any, Any]:
    """What adds an enrichment of the destination ``to`` to the flow. ``only``: the destination, if
    it is one; else what is wrong with it becomes a problem of the function."""
    policy, wrong = parse_enrichment(options)

    def declare(function: Callable[..., Awaitable[Any]]) -> Enrichment[Any, Any, Any, Any]:
        declared: Enrichment[Any, Any, Any, Any] = Enrichment(flow, function, to, policy)
        said = [f"enrichment {declared.name}: {message}" for message in wrong]
        flow.problems += [Problem(declared.place, message) for message in said]
        for destination in only(function):
            if destination.enrichment is None:
                destination.enrichment = declared
            flow.enrichments.append(declared)
        return declared

    return declare


def parse_enrichment(options: Mapping[str, Any]) -> tuple[EnrichmentPolicy, list[str]]:
    """The policy that the arguments mean, and what is wrong with them: see ``parsed_arguments``."""
    parsers: dict[str, Callable[[Any], Any]] = {
        "cache": _some_time,
        "concurrent": _count,
        "timeout": _some_time,
        "breaker": _breaker,
    }
    found, wrong = parsed_arguments(options, parsers)
    more = tuple(f"{name} {options[name]}" for name in ("cache", "timeout") if name in found)
    return EnrichmentPolicy(**found, more=more), wrong


def _some_time(text: Any) -> float:
    if (found := parse_duration(text)) <= 0:
        raise ConfigurationError(f"{text!r} is no time at all: write 5s")
    return found


def _count(value: Any) -> int:
    if not is_count(value):
        raise ConfigurationError(f"{value!r} is not a whole number from 1 on")
    return int(value)


def _breaker(value: Any) -> CircuitBreaker:
    if not isinstance(value, CircuitBreaker):
        raise ConfigurationError(f"{value!r} is no CircuitBreaker: write CircuitBreaker()")
    return value
