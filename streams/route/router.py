"""The router: canonical messages in, inbox records and dead letters out. No connection here.

The same code runs in a worker, in a test without a broker, and for a replay. It runs for every
event, so what can be looked up once is looked up when a flow is compiled: budget and measure are
in docs/benchmarks.md, job route.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple

from trunkline.errors import ROUTING_HOLDS, DataError, Rejected, holding
from trunkline.event import Event
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import AnyMessage, event_of, partition_of
from trunkline.kafka.offsets import Partition
from trunkline.schemas.codec import (
    AskForSchemas,
    MissingSchemas,
    nothing_to_ask,
)
from trunkline.streams.dlq.envelope import dead_letter
from trunkline.streams.listener import BrokenRule, broken_by
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.inbox_records import data_record, forwarded_delete, inbox_records


@dataclass(slots=True)
class DeadLetterCount:
    """Dead letters of a batch for one queue and of one class of error: how many, and the first."""

    example: Event[Any]
    error: Exception
    count: int = 0


class Hold(NamedTuple):
    """From which offset on a partition cannot be routed for now, and why not."""

    offset: int
    error: Exception


Holds = dict[Partition, Hold]


@dataclass(slots=True)
class RoutingResult:
    """Records for inboxes and DLQs, in the order of the events that they were made of.

    ``routed``: how many are for inboxes; ``dead_letters``: the others, by queue and class of error;
    ``taken``: of how many messages they are, without those that are held. ``holds``: of which
    partitions some are. ``dropped_deletes``: those that were not forwarded, as the sink takes none,
    by inbox. ``broken``: how many dead letters break a rule of their type's schema.
    """

    records: list[ProducerRecord] = field(default_factory=list)
    routed: int = 0
    taken: int = field(default=0, compare=False)
    dead_letters: dict[tuple[str, type], DeadLetterCount] = field(default_factory=dict)
    dropped_deletes: dict[str, int] = field(default_factory=dict)
    holds: Holds = field(default_factory=dict)
    broken: Counter[BrokenRule] = field(default_factory=Counter)
    flow_version: str = field(default="", compare=False)

    def add(self, more: RoutingResult) -> None:
        """Append what was made of later events."""
        self.records += more.records
        self.routed += more.routed
        self.taken += more.taken
        for inbox, count in more.dropped_deletes.items():
            self.drop_deletes(inbox, count)
        self.broken.update(more.broken)
        for cause, dead in more.dead_letters.items():
            known = self.dead_letters.setdefault(cause, DeadLetterCount(dead.example, dead.error))
            known.count += dead.count

    def add_records(self, records: list[ProducerRecord]) -> None:
        """Append records for an inbox."""
        self.records += records
        self.routed += len(records)

    def drop_deletes(self, inbox: str, count: int = 1) -> None:
        """Count deletes that are not forwarded."""
        self.dropped_deletes[inbox] = self.dropped_deletes.get(inbox, 0) + count

    def all_or_none(self) -> RoutingResult:
        """This, if nothing is held. Raises one of ROUTING_HOLDS: for those who have no partition to
        hold, and route everything again later."""
        for hold in self.holds.values():
            raise hold.error
        return self

    def drain(self) -> list[ProducerRecord]:
        """Take the records out, to produce them; the counts stay."""
        records, self.records = self.records, []
        return records

    @property
    def dead(self) -> int:
        """How many of the records are dead letters."""
        return sum(dead.count for dead in self.dead_letters.values())

    def add_dead_letter(
        self, event: Event[Any], error: Exception, dlq: str, raw_key: bytes | None
    ) -> None:
        """Add the event's dead letter."""
        self.broken.update(broken_by(error))
        self.dead_letters.setdefault((dlq, type(error)), DeadLetterCount(event, error)).count += 1
        self.records.append(
            dead_letter(
                dlq,
                key=raw_key,
                value=event.value,
                headers=event.headers,
                came_from=f"{event.topic}/{event.partition}/{event.offset}",
                stage="route",
                error=error,
                flow_version=self.flow_version,
            )
        )


@dataclass(slots=True)
class _Pending:
    """An async route that has not ended. ``index``: where its records belong among the others."""

    index: int
    event: Event[Any]
    raw_key: bytes
    route: CompiledRoute
    call: Coroutine[Any, Any, Any]


class Router:
    """Routes batches of canonical messages. A route that raises sends that event to the DLQ of its
    destination, and the other routes get it all the same.

    One that raises Unavailable or Retryable says nothing about the event, nor does a value's schema
    that cannot be asked for: then its partition is held. The message and those of the partition
    behind it become nothing, to be routed again later; all other partitions go on.

    ``ask_for_schemas``: as ``Codec.ask_for_schemas``.
    """

    def __init__(
        self,
        topics: dict[str, CompiledTopic],
        ask_for_schemas: AskForSchemas = nothing_to_ask,
        flow_version: str = "",
    ) -> None:
        self._topics = topics
        self._ask_for_schemas = ask_for_schemas
        self._version = flow_version

    async def prefetch(
        self, messages: Iterable[AnyMessage], patience: float = float("inf")
    ) -> MissingSchemas:
        """Fetch the schemas of these messages that are not known yet, for up to so many seconds:
        nothing can wait while values are read. Returns those that cannot be had for now."""
        return await self._ask_for_schemas((message.value() for message in messages), patience)

    async def route(
        self,
        messages: Sequence[AnyMessage],
        *,
        seconds: float = float("inf"),
        missing: MissingSchemas | None = None,
    ) -> RoutingResult:
        """The records of these messages, in the messages' order.

        ``seconds``: after so many no further message is begun, and ``taken`` says how many were;
        it is one at least, if no further partition is held. ``missing``: what ``prefetch`` said of
        them, where it was called before.

        1. Hold those whose schemas are missing, and what is behind them.
        2. Route the others. If one of them cannot be routed for now, hold it, too, and route what
           is left once more. Why not go on: of a message with three routes two may have been
           called, and of 200 async routes all, before the one that fails.
        3. If the time is over by then, route no more than what went well so far, and that whole.
           Case: a route that is not async waits ten seconds for a system that is down, once for
           each of 16 partitions: Kafka aborts the transaction meanwhile, and who begins anew knows
           of nothing that is held. And were less routed, those ten seconds would come again.
        """
        if missing is None:
            missing = await self.prefetch(messages)
        holds = _unreadable(messages, missing) if missing else {}
        end = monotonic() + seconds
        while True:
            found: Holds = {}
            unheld = _unheld(messages, holds)
            done = await self._route_unheld(unheld, end, found)
            if not found:
                done.holds = holds
                return done
            holds |= found
            if monotonic() > end:
                messages, end = unheld[: done.taken], float("inf")

    async def probe(self, message: AnyMessage) -> Exception | None:
        """Why this message cannot be routed for now; None if it can. What its routes return is
        thrown away: they are pure."""
        try:
            (await self.route([message])).all_or_none()
        except ROUTING_HOLDS as reason:
            return reason
        return None

    async def _route_unheld(
        self, messages: Sequence[AnyMessage], end: float, found: Holds
    ) -> RoutingResult:
        """Call the routes, message by message; an async one only begins here. Then await those, all
        at once. What cannot be routed for now is ``found``, and the result is void."""
        done = RoutingResult(flow_version=self._version)
        pending: list[_Pending] = []
        for message in messages:
            try:
                self._call_routes(message, done, pending)
            except ROUTING_HOLDS as reason:
                for waiting in pending:
                    waiting.call.close()  # Python would warn of a coroutine that nobody awaits
                found[partition_of(message)] = Hold(message.offset() or 0, reason)
                return done
            done.taken += 1
            if monotonic() > end:
                break
        if pending:
            await self._await_routes(done, pending, found)
        return done

    def _call_routes(
        self, message: AnyMessage, done: RoutingResult, pending: list[_Pending]
    ) -> None:
        """Call each route that wants the message; its records go to ``done``.

        1. A message without a proper key is no event: its dead letters are made here.
        2. A delete has no value that a route could read: it is forwarded by its key, unless the
           route asks for deletes.
        3. What an async route returns is awaited later; any other result is encoded at once.
        """
        compiled = self._topics[message.topic()]  # type: ignore[index]
        raw_key = message.key()
        try:
            if not raw_key:
                raise DataError("the event has no key: without one there is no order to keep")
            event = event_of(message, compiled.decode, strict=True)
        except DataError as error:
            _refuse(message, compiled, error, done)
            return
        for route in compiled.matching_routes(event):
            if event.value is None and not route.takes_delete(event):
                _forward_delete(event, raw_key, route, done)
            elif route.is_async:
                call = route.function(event)
                pending.append(_Pending(len(done.records), event, raw_key, route, call))
            else:
                try:
                    result = route.function(event)
                    if type(result) is dict:  # as nearly always: 0.4 µs without a list around it
                        done.records.append(data_record(event, raw_key, route, result))
                        done.routed += 1
                    else:
                        done.add_records(inbox_records(event, raw_key, route, result))
                except Exception as error:  # noqa: BLE001 - a route's own mistake, of any kind
                    if (reason := holding(error)) is not None:
                        raise compiled.hidden(event, reason) from reason.__cause__
                    done.add_dead_letter(event, compiled.hidden(event, error), route.dlq, raw_key)

    async def _await_routes(
        self, done: RoutingResult, pending: list[_Pending], found: Holds
    ) -> None:
        """Await the async routes of a batch, and insert their records where they belong.

        1. Await all of them at once: 200 look-ups of 50 ms take 50 ms, and not 10 s.
        2. The first of each partition that cannot be routed for now is ``found``.
        3. Insert each one's records, or its dead letter.
        """
        results = await asyncio.gather(*(p.call for p in pending), return_exceptions=True)
        for waiting, result in zip(pending, results, strict=True):
            if isinstance(result, Exception) and (reason := holding(result)) is not None:
                event = waiting.event
                hold = Hold(event.offset, self._topics[event.topic].hidden(event, reason))
                found.setdefault((event.topic, event.partition), hold)
        if found:
            return
        # An index counts the records that were there when the route began. If an earlier async
        # route has inserted two records since, index 5 means position 7.
        inserted = 0
        for waiting, result in zip(pending, results, strict=True):
            event, raw_key, route = waiting.event, waiting.raw_key, waiting.route
            own = RoutingResult(
                dead_letters=done.dead_letters, broken=done.broken, flow_version=self._version
            )
            try:
                if isinstance(result, BaseException):
                    raise _error_of_route(result)
                own.add_records(inbox_records(event, raw_key, route, result))
            except Exception as error:  # noqa: BLE001 - a route's own mistake, of any kind
                hidden = self._topics[event.topic].hidden(event, error)
                own.add_dead_letter(event, hidden, route.dlq, raw_key)
            at = waiting.index + inserted
            done.records[at:at] = own.records
            inserted += len(own.records)
            done.routed += own.routed


def _error_of_route(error: BaseException) -> BaseException:
    """What an async route ended with. A cancellation is its own error, as when a pool is closed
    whose connection it waits for: who cancels this task cancels the awaiting of all routes. Passed
    on, it would end routing, and nobody would hear of it: to asyncio that is no error."""
    if not isinstance(error, asyncio.CancelledError):
        return error
    cancelled = RuntimeError("what the route awaited was cancelled")
    cancelled.__cause__ = error
    return cancelled


def _unreadable(messages: Sequence[AnyMessage], missing: MissingSchemas) -> Holds:
    """The first message of each partition whose schema is missing."""
    holds: Holds = {}
    for message in messages:
        if reason := missing.get((message.value() or b"")[:5]):
            holds.setdefault(partition_of(message), Hold(message.offset() or 0, reason))
    return holds


def _unheld(messages: Sequence[AnyMessage], holds: Holds) -> Sequence[AnyMessage]:
    """Those that are not behind where a partition is held."""
    return [m for m in messages if not is_held(m, holds)] if holds else messages


def is_held(message: AnyMessage, holds: Holds) -> bool:
    """Whether the message stands where its partition is held, or behind."""
    hold = holds.get(partition_of(message))
    return hold is not None and (message.offset() or 0) >= hold.offset


def _refuse(
    message: AnyMessage, compiled: CompiledTopic, error: DataError, done: RoutingResult
) -> None:
    """Add a dead letter to the DLQ of each destination of the topic.

    To each of them, since nobody can say which ones it was meant for; and one only, where two
    routes of the topic lead to one destination.
    """
    event = event_of(message, compiled.decode)
    for dlq in dict.fromkeys(route.dlq for route in compiled.routes):
        done.add_dead_letter(event, error, dlq, message.key())


def _forward_delete(
    event: Event[Any], raw_key: bytes, route: CompiledRoute, done: RoutingResult
) -> None:
    """Send a delete on as it is to a sink that takes deletes; for any other it is counted."""
    if event.change == "truncate":
        # A whole table, and so no key: a sink cannot know which of its entities are meant.
        error = Rejected(
            "the source truncated its table: empty the destination by hand, then discard this"
        )
        done.add_dead_letter(event, error, route.dlq, raw_key)
    elif route.accepts_deletes:
        done.add_records([forwarded_delete(event, raw_key, route)])
    else:
        done.drop_deletes(route.inbox)
