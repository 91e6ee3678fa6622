"""What a destination gets: canonical messages in, inbox records out. No connection here.

The same code runs in a worker, in a test without a broker, and for a replay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from inspect import iscoroutinefunction
from typing import Any

from confluent_kafka import Message

from trunkline.errors import SCHEMA_UNAVAILABLE, DataError, Rejected
from trunkline.event import Event, Headers
from trunkline.headers import CE_ID, CE_TYPE, TL_FROM, TL_ORIGIN
from trunkline.kafka import MAX_VALUE, Out
from trunkline.schemas.codec import Decode, Encode, PrefetchSchemas, nothing_to_learn
from trunkline.streams.dlq.envelope import dead_letter

_ORIGINAL = (TL_ORIGIN, b"original")


_REPLACED = frozenset((TL_FROM, TL_ORIGIN))


@dataclass(slots=True)
class CompiledRoute:
    """A route with everything that it needs per event looked up once."""

    function: Callable[[Event[Any]], Any]
    inbox: str
    dlq: str
    encode: Encode
    only: tuple[str, ...] = ()
    accepts_deletes: bool = False
    is_async: bool = False

    @classmethod
    def of(cls, function: Callable[[Event[Any]], Any], **more: Any) -> CompiledRoute:
        """The route of ``function``; ``more``: its other fields."""
        return cls(function=function, is_async=iscoroutinefunction(function), **more)

    def listens(self, event_type: str) -> bool:
        """Whether ``only`` names the event's type."""
        return not self.only or any(fnmatchcase(event_type, pattern) for pattern in self.only)


@dataclass(slots=True)
class CompiledTopic:
    """A canonical topic: how its values are read, and who listens to it."""

    decode: Decode
    routes: list[CompiledRoute]
    _listening: dict[bytes, list[CompiledRoute]] = field(default_factory=dict)

    def matching_routes(self, event: Event[Any]) -> list[CompiledRoute]:
        """The routes that the event concerns, by its header alone. Types are few: each is
        matched once."""
        event_type = event.raw_header(CE_TYPE)
        found = self._listening.get(event_type)
        if found is None:
            found = [route for route in self.routes if route.listens(event.type)]
            self._listening[event_type] = found
        return found


@dataclass(slots=True)
class DeadLetterCount:
    """Dead letters of a batch for one queue and of one class of error: how many, and the first."""

    example: Event[Any]
    error: Exception
    count: int = 0


@dataclass(slots=True)
class RoutingResult:
    """Records for inboxes and DLQs, in the order of the events that they were made of."""

    records: list[Out] = field(default_factory=list)
    routed: int = 0
    dead_letters: dict[tuple[str, type], DeadLetterCount] = field(default_factory=dict)
    flow_version: str = field(default="", compare=False)

    def add(self, more: RoutingResult) -> None:
        """Append what was made of later events."""
        self.records += more.records
        self.routed += more.routed
        for cause, deaths in more.dead_letters.items():
            known = self.dead_letters.setdefault(
                cause, DeadLetterCount(deaths.example, deaths.error)
            )
            known.count += deaths.count

    def drain(self) -> list[Out]:
        """The records so far, which are someone else's from now on."""
        records, self.records = self.records, []
        return records

    @property
    def dead(self) -> int:
        """How many of the records are dead letters."""
        return sum(deaths.count for deaths in self.dead_letters.values())

    def add_dead_letter(
        self, event: Event[Any], error: Exception, dlq: str, raw_key: bytes | None
    ) -> None:
        """Add the event's dead letter."""
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
    """An async route's result that is still to come: its records belong at ``index``."""

    index: int
    event: Event[Any]
    raw_key: bytes
    route: CompiledRoute
    result: Coroutine[Any, Any, Any]


class Router:
    """Routes micro-batches. A route that raises sends that event to its destination's DLQ.

    Raises one of SCHEMA_UNAVAILABLE when a value's schema cannot be asked for: hold the batch, and
    route it again later.
    """

    def __init__(
        self,
        topics: dict[str, CompiledTopic],
        learn: PrefetchSchemas = nothing_to_learn,
        flow_version: str = "",
    ) -> None:
        self._topics = topics
        self._learn = learn
        self._version = flow_version

    async def route(self, messages: Sequence[Message]) -> RoutingResult:
        """The records of these messages, whose async routes run at the same time."""
        await self._learn(message.value() for message in messages)
        done = RoutingResult(flow_version=self._version)
        pending: list[_Pending] = []
        try:
            for message in messages:
                self._route_one(message, done, pending)
        except SCHEMA_UNAVAILABLE:
            for waiting in pending:
                waiting.result.close()
            raise
        if pending:
            await self._settle(done, pending)
        return done

    def _route_one(self, message: Message, done: RoutingResult, pending: list[_Pending]) -> None:
        compiled = self._topics[message.topic()]  # type: ignore[index]
        raw_key = message.key()
        headers: Any = message.headers() or []
        try:
            key = _key(raw_key)
        except DataError as error:
            _refuse(message, raw_key, headers, compiled, error, done)
            return
        assert raw_key is not None
        event = _event(message, key, headers, compiled.decode)
        for route in compiled.matching_routes(event):
            if event.value is None:
                self._forward_delete(event, raw_key, route, done)
            elif route.is_async:
                pending.append(
                    _Pending(len(done.records), event, raw_key, route, route.function(event))
                )
            else:
                try:
                    result = route.function(event)
                    if result is not None:
                        _emit(event, raw_key, route, result, done)
                except SCHEMA_UNAVAILABLE:
                    raise
                except Exception as error:  # noqa: BLE001 - a route's own mistake, of any kind
                    done.add_dead_letter(event, error, route.dlq, raw_key)

    async def _settle(self, done: RoutingResult, pending: list[_Pending]) -> None:
        results = await asyncio.gather(*(p.result for p in pending), return_exceptions=True)
        for result in results:
            if isinstance(result, (*SCHEMA_UNAVAILABLE, asyncio.CancelledError)):
                raise result
        moved = 0  # by as many as were inserted before it, a place lies further on now
        for waiting, result in zip(pending, results, strict=True):
            one = RoutingResult(dead_letters=done.dead_letters, flow_version=self._version)
            _settle_one(waiting, result, one)
            place = waiting.index + moved
            done.records[place:place] = one.records
            moved += len(one.records)
            done.routed += one.routed

    def _forward_delete(
        self, event: Event[Any], raw_key: bytes, route: CompiledRoute, done: RoutingResult
    ) -> None:
        if event.change == "truncate":
            error = Rejected(
                "the source truncated its table: empty the destination by hand, then discard this"
            )
            done.add_dead_letter(event, error, route.dlq, raw_key)
        elif route.accepts_deletes:
            done.records.append((route.inbox, raw_key, None, _headers(event, 1)))
            done.routed += 1


def _refuse(
    message: Message,
    raw_key: bytes | None,
    headers: Headers,
    compiled: CompiledTopic,
    error: DataError,
    done: RoutingResult,
) -> None:
    """An event that is none goes to the DLQ of everyone who would have seen it, once each."""
    shown = (raw_key or b"").decode(errors="replace")
    event = _event(message, shown, headers, compiled.decode)
    for dlq in dict.fromkeys(route.dlq for route in compiled.routes):
        done.add_dead_letter(event, error, dlq, raw_key)


def _key(raw_key: bytes | None) -> str:
    if not raw_key:
        raise DataError("the event has no key: without one there is no order to keep")
    try:
        return raw_key.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"the key is not UTF-8: {error}") from error


def _event(message: Message, key: str, headers: Headers, decode: Decode) -> Event[Any]:
    return Event(
        key=key,
        value=message.value(),
        headers=headers,
        decode=decode,
        topic=message.topic(),  # type: ignore[arg-type]
        partition=message.partition(),  # type: ignore[arg-type]
        offset=message.offset(),  # type: ignore[arg-type]
    )


def _emit(
    event: Event[Any], raw_key: bytes, route: CompiledRoute, result: Any, done: RoutingResult
) -> None:
    """The records of what a route returned: a message, or several."""
    if isinstance(result, (list, tuple)):
        records = [
            (route.inbox, raw_key, _value(event, route, one), _headers(event, part))
            for part, one in enumerate(result, start=1)
        ]
        done.records += records
        done.routed += len(records)
        return
    done.records.append((route.inbox, raw_key, _value(event, route, result), _headers(event, 1)))
    done.routed += 1


def _value(event: Event[Any], route: CompiledRoute, result: Any) -> bytes:
    """The event's own bytes if the route hands on its data, else the result's encoding."""
    value = event.value if event.is_own(result) else route.encode(result)
    assert value is not None
    if len(value) > MAX_VALUE:
        raise Rejected(f"the message has {len(value)} bytes; the limit is {MAX_VALUE}")
    return value


def _headers(event: Event[Any], part: int) -> list[tuple[str, bytes]]:
    came_from = f"{event.topic}/{event.partition}/{event.offset}/{part}".encode()
    headers = [*event.headers_without(_REPLACED), (TL_FROM, came_from), _ORIGINAL]
    if part > 1:
        id_ = f"{event.id}#{part}".encode()
        headers = [(name, id_ if name == CE_ID else value) for name, value in headers]
    return headers


def _settle_one(waiting: _Pending, result: Any, done: RoutingResult) -> None:
    event, raw_key, route = waiting.event, waiting.raw_key, waiting.route
    try:
        if isinstance(result, BaseException):
            raise result
        if result is not None:
            _emit(event, raw_key, route, result, done)
    except SCHEMA_UNAVAILABLE:
        raise
    except Exception as error:  # noqa: BLE001 - a route's own mistake, of any kind
        done.add_dead_letter(event, error, route.dlq, raw_key)
