"""The inbox records of what a route returned."""

from __future__ import annotations

import uuid
from typing import Any

from trunkline.errors import Rejected
from trunkline.event import Event, replaced
from trunkline.headers import (
    CE_ID,
    CE_SOURCE,
    CE_TIME,
    CONTENT_TYPE,
    TL_ACCEPTED_AT,
    TL_CHANGE,
    TL_CLIENT,
    TL_EVENT_KEY,
    TL_EXPIRES_AT,
    TL_FINGERPRINT,
    TL_FROM,
    TL_OPERATION,
    TL_ORIGIN,
    TRACEPARENT,
)
from trunkline.kafka import MAX_VALUE, ProducerRecord
from trunkline.streams.flow.messages import Delete, Message
from trunkline.streams.route.compiled import CompiledCall, CompiledRoute

_Headers = list[tuple[str, bytes]]

_ORIGINAL = (TL_ORIGIN, b"original")
# A foreign producer's event that says tl_operation would be run as a call that nobody has allowed.
_CALL = (TL_OPERATION, TL_CLIENT, TL_FINGERPRINT, TL_ACCEPTED_AT, TL_EXPIRES_AT)
_REPLACED = frozenset((TL_FROM, TL_ORIGIN, TL_EVENT_KEY, *_CALL))
_NAMESPACE = uuid.UUID("0b8f1f0e-5d0f-5c55-9a66-0c9f4d1b7a10")
"""Of the ids of calls that routes make: any UUID, the same for ever."""
_DELETED = {TL_CHANGE: b"delete"}
_UPDATED = {TL_CHANGE: b"update"}

# ProducerRecord(…) is a function in Python around this one, and twice as slow: 0.15 µs an event.
_record = tuple.__new__


def inbox_records(
    event: Event[Any], raw_key: bytes, route: CompiledRoute, result: Any
) -> list[ProducerRecord]:
    """The records of data, a ``Message``, a ``Delete``, a list of these, or None. All or none: an
    error in the third of three leaves no record of the first two.

    Raises what the encoding raises, and Rejected for a message that cannot be sent.
    """
    if isinstance(result, (list, tuple)):
        if result:
            return [_made(event, raw_key, route, one, n) for n, one in enumerate(result, start=1)]
    elif result is not None:
        return [_made(event, raw_key, route, result, 1)]
    return [_delete(event, raw_key, route, Delete(), 1)] if route.otherwise_delete else []


def forwarded_delete(event: Event[Any], raw_key: bytes, route: CompiledRoute) -> ProducerRecord:
    """A delete as it is."""
    return ProducerRecord(route.inbox, raw_key, None, _headers(event, route, 1))


def _made(
    event: Event[Any], raw_key: bytes, route: CompiledRoute, one: Any, part: int
) -> ProducerRecord:
    kind = type(one)
    if kind is Delete:
        return _delete(event, raw_key, route, one, part)
    if kind is Message:
        return _message(event, raw_key, route, one, part)
    return data_record(event, raw_key, route, one, part)


def data_record(
    event: Event[Any], raw_key: bytes, route: CompiledRoute, data: Any, part: int = 1
) -> ProducerRecord:
    """The record of data under the event's key. Raises as ``inbox_records``."""
    if route.call is not None and route.call.sent is not None:
        data = route.call.sent(data)
    value, headers = _value(event, route, data), _headers(event, route, part)
    if event.value is None:  # else the sink would delete what it is to write
        headers = replaced(headers, _UPDATED)
    if route.call is not None:
        key, headers = _called(event, raw_key, route, route.call, data, part, headers)
        return ProducerRecord(route.inbox, key, value, headers)
    return _record(ProducerRecord, (route.inbox, raw_key, value, headers))


def _called(
    event: Event[Any],
    raw_key: bytes,
    route: CompiledRoute,
    call: CompiledCall,
    data: Any,
    part: int,
    headers: _Headers,
) -> tuple[bytes, _Headers]:
    """Key and headers of a call. Its id is made of the event's, the route and the part: whenever
    the event is routed, replayed, or published again, it is the same call, of which the worker
    knows whether it was done. It waits for its system as any event does, so no time is over."""
    # Producers that write no CloudEvents headers: the record's place is its identity.
    source = event.raw_header(CE_SOURCE) or event.topic.encode()
    id_ = event.raw_header(CE_ID) or b"%d/%d" % (event.partition, event.offset)
    whose = (one.decode(errors="backslashreplace") for one in (source, id_))
    named = "\n".join((*whose, route.inbox, route.name, str(part)))
    said = {
        CE_ID: str(uuid.uuid5(_NAMESPACE, named)),
        TL_OPERATION: call.operation,
        TL_CLIENT: call.client,
        TL_ACCEPTED_AT: event.header(CE_TIME),
    }
    headers = replaced(headers, {name: text.encode() for name, text in said.items()})
    # The operation's key, as the gateway would take it: so calls of both come in one order.
    return _keyed(str(data[call.key]) if call.key else None, raw_key, headers)


def _message(
    event: Event[Any], raw_key: bytes, route: CompiledRoute, message: Message[Any], part: int
) -> ProducerRecord:
    _, key, value, headers = _made(event, raw_key, route, message.data, part)
    if route.call is None or not route.call.key:
        key, headers = _keyed(message.key, raw_key, headers)
    if message.headers:
        headers = replaced(headers, _own_headers(message))
    return ProducerRecord(route.inbox, key, value, headers)


def _delete(
    event: Event[Any], raw_key: bytes, route: CompiledRoute, delete: Delete, part: int
) -> ProducerRecord:
    if not route.accepts_deletes:
        raise Rejected(
            f"route {route.name} returned a Delete, but the destination's sink takes no deletes"
        )
    key, headers = _keyed(delete.key, raw_key, _headers(event, route, part))
    return ProducerRecord(route.inbox, key, None, replaced(headers, _DELETED))


def _keyed(key: object, raw_key: bytes, headers: _Headers) -> tuple[bytes, _Headers]:
    """The record's key, and headers that tell the event's key if that is another one.

    A re-drive asks by the event's key whether something newer has come since.
    """
    if key is None:
        return raw_key, headers
    if not isinstance(key, str) or not key:
        raise Rejected(f"the message's key is {key!r}: it must be a text that is not empty")
    own = key.encode()
    return own, headers if own == raw_key else [*headers, (TL_EVENT_KEY, raw_key)]


def _own_headers(message: Message[Any]) -> dict[str, bytes]:
    for name, text in message.headers.items():
        if name.startswith(("ce_", "tl_")) or name in (CONTENT_TYPE, TRACEPARENT):
            raise Rejected(f"the message's header {name!r} is the engine's: choose another name")
        if not isinstance(text, str):
            raise Rejected(f"the message's header {name!r} is {text!r}: it must be a text")
    return {name: text.encode() for name, text in message.headers.items()}


def _value(event: Event[Any], route: CompiledRoute, data: Any) -> bytes:
    """The event's own bytes if the route hands on its data, else the data's encoding."""
    value = event.value if event.is_own(data) else route.encode(data)
    assert value is not None
    if len(value) > MAX_VALUE:
        raise Rejected(f"the message has {len(value)} bytes; the limit is {MAX_VALUE}")
    return value


def _headers(event: Event[Any], route: CompiledRoute, part: int) -> list[tuple[str, bytes]]:
    """The event's headers, and which message of which route this is.

    The route's name is in it since part 1 of ``debit`` and part 1 of ``credit`` are two messages of
    one event: an API that honours idempotency keys would keep one of them.
    """
    place = f"{event.topic}/{event.partition}/{event.offset}/{route.name}/{part}"
    return [*event.headers_without(_REPLACED), (TL_FROM, place.encode()), _ORIGINAL]
