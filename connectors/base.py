"""The contract between the engine and a connector: who calls what, when, and from which thread.

A connector is done when it passes the shipped acceptance suite, ``trunkline.connectors.contract``.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from trunkline.errors import ConfigurationError, DataError
from trunkline.event import Event, Record

T = TypeVar("T")

Position = dict[str, Any]
"""Where a source stands: JSON-able, understood by that source alone, stored in Kafka.

It is written with each batch, so it should be small. What grows, as the files that were read,
belongs into its entry ``parts``, a dict of JSON values by name: each is stored as a record of its
own (under 800 kB), and written only when it is another than in the position before.

Two more entries people are shown, where a source has them: ``phase``, a word for what it does, as
"snapshot"; and ``progress``, how far that is: ``{"of": what, "rows": read, "about": or None}``.
A source that takes snapshots on demand has ``snapshots``: by the id of each request ``rows`` and
``about``, ``done`` once it is, and the ``error`` that ended it.
"""

Publish = Callable[[Sequence[Record]], Awaitable[None]]
"""Publishes records; returns when Kafka has acknowledged all of them, raises when it has not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What keeps a source from running, or will: ``what`` is wrong, and how to ``mend`` it, in
    the system's own language (SQL) where it has one, so that it runs as it stands. ``warning``: it
    runs all the same."""

    what: str
    mend: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that a source's system knows of it, as how much log waits for the source.

    ``name``: in snake case, ending with the unit: ``behind_bytes``. ``words``: what people read in
    place of the number. ``warning``: what will keep the source from running, or harm its system,
    unless somebody mends it, and how; "" as long as all is well.
    """

    name: str
    value: float
    words: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Rows that an operator wants read again, or for the first time, while changes go on.

    ``id``: names it, also in the position; ``stream``: whose rows; ``where``: a condition in the
    system's own language, "" for all rows. ``state``: a stopped one is given up for good.
    """

    id: str
    stream: str
    where: str = ""
    state: Literal["running", "paused", "stopped"] = "running"


@dataclass(slots=True)
class Batch:
    """Records in their order, and the position after the last of them.

    ``records`` may be empty: then only the position moves on. ``current``: whether the source
    stands at the end of its system with it; False while it knows that more waits, as in a snapshot.
    A source that was not current gives a batch, if need be an empty one, as soon as it is: until
    then it counts as late.
    """

    records: list[Record]
    position: Position
    current: bool = True


class Source(ABC):
    """Reads a system whose changes have a position: CDC, polling, files.

    The engine runs one instance at a time over all workers, in a thread of its own, and calls
    ``read`` → ``acknowledge`` (any number of times) → ``close``. It publishes each batch and
    stores its position in one Kafka transaction.
    """

    takes_snapshots: bool = False
    """Whether it obeys ``snapshots``."""

    @abstractmethod
    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """Yield batches from ``position`` on (None: from the beginning, snapshot first).

        Runs in the source's own thread and may block, but for less than 0.5 s once ``stop`` is
        set. Yields micro-batches of what has arrived, up to about 2,000 records, and does not
        wait to fill them. A change read again after a restart has the same ``Record.id``. What
        is there but cannot be read (a line that does not parse) is a record, too, with
        ``Record.unreadable``: it becomes a dead letter, and reading goes on behind it.
        Raises SourceError when the system cannot be read: the engine starts again from the last
        stored position, with back-off. Returning ends the source for good.
        """

    def streams(self) -> Sequence[str] | None:
        """Every ``Record.stream`` that can come, if that is known before anything is read; else
        None.

        Connects to nothing, and may be asked of a source that is never read. A flow is refused
        whose topics name a stream that is not among them, or leave one of them to nobody.
        """
        return None

    def keep_rows_in_order(self) -> None:  # noqa: B027 -- optional
        """Called before ``read`` where rows of different keys may belong to one entity, as those of
        an outbox do: rows are read in the order in which the table has them, and never newer ones
        first. The default does nothing: a source that reads so anyway."""

    def acknowledge(self, position: Position) -> None:  # noqa: B027 -- optional
        """Kafka holds everything up to ``position``: the system may forget it.

        Called from the source's thread, between two batches, in order; not for every batch.
        """

    def close(self) -> None:  # noqa: B027 -- optional
        """Release everything. Called once, from the source's thread, also after an error."""

    def traces(self, position: Position | None = None) -> Sequence[str]:
        """What the source makes in its system and leaves there, in words: ``replication slot x``.
        Does not connect. ``trunkline destroy`` names it before it calls ``drop``. ``position``:
        where it stood last, if it ever ran: what it has made may be named there alone."""
        return ()

    def drop(self, position: Position | None = None) -> None:  # noqa: B027 -- optional
        """Remove what ``traces`` names of this position, as far as it is there, for good. Raises
        SourceError."""

    def anew(self, position: Position) -> Position | None:
        """Where ``read`` begins after an operator has reset a source that stood at ``position``.

        None, as here: as a source that never ran. A source that has left something at its system,
        as a replication slot, gives a position by which ``read`` knows it for its own.
        """
        del position
        return None

    def snapshots(self, requests: Sequence[SnapshotRequest]) -> None:  # noqa: B027 -- optional
        """These snapshots are asked for now, in this order; what is not among them any more, is
        over. Called before ``read``, and then from any thread whenever something changes.

        One is begun once for each id: how far it is, the position tells, until it is over.
        """

    def read_again(self, record: Record) -> Record:
        """What the source makes today of something that it could not read when it came:
        ``record.unreadable`` has its bytes and the source's own notes, the rest is as it was told.

        Called by ``trunkline dlq redrive``, on an instance that never reads its system, which need
        not be reachable. The record that is returned has the id that it would have had. Raises
        DataError with the reason where it still cannot be read; so does this one, always.
        """
        raise DataError(
            f"{type(self).__name__} cannot read it again: mend it at its system, which tells it "
            "once more, and discard this letter"
        )

    def gauges(self, position: Position, stop: threading.Event) -> Sequence[Gauge]:
        """What its system knows now of a source that stands at ``position``, and what threatens it.

        Called every few seconds while this worker has the position, also while the source fails or
        is paused: on an instance that never reads, and in a thread of its own. May block, but for
        less than 0.5 s once ``stop`` is set. Changes nothing. Raises SourceError where the system
        cannot be asked. Names that several kinds of sources have: ``behind_bytes``, the log that
        was written since; ``left_bytes`` and ``left_seconds``, how much more may be written, and
        how much time may pass, before the system removes what the source still needs.
        """
        del position, stop
        return ()

    def check(self) -> list[Finding]:
        """Everything that keeps the source from running as its system is now, found at once.

        Called by ``trunkline source check``, on an instance that never reads. Changes nothing.
        Raises SourceError where the system cannot be asked, ConfigurationError as ``read`` does.
        """
        return []


class PushSource(ABC):
    """A system that calls us: webhooks. Every worker runs one; there is no position.

    The engine calls ``start`` and ``stop`` once each, in the worker's event loop.
    """

    owner: str = ""
    """For whom it listens: the flow and its Kafka. The engine sets it before ``start``. What the
    workers of one owner on a machine share, as a port, must not be shared with another one's."""

    refuses: bool = False
    """Whether a call that the flow cannot read is refused: ``publish`` raises DataError with the
    reason, and nothing of it is published. Else what cannot be read becomes a dead letter."""

    def streams(self) -> Sequence[str] | None:
        """As ``Source.streams``."""
        return None

    def check(self) -> list[Finding]:
        """As ``Source.check``: what keeps it from listening on this machine."""
        return []

    @abstractmethod
    async def start(self, publish: Publish) -> None:
        """Begin to accept. Confirm to the caller only after ``await publish(records)`` returned."""

    @abstractmethod
    async def stop(self) -> None:
        """Finish what was accepted, accept nothing more, release everything."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What a flow says of a destination's calls. None, and a ``linger`` of 0: nothing.

    ``timeout``: seconds of one call; ``batch``: events in one, at the most; ``linger``: seconds
    that one may wait to fill; ``concurrent``: calls under way, in all workers together.
    """

    timeout: float | None = None
    batch: int | None = None
    linger: float = 0.0
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What an operation asks a system for, by HTTP.

    ``path``: what follows the sink's address, beginning with / or ?, percent-encoded. ``json``: the
    body, or None for none; dates, decimals and bytes become texts. ``headers``: besides the sink's.
    """

    method: str
    path: str = ""
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SqlRequest:
    """What an operation asks a database for: one statement, as its flow declares it.

    ``sql``: with ``:name`` for each parameter; ``values``: theirs, by name, and perhaps others,
    which are left out. ``reads``: it changes nothing, and runs in a transaction that could not;
    ``one``: it finds one row, which is the answer.
    """

    sql: str
    values: Mapping[str, Any]
    reads: bool = False
    one: bool = False


SQL_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/""", re.DOTALL)
"""What of a statement is text, a name in quotes, or a comment: nothing there is a parameter."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What the system answered: a 2xx status and the body's bytes; b"" where it was not readable,
    which does not undo what the system has done. A database's answer is one, too: 200, and JSON."""

    status: int
    body: bytes


RequestType: TypeAlias = type[HttpRequest] | type[SqlRequest]


class Sink(ABC, Generic[T]):
    """Writes events to a system.

    The engine calls ``configure`` once, before anything else; then ``open`` once, then ``deliver``
    from one event loop, with up to ``concurrency`` calls under way at once, then ``close`` when
    none is. Events of one key are never in two calls at once, and come in order.
    """

    type: type[T]
    """The canonical type of what it accepts."""
    accepts_deletes: bool = False
    """Whether an event without data (``change == "delete"``) can be delivered."""
    max_batch: int = 1
    """How many events one ``deliver`` takes at the most."""
    concurrency: int = 1
    """How many ``deliver`` calls may be under way at once in one worker."""
    appends: bool = False
    """Whether the system keeps each event, as a log does: then all of the past can be replayed in
    order. A system that keeps one state a key must not say so: a replay would take it back
    through the older ones."""

    takes_calls: RequestType | None = None
    """What ``call`` takes, if the sink has it: then operations of this form can be declared for its
    destination."""
    keeps_timeout: bool = False
    """Whether the sink keeps ``CallLimits.timeout`` itself, for each request that a call makes;
    else the engine cancels a call that lasts longer."""

    def configure(self, limits: CallLimits) -> None:
        """Take over what the flow says of calls, or refuse what cannot be. A sink that can do more
        than this one, as sending larger batches, overrides it.

        Raises ConfigurationError: an argument that would have no effect must not be accepted.
        """
        if (limits.batch or 1) > self.max_batch:
            raise ConfigurationError(
                f"batch={limits.batch}: {type(self).__name__} takes {self.max_batch} "
                f"event{'' if self.max_batch == 1 else 's'} in one call: raise that of the sink "
                "(max_batch), or leave batch= out"
            )
        if limits.linger and self.max_batch == 1:
            raise ConfigurationError(
                f"linger=: {type(self).__name__} takes one event in one call, so there is no batch "
                "to wait for: leave it out"
            )

    async def open(self) -> None:
        """Connect and check. Raise Unavailable when the system is down: the engine tries again."""

    @abstractmethod
    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """Deliver all events, in their order; returning means that the system has them.

        The same event may come again after a crash: ``event.idempotency_key`` tells a repeat.
        Raises Rejected, Retryable or Unavailable for the whole batch, or PartialFailure naming
        the failed ones by index. Anything else counts as Retryable. May be cancelled.
        """

    async def call(self, request: Any, id: str, traceparent: str = "") -> HttpReply:
        """Run an operation and return the answer; raises as ``deliver`` does.

        ``request``: of the type that ``takes_calls`` names. ``id``: the same in each repetition of
        this call and in no other one, for the system to tell a repeat by.
        """
        raise NotImplementedError

    def check(self) -> list[Finding]:
        """What keeps the sink from reaching its system now, as far as can be said without an
        effect there: as ``Source.check``, on an instance that is never opened. Called by
        ``trunkline doctor``. Blocks; [] also of a sink that cannot say.
        """
        return []

    async def close(self) -> None:
        """Release everything."""
