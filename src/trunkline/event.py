"""The canonical event and the source record, and how an event's attributes become headers.

Headers follow the CloudEvents Kafka protocol binding, binary content mode
(cloudevents/spec, ``kafka-protocol-binding.md``): attributes are headers named ``ce_*``,
UTF-8, and the value is the data alone. ``traceparent`` follows W3C Trace Context.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

from trunkline.errors import DataError, NoData
from trunkline.headers import (
    CE_ID,
    CE_SOURCE,
    CE_SPECVERSION,
    CE_SUBJECT,
    CE_TIME,
    CE_TYPE,
    CONTENT_TYPE,
    TL_CHANGE,
    TL_FROM,
    TL_SEQ,
    TRACEPARENT,
)
from trunkline.naming import inbox_of, is_inbox

T_co = TypeVar("T_co", covariant=True)

Change = Literal["create", "update", "delete", "snapshot", "truncate"]
Headers = Sequence[tuple[str, bytes]]

AVRO = "application/vnd.confluent.avro"
"""The content type of an Avro value in the Confluent wire format."""


@dataclass(slots=True, frozen=True)
class Unreadable:
    """Why a source could make no data of something that it read, and its bytes.

    ``raw``: the bytes as they were, or their beginning where there are too many: then ``cut`` says
    so. b"" where it has none, as of a file that cannot be opened. ``notes``: what the source needs
    besides to read these bytes again (``Source.read_again``), as the names in a file's header:
    JSON-able, some kB at the most.
    """

    error: DataError
    raw: bytes = b""
    cut: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True, kw_only=True)
class Record:
    """One change that a source read, before it is canonical.

    ``key``: the entity's key, or "" for a truncate. ``data``: the row or body after the change;
    for a delete what the system still tells (the key's columns, perhaps more); {} for a truncate.
    ``stream``: the table or collection. ``id`` must be the same when the source reads the same
    change again, and another for each other change: it becomes ``ce_id``, of which every
    ``Event.idempotency_key`` is made. ``time``: when the change happened in the system, UTC.
    ``place``: where in the system it stands, for people: ``orders.csv:17``; dead letters tell it.
    ``unreadable``: the source found something that is no record; it is not mapped, but becomes one
    dead letter of the source, with its raw bytes; ``key`` and ``data`` may be empty then.
    ``type``: the event's type, where the system itself says it: a topic's ``event_type`` goes
    first. ``headers``: what else the event is to have as headers of Kafka, in UTF-8.
    """

    key: str
    data: dict[str, Any]
    change: Change = "create"
    stream: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    traceparent: str = ""
    place: str = ""
    unreadable: Unreadable | None = None
    type: str = ""
    headers: Mapping[str, str] | None = None


class Event(Generic[T_co]):
    """One canonical event as a route and a sink see it.

    ``data`` is decoded when it is first read, once, however many routes read it. Two events
    share nothing; an event is not for use by several threads at once.
    """

    __slots__ = (
        "_data",
        "_decode",
        "_named",
        "headers",
        "key",
        "offset",
        "partition",
        "topic",
        "value",
    )

    def __init__(  # by position where it is made for each message: names cost 0.6 µs
        self,
        key: str,
        value: bytes | None,
        headers: Headers,
        decode: Callable[[bytes], T_co],
        topic: str = "",
        partition: int = 0,
        offset: int = 0,
    ) -> None:
        self.key = key
        self.value = value
        self.headers = headers
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self._decode = decode
        self._data: T_co | None = None
        self._named: dict[str, bytes] | None = None

    @property
    def data(self) -> T_co:
        """The value as the topic's type. Raises NoData for a delete that carries only its key,
        SerializationError for bytes that are not Avro of a known schema."""
        if self._data is None:
            if self.value is None:
                raise NoData(f"the {self.change} of {self.key!r} carries only its key")
            self._data = self._decode(self.value)
        return self._data

    def is_own(self, data: object) -> bool:
        """Whether ``data`` is this event's own decoded value: then its bytes can be handed on."""
        return data is self._data and data is not None

    def header(self, name: str) -> str:
        """The header's text, or "" if there is none; bytes that are not UTF-8 show as U+FFFD."""
        return self.raw_header(name).decode(errors="replace")

    def raw_header(self, name: str) -> bytes:
        """The header's bytes, or b"" if there is none or it is null, as Kafka allows."""
        if self._named is None:
            self._named = dict(self.headers)
        return self._named.get(name) or b""

    def headers_without(self, names: frozenset[str]) -> Headers:
        """The headers but those of these names; the very list if it has none of them."""
        if self._named is None:
            self._named = dict(self.headers)
        if names.isdisjoint(self._named):
            return self.headers
        return [header for header in self.headers if header[0] not in names]

    @property
    def id(self) -> str:
        """``ce_id``: the event's id, which is unique within its source. All messages that are made
        of an event have it; what tells them apart is ``idempotency_key``."""
        return self.header(CE_ID)

    @property
    def idempotency_key(self) -> str:
        """A UUID that this message has and no other, through retries, replays, re-drives, restarts
        and redeployments: a system that has seen it has seen this message.

        It is made of all that makes a message: inbox, source, event id, route, and part of what
        the route returned. An id is unique in one source only, and one event may be several
        messages, so ``id`` alone would have a system drop payments as repeats of others.
        """
        # Made for each event that is delivered: measure before you add a call.
        place = self.raw_header(TL_FROM).split(b"/", 3)
        if len(place) == 4:
            topic, message = place[0], place[3]
        else:  # a canonical event, or a record put into the inbox by hand
            topic, message = self.inbox.encode(), b""
            place = [topic, b"%d" % self.partition, b"%d" % self.sequence]
        # Producers that write no CloudEvents headers: the record's place is its identity.
        source = self.raw_header(CE_SOURCE) or topic
        id_ = self.raw_header(CE_ID) or b"/".join(place[:3])
        return _uuid_of(_scope(self.topic, source), id_, message)

    @property
    def type(self) -> str:
        """``ce_type``, as ``order.paid`` or ``public.orders.update``."""
        return self.header(CE_TYPE)

    @property
    def source(self) -> str:
        """``ce_source``: the flow and the source that published the event."""
        return self.header(CE_SOURCE)

    @property
    def subject(self) -> str:
        """``ce_subject``: the table or collection that the event comes from."""
        return self.header(CE_SUBJECT)

    @property
    def time(self) -> datetime:
        """``ce_time``: when it happened in the source system, UTC."""
        return datetime.fromisoformat(self.header(CE_TIME))

    @property
    def change(self) -> Change:
        """The change verb. Where nobody said it, as in a topic of another producer: ``create``, or
        ``delete`` of a record without a value, which is how Kafka's compaction reads it."""
        default = "delete" if self.value is None else "create"
        return self.header(TL_CHANGE) or default  # type: ignore[return-value]

    @property
    def inbox(self) -> str:
        """The topic of all that the destination is to receive, also for an event that comes from
        one of its retry topics; in a route, the topic that the event is in."""
        return inbox_of(self.topic)

    @property
    def sequence(self) -> int:
        """The event's offset in the inbox, also when it comes from a retry topic. Within a key
        it grows from event to event, and a repetition has it again."""
        if is_inbox(self.topic):
            # A record that somebody put there by hand may bring the header of another place.
            return self.offset
        return header_number(self.header(TL_SEQ), self.offset)

    @property
    def traceparent(self) -> str:
        """The W3C trace context, or ""."""
        return self.header(TRACEPARENT)

    @property
    def trace_id(self) -> str:
        """The trace's id in ``traceparent``, or ""."""
        return trace_id(self.traceparent)

    def __repr__(self) -> str:
        place = f"{self.topic}/{self.partition}/{self.offset}"
        return f"Event({self.type} {self.key!r} id={self.id} {place})"


def header_number(text: str, default: int = 0) -> int:
    """The whole number that a header holds; ``default`` for anything that Kafka's offsets cannot
    be, since headers are anybody's."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else default


def event_headers(record: Record, *, source: str, type: str) -> list[tuple[str, bytes]]:
    """The headers of a record's canonical event, each name once."""
    headers = [
        (CE_SPECVERSION, b"1.0"),
        (CE_ID, record.id.encode()),
        (CE_SOURCE, source.encode()),
        (CE_TYPE, type.encode()),
        (CE_TIME, record.time.isoformat().encode()),
        (CONTENT_TYPE, AVRO.encode()),
        # Not sampled: whoever traces has said so before. As sampled, all that was published before
        # a worker had traces would be traced, whatever the ratio, at a third of the speed.
        (TRACEPARENT, (record.traceparent or new_traceparent(sampled=False)).encode()),
        (TL_CHANGE, record.change.encode()),
    ]
    if record.stream:
        headers.append((CE_SUBJECT, record.stream.encode()))
    if record.headers:
        own = dict(headers)
        headers += [
            (name, value.encode(errors="replace"))
            for name, value in record.headers.items()
            if name not in own
        ]
    return headers


def replaced(headers: Headers, new: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """``headers`` with ``new`` in place of any of the same names: replaced, never appended."""
    kept = [(name, value) for name, value in headers if name not in new]
    kept.extend(new.items())
    return kept


def under(event: Event[Any], traceparent: bytes) -> Event[Any]:
    """The same event with another trace context, in the place of the one that it has."""
    made = copy(event)
    made.headers, made._named = replaced(event.headers, {TRACEPARENT: traceparent}), None
    return made


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The hex digit with its two upper bits as RFC 9562 has them."""


@lru_cache(maxsize=1024)
def _scope(topic: str, source: bytes) -> bytes:
    """The inbox of a topic and a source, each after its length."""
    inbox = inbox_of(topic).encode()
    return b"%d:%b%d:%b" % (len(inbox), inbox, len(source), source)


def _uuid_of(scope: bytes, id_: bytes, message: bytes) -> str:
    """A UUID of version 8 (RFC 9562, 5.8): the SHA-256 of the parts, each after its length, so that
    ``a`` and ``bc`` are not ``ab`` and ``c``."""
    parts = b"%b%d:%b%d:%b" % (scope, len(id_), id_, len(message), message)
    # uuid.UUID would take three times as long as the hash itself, for each event.
    hex_ = hashlib.sha256(parts).hexdigest()
    variant = _VARIANT[hex_[16]]
    return f"{hex_[:8]}-{hex_[8:12]}-8{hex_[13:16]}-{variant}{hex_[17:20]}-{hex_[20:32]}"


def new_traceparent(*, sampled: bool = True) -> str:
    """A fresh W3C trace context."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-0{sampled:d}"


def trace_id(traceparent: str) -> str:
    """The trace's id in a W3C trace context: its second part, or "" if there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 else ""


def join_key(values: Sequence[str]) -> str:
    """One event key of an entity's key values: a single value is itself, several are a JSON array.

    ``split_key`` gives the values back. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("a key needs at least one value")
    if len(values) == 1 and not values[0].startswith("["):
        return values[0]
    return json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))


def split_key(key: str) -> list[str]:
    """The values that ``join_key`` made ``key`` of; any other text is a single value."""
    if not key.startswith("["):
        return [key]
    try:
        values = json.loads(key)
    except ValueError:
        return [key]
    joined = bool(values) and all(isinstance(value, str) for value in values)
    return values if joined else [key]
