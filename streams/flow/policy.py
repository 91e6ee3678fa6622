"""A destination's delivery policy: everything that decides when an event is sent, and again.

Users write it as the arguments of ``@flow.destination`` (``DestinationOptions``);
``parse_policy`` makes a ``Policy`` of them, in seconds, and finds all that is wrong at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeVar, get_args, get_type_hints

from trunkline.errors import ConfigurationError, Unavailable
from trunkline.streams.flow.alert import Alert
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.flow.maintenance import Window
from trunkline.streams.flow.retry import MOST_DELAY, ErrorMatch, Retry, error_matches
from trunkline.streams.flow.system import System, is_count
from trunkline.times import parse_duration, parse_rate

T = TypeVar("T")

Order = Literal["key", "none"]
OnDead = Literal["continue", "halt"]
Outage = Literal["hold", "tiers"]
_HOLD: tuple[Outage, tuple[ErrorMatch, ...]] = ("hold", ())


class DestinationOptions(TypedDict, total=False):
    """What a destination can be given, as a user writes it; docs/delivery.md explains each."""

    order: Order
    retry: Retry
    delay: str | None
    on_dead: OnDead
    outage: Outage | Sequence[ErrorMatch]
    reject: Sequence[ErrorMatch] | None
    breaker: CircuitBreaker
    maintenance: str | Sequence[str] | None
    rate: str | None
    concurrent: int | None
    batch: int | None
    linger: str | None
    timeout: str | None
    system: System | None
    dead_letter_limit: DeadLetterLimit | None
    alert: Alert


NONE_BY_DEFAULT = frozenset(
    name
    for name, kind in get_type_hints(DestinationOptions).items()
    if type(None) in get_args(kind)
)
"""Arguments that are not there unless they are given, so that None says it as well."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a destination may be sent at most, by all workers together. None: no limit.

    ``rate``: events per second; ``concurrent``: calls under way; ``batch``: events in one call;
    ``linger``: seconds that a batch may wait to fill; ``timeout``: seconds of one call.
    """

    rate: float | None = None
    concurrent: int | None = None
    batch: int | None = None
    linger: float = 0.0
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How events reach one destination.

    ``delay``: seconds before the first attempt; ``down``: errors that mean an outage, and
    ``reject``: errors that mean "never", whatever the
    sink calls them; ``dead_letter_limit``: None for none.
    """

    order: Order = "key"
    retry: Retry = field(default_factory=lambda: Retry.DEFAULT)
    delay: float = 0.0
    on_dead: OnDead = "continue"
    outage: Outage = "hold"
    down: tuple[ErrorMatch, ...] = ()
    reject: tuple[ErrorMatch, ...] = ()
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    maintenance: tuple[Window, ...] = ()
    limits: Limits = Limits()
    system: System | None = None
    dead_letter_limit: DeadLetterLimit | None = None
    alert: Alert = field(default_factory=Alert)
    more: tuple[str, ...] = field(default=(), compare=False)
    """What a person wrote besides order and retry, as far as it fits into a few words: for the
    picture that ``trunkline graph`` draws."""

    def __str__(self) -> str:
        """The policy in a line, as a person wrote it."""
        return ", ".join(
            [f"order {self.order}", f"retry {' '.join(self.retry.delays)}", *self.more]
        )


def parse_policy(arguments: Mapping[str, Any]) -> tuple[Policy, list[str]]:
    """The policy that a destination's arguments mean, and what is wrong with them, in sentences.

    Raises nothing: a wrong argument counts as not given, so that ``trunkline check`` can go on and
    show every mistake of a flow at once, and not the first one.
    """
    given = _Options(arguments)
    policy = Policy(
        order=given.read("order", _one_of(Order), "key"),
        retry=given.read("retry", _a(Retry, "Retry('10s', '1m')"), Retry.DEFAULT),
        delay=given.read("delay", _delay, 0.0),
        on_dead=given.read("on_dead", _one_of(OnDead), "continue"),
        # One argument, two things: outage="tiers" says what is done, outage=[500] what counts as
        # one. It is read twice, and tells of a mistake once.
        outage=given.read("outage", _outage, _HOLD)[0],
        down=given.read("outage", _outage, _HOLD, tells=False)[1],
        reject=given.read("reject", error_matches, ()),
        breaker=given.read("breaker", _a(CircuitBreaker, "CircuitBreaker()"), CircuitBreaker()),
        maintenance=given.read("maintenance", _windows, ()),
        limits=_limits(given),
        system=given.read("system", _a(System, "System('erp', rate='50/s')"), None),
        dead_letter_limit=given.read(
            "dead_letter_limit", _a(DeadLetterLimit, "DeadLetterLimit(share=0.2)"), None
        ),
        alert=given.read("alert", _a(Alert, "Alert(lag='15m')"), Alert()),
        more=tuple(given.words()),
    )
    return policy, [*given.wrong, *_contradictions(policy)]


def _limits(given: _Options) -> Limits:
    return Limits(
        rate=given.read("rate", parse_rate, None),
        concurrent=given.read("concurrent", _count, None),
        batch=given.read("batch", _count, None),
        linger=given.read("linger", parse_duration, 0.0),
        timeout=given.read("timeout", _some_time, None),
    )


class _Options:
    """The arguments as they were written; ``wrong`` says what of them cannot be."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments
        unknown = arguments.keys() - DestinationOptions.__annotations__.keys()
        known = ", ".join(DestinationOptions.__annotations__)
        self.wrong = [f"{name}= is no argument: there are {known}" for name in sorted(unknown)]

    def read(self, name: str, parsed: Callable[[Any], T], default: T, *, tells: bool = True) -> T:
        """An argument, parsed; ``default`` if it is not given or wrong, which is noted if it
        ``tells``."""
        given = self._arguments.get(name)
        # None says "none" only where that is the default: breaker=None would not mean the breaker
        # that a destination has without a word of it.
        if name not in self._arguments or (given is None and name in NONE_BY_DEFAULT):
            return default
        try:
            return parsed(given)
        except ConfigurationError as error:
            if tells:
                self.wrong.append(f"{name}: {error}")
            return default

    def words(self) -> Iterator[str]:
        """Each argument that fits into a few words, but the order."""
        for name, value in self._arguments.items():
            if isinstance(value, System):
                yield f"{name} {value.name}"
            elif isinstance(value, list | tuple):
                yield f"{name} {' '.join(map(_named, value))}"
            elif isinstance(value, str | int) and name != "order":
                yield f"{name} {value}"


def _contradictions(policy: Policy) -> list[str]:
    """What is wrong with arguments that are right each by itself."""
    found = []
    if policy.on_dead == "halt" and policy.order == "none":
        found.append("on_dead='halt' keeps a key blocked, and needs order='key'")
    # An error in two lists would mean whatever the classifier looks at first: the person who wrote
    # both meant one of them, and only they know which.
    for cause in policy.down:
        for others, where in ((policy.reject, "reject="), (policy.retry.on, "the retry's on=")):
            if cause in others:
                found.append(f"{_named(cause)} is in outage= and in {where}: choose one")
    for cause in policy.reject:
        if cause in policy.retry.on:
            found.append(f"{_named(cause)} is in reject= and in the retry's on=: choose one")
        if isinstance(cause, type) and issubclass(Unavailable, cause):
            found.append(
                f"reject: {_named(cause)} means every outage, which would empty the inbox into "
                "the DLQ: name a narrower class or a status"
            )
    return found


def _named(cause: object) -> str:
    return cause.__name__ if isinstance(cause, type) else str(cause)


def _one_of(choices: Any) -> Callable[[Any], Any]:
    """A parser of a Literal's values."""

    def parsed(value: Any) -> Any:
        if value not in get_args(choices):
            raise ConfigurationError(
                f"{value!r} is not {' or '.join(map(repr, get_args(choices)))}"
            )
        return value

    return parsed


def _outage(value: Any) -> tuple[Outage, tuple[ErrorMatch, ...]]:
    """What is done in an outage, and the errors that mean one besides ``Unavailable``."""
    if isinstance(value, list | tuple):
        return "hold", error_matches(value)
    if value not in get_args(Outage):
        raise ConfigurationError(
            f"{value!r} is not 'hold' or 'tiers', nor a list of what means down: [500, OSError]"
        )
    return value, ()


def _a(kind: type[T], example: str) -> Callable[[Any], T]:
    """A parser that takes the objects of a class alone."""

    def parsed(value: Any) -> T:
        if not isinstance(value, kind):
            raise ConfigurationError(f"{value!r} is no {kind.__name__}: write {example}")
        return value

    return parsed


def _windows(texts: Any) -> tuple[Window, ...]:
    several = texts if isinstance(texts, list | tuple) else (texts,)
    if not all(isinstance(text, str) for text in several):
        raise ConfigurationError(f"{texts!r}: write 'Sun 02:00 2h Europe/Rome', or several")
    return tuple(Window.parse(text) for text in several)


def _delay(text: Any) -> float:
    if (found := parse_duration(text)) > MOST_DELAY:
        raise ConfigurationError(f"{text!r} is more than 366d")
    return found


def _count(value: Any) -> int:
    if not is_count(value):
        raise ConfigurationError(f"{value!r} is not a whole number from 1 on")
    return int(value)


def _some_time(text: Any) -> float:
    if (found := parse_duration(text)) <= 0:
        raise ConfigurationError(f"{text!r} is no time at all: write 5s")
    return found
