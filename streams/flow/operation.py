"""Operations as a flow declares them: predefined requests of a system, which others may call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypedDict, TypeVar

from trunkline.connectors.base import HttpRequest, RequestType, SqlRequest
from trunkline.errors import ConfigurationError
from trunkline.streams.flow.decorated import DeclaringFlow, Definition
from trunkline.streams.flow.problems import Problem, parsed_arguments
from trunkline.streams.flow.statement import parsed_statement, statement_problem
from trunkline.times import parse_duration

D = TypeVar("D")

MAX_WAIT = 60.0
"""Seconds that a caller may wait for the answer."""
MAX_EXPIRES = 86_400.0
"""Seconds that a call may wait to be attempted: its record is kept for a day."""
MAX_COST = 1_000
"""What a call may take of its client's limits."""
REPEATABLE = ("replace", "delete")
"""Verbs of which two are as good as one: a call needs no Idempotency-Key."""
QUERIES = ("get", "list", "search")
"""Verbs that change nothing: a call needs no order, and is never repeated."""
CHECK = "check:"
_VERB = re.compile(r"[a-z][a-z0-9_]{0,49}")
_ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class OperationOptions(TypedDict, total=False):
    """What an operation can be given, as a user writes it."""

    verb: str
    resource: str
    key: str
    wait: str
    expires: str
    doubt: str
    approve: str
    cost: int
    max_backlog: str


@dataclass(frozen=True, slots=True)
class OperationPolicy:
    """How an operation is called. ``key``: the field of the request that names the entity, "" for
    none; ``wait``, ``expires``: seconds; ``doubt``: what becomes of a call whose worker died before
    it could write what came of it: ``retry``, ``ask``, or ``check:`` and the name of a query;
    ``approve``: the role of those who must approve a call, "" for none; ``sql``: the statement that
    a database is asked for, whose parameters the function gives, "" for what is no database;
    ``cost``: what a call takes of its client's limits; ``max_backlog``: seconds that the oldest
    event of the destination may wait while new calls are taken, 0 for any."""

    verb: str = ""
    resource: str = ""
    key: str = ""
    wait: float = 10.0
    expires: float = 3600.0
    doubt: str = "retry"
    approve: str = ""
    sql: str = ""
    cost: int = 1
    max_backlog: float = 0.0

    @property
    def is_query(self) -> bool:
        """Whether it changes nothing."""
        return self.verb in QUERIES

    @property
    def check(self) -> str:
        """The query that tells whether a call was done, "" for none."""
        return self.doubt.removeprefix(CHECK) if self.doubt.startswith(CHECK) else ""


@dataclass(frozen=True, slots=True)
class Call(Generic[D]):
    """One call of an operation, as its function sees it.

    ``data``: the request; ``id``: the same in each attempt and in no other call; ``client``: who
    called; ``key``: the entity's; ``attempt``: 1 for the first.
    """

    data: D
    id: str
    client: str
    key: str = ""
    attempt: int = 1


SqlValues = Mapping[str, object]
"""The values of a statement's parameters, by name."""


class Operation(Definition, Generic[D]):
    """An operation: call it with a ``Call`` and it returns what its function does. ``to``: the
    Destination."""

    function: Callable[[Call[D]], HttpRequest | SqlValues]

    def __init__(
        self,
        flow: DeclaringFlow,
        function: Callable[[Call[D]], HttpRequest | SqlValues],
        to: Any,
        policy: OperationPolicy,
    ) -> None:
        super().__init__(flow, function, "operation")
        self.to = to
        self.policy = policy

    def __call__(self, call: Call[D]) -> Any:
        return self.function(call)

    def request(self, call: Call[D]) -> Any:
        """What the sink is asked for: an HttpRequest or a SqlRequest, if the function returns what
        it should; else that."""
        made: Any = self.function(call)
        sql, reads = self.policy.sql, self.policy.is_query
        if sql and isinstance(made, Mapping):
            return SqlRequest(sql, made, reads=reads, one=self.policy.verb == "get")
        return made

    def sent(self, data: D) -> Any:
        """What goes through Kafka of a request: the request itself."""
        return data

    @property
    def takes(self) -> RequestType:
        """What its sink must take."""
        return SqlRequest if self.policy.sql else HttpRequest

    @property
    def check(self) -> Operation[Any] | None:
        """The query that tells whether a call of it was done."""
        name = self.policy.check
        named = (one for one in self.to.operations if one.name == name and one.policy.is_query)
        return next(named, None) if name else None

    @property
    def system(self) -> str:
        """The system that callers name: the destination's ``system=``, else its own name."""
        system = self.to.policy.system
        return str(self.to.name if system is None else system.name)


class HttpOperation(Operation[D]):
    """An operation of an API: its function returns the request."""

    function: Callable[[Call[D]], HttpRequest]

    def __call__(self, call: Call[D]) -> HttpRequest:
        return self.function(call)


class SqlOperation(Operation[D]):
    """An operation of a database: its function returns the values of the statement's parameters."""

    function: Callable[[Call[D]], SqlValues]

    def __call__(self, call: Call[D]) -> SqlValues:
        return self.function(call)


class OperationDecorator(Protocol):
    """What ``@flow.operation(...)`` accepts."""

    def __call__(self, function: Callable[[Call[D]], HttpRequest]) -> HttpOperation[D]: ...


class SqlOperationDecorator(Protocol):
    """What ``@flow.operation(..., sql=...)`` accepts."""

    def __call__(self, function: Callable[[Call[D]], SqlValues]) -> SqlOperation[D]: ...


def operation_decorator(
    flow: DeclaringFlow, to: Any, only: Callable[..., tuple[Any, ...]], options: Mapping[str, Any]
) -> Any:
    """What adds an operation of the destination ``to`` to the flow. ``only``: the destination, if
    it is one; else what is wrong with it becomes a problem of the function."""
    policy, wrong = parse_operation(options)
    kind: type[Operation[Any]] = SqlOperation if policy.sql else HttpOperation

    def declare(function: Callable[[Call[Any]], Any]) -> Operation[Any]:
        declared = kind(flow, function, to, policy)
        said = [f"operation {declared.name}: {message}" for message in wrong]
        flow.problems += [Problem(declared.place, message) for message in said]
        for destination in only(function):
            destination.operations.append(declared)
            flow.operations.append(declared)
        return declared

    return declare


def parse_operation(options: Mapping[str, Any]) -> tuple[OperationPolicy, list[str]]:
    """The policy that the arguments mean, and what is wrong with them: see ``parsed_arguments``."""
    parsers: dict[str, Callable[[Any], Any]] = {
        "verb": _verb,
        "resource": _resource,
        "key": _name,
        "wait": lambda text: _time(text, MAX_WAIT),
        "expires": lambda text: _time(text, MAX_EXPIRES),
        "doubt": _doubt,
        "approve": _role,
        "sql": parsed_statement,
        "cost": _cost,
        "max_backlog": lambda text: _time(text, MAX_EXPIRES),
    }
    missing = [
        f"{name}= is missing: {why}"
        for name, why in (("verb", "write verb='update'"), ("resource", "write resource='orders'"))
        if name not in options
    ]
    found, bad = parsed_arguments(options, parsers, "to")
    wrong = [*missing, *bad]
    policy = OperationPolicy(**found)
    if problem := statement_problem(policy.sql, reads=policy.is_query):
        wrong.append(problem)
    if "sql" in options and not policy.sql:  # told: that it has none would be said once more
        policy = replace(policy, sql=str(options["sql"]) or "none")
    if policy.is_query:
        for name in ("expires", "doubt", "approve", "max_backlog"):
            if name in options:
                wrong.append(f"{name}=: {policy.verb} changes nothing: it lasts as long as wait=")
        return replace(
            policy, expires=policy.wait, doubt="retry", approve="", max_backlog=0.0
        ), wrong
    if policy.wait > policy.expires:
        wrong.append("wait= is longer than expires=: a caller would wait for a call that is over")
    return policy, wrong


def _verb(value: Any) -> str:
    if not isinstance(value, str) or not _VERB.fullmatch(value):
        raise ConfigurationError(
            f"{value!r} is no verb: write create, update, replace, delete, or a word of your own"
        )
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", value):
        raise ConfigurationError(f"{value!r} is no name of letters, digits and '_'")
    return value


def _resource(value: Any) -> str:
    if value == "operations":
        raise ConfigurationError("'operations' is the gateway's own: name what it is about")
    return _name(value)


def _time(text: Any, most: float) -> float:
    found = parse_duration(text)
    if not 0 < found <= most:
        raise ConfigurationError(f"{text!r} is not more than nothing and at most {most:.0f}s")
    return found


def _doubt(value: Any) -> str:
    if value in ("retry", "ask"):
        return str(value)
    if isinstance(value, str) and value.startswith(CHECK) and len(value) > len(CHECK):
        return value
    raise ConfigurationError(
        f"{value!r} is not 'retry', 'ask', or 'check:' and the name of a query, as check:get_order"
    )


def _cost(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_COST:
        raise ConfigurationError(f"{value!r} is no whole number from 1 to {MAX_COST}")
    return value


def _role(value: Any) -> str:
    if not isinstance(value, str) or not _ROLE.fullmatch(value):
        raise ConfigurationError(f"{value!r} is no role, as 'finance-lead'")
    return value
