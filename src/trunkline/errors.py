"""Every error that Trunkline raises, and what each one tells the engine to do.

TrunklineError
├── ConfigurationError        the program cannot start: a parameter, a flow, a schema is wrong
│   ├── AddressError          a connector can make nothing of an address, as of a URL
│   ├── RegistryRefused       the schema registry lets us in no more, or is none
│   └── MissingExtra          a driver is not installed; the message names the extra
├── DataError                 this event cannot be read or written: it ends in the DLQ
│   ├── SerializationError    a value does not fit its schema
│   │   └── RuleViolations    it fits, and breaks rules that its schema has
│   └── NoData                ``event.data`` of a delete that carries only its key
├── RegistryUnavailable       the schema registry cannot be asked now: the partition is held
├── TableUnreadable           the disk of a table is broken: the partition is held
├── SourceError               a source cannot go on; the engine restarts it with back-off
└── DeliveryError             an instruction of a sink to the engine
    ├── Rejected              never accepted: to the DLQ at once
    ├── Retryable             perhaps accepted later
    ├── Unavailable           the system is down: every event would fail now
    └── PartialFailure        some events of the batch failed, the others are delivered
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class TrunklineError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(TrunklineError):
    """The program cannot start as it is configured; the message says what to change."""


class AddressError(ConfigurationError):
    """A connector was given an address, as a URL, of which it can make nothing.

    Apart from the others since addresses are parameters, of another value in each environment."""


class RegistryRefused(ConfigurationError):
    """The schema registry refuses access, or what is at its address is no registry.

    Apart from the others since it can begin while events flow, as when a password is changed: then
    it says nothing about an event, and whoever needs a schema waits.
    """


class MissingExtra(ConfigurationError):
    """An optional driver is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'trunkline[{extra}]'")


class DataError(TrunklineError):
    """One event cannot be processed, now or ever; it ends in the dead-letter queue."""


class SerializationError(DataError):
    """A value does not fit its Avro schema, or bytes are not what their schema says."""


class Violation(NamedTuple):
    """A rule of a schema that a value breaks. ``rule``: its name; ``field``: the path of the field,
    or the fields, that it is about, "" for the whole; ``message``: what must be, and what is, a
    value that is tagged as personal being ``***``."""

    rule: str
    field: str
    message: str

    def __str__(self) -> str:
        of = f" ({self.field})" if self.field else ""
        return f"{self.rule}{of}: {self.message}"


MAX_TOLD_VIOLATIONS = 10
"""Violations that a message tells; all of them are in ``violations``."""


class RuleViolations(SerializationError):
    """A value fits its Avro schema and breaks rules that the schema has. ``type``: the schema's
    full name; ``violations``: all that were found; ``cause``: what it has in common with other
    values that break the same rules."""

    def __init__(self, type: str, violations: Sequence[Violation]) -> None:
        self.type = type
        self.violations = tuple(violations)
        rules = sorted({one.rule for one in violations})
        self.cause = f"{type} breaks {', '.join(rules)}"
        told = "; ".join(map(str, self.violations[:MAX_TOLD_VIOLATIONS]))
        more = len(self.violations) - MAX_TOLD_VIOLATIONS
        super().__init__(f"{type} breaks {told}" + (f"; and {more} more" if more > 0 else ""))


class NoData(DataError):
    """The event is a delete or a truncate: it has a key, but no data."""


class RegistryUnavailable(TrunklineError):
    """The schema registry does not answer. Never a reason to dead-letter: wait and ask again."""


class TableUnreadable(TrunklineError):
    """A table of this worker cannot be read or written, as its disk is broken. Never a reason to
    dead-letter: whoever needs its rows waits."""


class SourceError(TrunklineError):
    """A source cannot go on. The engine restarts it from its last position, with back-off."""


class DeliveryError(TrunklineError):
    """Base of what a sink raises: each subclass is an instruction to the engine.

    ``status``: the HTTP status that it stands for, if one does; a destination's ``reject=`` and
    ``Retry(on=…)`` can name it. ``cause``: what all events that fail for this reason have in
    common, without the values of this one (``PUT /{key} answered 422``); dead letters are grouped
    by it. "": the message with its numbers, ids and quoted values masked. ``unsent``: the system
    was surely never reached, so it cannot have done anything. ``code``: the system's own word for
    what is wrong, as ``QTY_MIN``, "" for none.
    """

    # For a subclass of a user's, whose __init__ does not call ours.
    status: int | None = None
    cause: str = ""
    unsent: bool = False
    code: str = ""

    def __init__(self, message: str = "", *, status: int | None = None, cause: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.cause = cause


class Rejected(DeliveryError):
    """The destination will never accept this event: it goes to the DLQ at once."""


class Retryable(DeliveryError):
    """The destination may accept this event later.

    ``after``: seconds that the destination asked us to wait (``Retry-After``), or None.
    """

    after: float | None = None

    def __init__(
        self,
        message: str = "",
        *,
        after: float | None = None,
        status: int | None = None,
        cause: str = "",
    ) -> None:
        super().__init__(message, status=status, cause=cause)
        self.after = after


class Unavailable(DeliveryError):
    """The destination is down (connect error, timeout, 502, 503, 504): any event would fail now.

    ``after``: seconds that the destination asked us to wait (``Retry-After``), or None.
    """

    after: float | None = None

    def __init__(
        self,
        message: str = "",
        *,
        after: float | None = None,
        status: int | None = None,
        cause: str = "",
    ) -> None:
        super().__init__(message, status=status, cause=cause)
        self.after = after


class PartialFailure(DeliveryError):
    """Some events of a batch failed; all others of the batch are delivered.

    ``failures``: the error of each failed event, by its index in the batch.
    """

    def __init__(self, failures: Mapping[int, DeliveryError]) -> None:
        super().__init__(f"{len(failures)} events of the batch failed")
        self.failures = dict(failures)


SCHEMA_UNAVAILABLE = (RegistryUnavailable, RegistryRefused)
"""A schema cannot be asked for now. It says nothing about the event: whoever needs it waits, and
nothing is dead-lettered."""
TABLE_UNAVAILABLE = (*SCHEMA_UNAVAILABLE, TableUnreadable)
"""The rows of a table cannot be had now; likewise."""
ROUTING_HOLDS = (*TABLE_UNAVAILABLE, Unavailable, Retryable)
"""An event cannot be routed now, for a reason that is not its own: its partition is held."""


def holding(error: BaseException) -> Exception | None:
    """The one of ROUTING_HOLDS that ``error`` is, or that is in it: a route that awaits two things
    in an ``asyncio.TaskGroup`` raises an ExceptionGroup. None if there is none."""
    if isinstance(error, ROUTING_HOLDS):
        return error
    if isinstance(error, ExceptionGroup):
        return next(filter(None, map(holding, error.exceptions)), None)
    return None
