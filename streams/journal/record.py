"""One call of an operation: its state, and the record of the topic ``.calls`` that says it.

The gateway writes ``accepted`` under another key than the worker: in a compacted topic a late
``accepted``, of a second gateway that got the same call, would erase the result else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import orjson

from trunkline.event import AVRO, Event
from trunkline.headers import (
    CE_ID,
    CE_SOURCE,
    CE_SPECVERSION,
    CE_TIME,
    CE_TYPE,
    CONTENT_TYPE,
    TL_ACCEPTED_AT,
    TL_CLIENT,
    TL_EXPIRES_AT,
    TL_FINGERPRINT,
    TL_OPERATION,
    TL_ORIGIN,
    TRACEPARENT,
)

CallState = Literal[
    "needs_approval",
    "accepted",
    "attempting",
    "succeeded",
    "rejected",
    "dead",
    "expired",
    "cancelled",
    "in_doubt",
]
STATES: frozenset[str] = frozenset(get_args(CallState))
FINAL: frozenset[str] = STATES - {"needs_approval", "accepted", "attempting"}
"""States that a call keeps, unless a person does something about it."""
DONE: frozenset[str] = frozenset(("succeeded", "rejected", "cancelled"))
"""Those of which a call never runs again, whoever sends it."""
_NONE = type(None)
ACCEPTED = "/accepted"
"""What the key of a gateway's record ends with."""
DECISION = "/decision"
"""What the key of a record ends with by which a gateway asks the worker to end a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """How a call stands. Moments are epoch seconds.

    ``operation``: its name in the flow; ``key``: the entity's; ``fingerprint``: of what was asked
    for; ``at``: when it came into this state; ``attempt``: attempts that were made; ``due_at``:
    when the next one is due, 0 if nobody knows; ``why``: in words, what it waits for or why it
    failed; ``status``: the system's, and ``code`` its own word; ``reply``: what the system
    answered, as JSON text; None: there is none that was kept. ``unsure``: an attempt was begun, and
    whether the system has done it nobody has heard. ``request``: the request's bytes in base64, of
    a call that waits for a person.
    """

    call: str
    state: CallState
    operation: str
    client: str
    key: str
    fingerprint: str
    accepted_at: float
    expires_at: float
    at: float
    attempt: int = 0
    due_at: float = 0.0
    why: str = ""
    status: int | None = None
    reply: str | None = None
    unsure: bool = False
    request: str | None = None
    code: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in FINAL

    def record_key(self, *, by_gateway: bool = False) -> bytes:
        """The key of its record."""
        return f"{self.call}{ACCEPTED if by_gateway else ''}".encode()

    def decision_key(self) -> bytes:
        """The key of the record that asks for the call to be brought into this state."""
        return f"{self.call}{DECISION}".encode()

    def encoded(self) -> bytes:
        """The value of its record: JSON."""
        return orjson.dumps(self)


def parsed_call(key: bytes | None, value: bytes | None) -> tuple[CallRecord, bool] | None:
    """The call that a record tells of, and whether a gateway wrote it; None for what is no such
    record: the topic's other writers, whoever they are, must not end a worker."""
    name = _named(key)
    record = _record(value)
    if record is None or name.removesuffix(ACCEPTED) != record.call:
        return None
    return record, name.endswith(ACCEPTED)


def parsed_decision(key: bytes | None, value: bytes | None) -> CallRecord | None:
    """The call in the state that somebody wants it to have; None for any other record."""
    name = _named(key)
    if not name.endswith(DECISION):
        return None
    record = _record(value)
    if record is None or name.removesuffix(DECISION) != record.call or not record.is_over:
        return None
    return record


def _named(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except ValueError:
        return ""


def _record(value: bytes | None) -> CallRecord | None:
    try:
        record = CallRecord(**orjson.loads(value or b""))
    except (ValueError, TypeError):
        return None
    return record if _is_sound(record) and record.state in STATES else None


def _is_sound(record: CallRecord) -> bool:
    """Whether each field is what it must be; by sets of types, since a worker that begins asks for
    millions of records."""
    r = record
    texts = {*map(type, (r.call, r.state, r.operation, r.client, r.key, r.fingerprint, r.why))}
    texts.add(type(r.code))
    numbers = {*map(type, (r.accepted_at, r.expires_at, r.at, r.due_at))}
    others = {type(r.reply), type(r.request)} <= {str, _NONE} and type(r.unsure) is bool
    others = others and type(r.attempt) is int and type(r.status) in (int, _NONE)
    return texts == {str} and numbers <= {float, int} and others


def call_of(event: Event[Any], state: CallState, now: float, **more: Any) -> CallRecord:
    """The call that an inbox event is, in this state. ``more``: further fields."""
    return CallRecord(
        call=event.id,
        state=state,
        operation=event.header(TL_OPERATION),
        client=event.header(TL_CLIENT),
        key=event.key,
        fingerprint=event.header(TL_FINGERPRINT),
        accepted_at=epoch_of(event.header(TL_ACCEPTED_AT)),
        expires_at=epoch_of(event.header(TL_EXPIRES_AT)),
        at=now,
        **more,
    )


def epoch_of(moment: str) -> float:
    """Epoch seconds of a header's moment; 0 for none, and for what is none."""
    try:
        return datetime.fromisoformat(moment).timestamp() if moment else 0.0
    except (ValueError, OverflowError):
        return 0.0


def moment_of(seconds: float) -> str:
    """The moment of epoch seconds, as headers and answers have it: UTC, to a millisecond."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def call_headers(flow: str, call: CallRecord, traceparent: str = "") -> list[tuple[str, bytes]]:
    """The headers of a call's inbox record: a CloudEvent whose id is the call's. ``flow``: that of
    its operation; ``traceparent``: none without it."""
    accepted = moment_of(call.accepted_at)
    texts = {
        CE_SPECVERSION: "1.0",
        CE_ID: call.call,
        CE_SOURCE: f"/gateway/{call.client}",
        CE_TYPE: f"{flow}.{call.operation}",
        CE_TIME: accepted,
        CONTENT_TYPE: AVRO,
        **({TRACEPARENT: traceparent} if traceparent else {}),
        TL_ORIGIN: "operation",
        TL_OPERATION: call.operation,
        TL_CLIENT: call.client,
        TL_FINGERPRINT: call.fingerprint,
        TL_ACCEPTED_AT: accepted,
        TL_EXPIRES_AT: moment_of(call.expires_at),
    }
    return [(name, text.encode()) for name, text in texts.items()]
