"""Which column of an outbox table is what, and a row of it as a record."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trunkline.connectors.json_values import exact_json, text_of, to_json
from trunkline.errors import ConfigurationError, DataError, SerializationError
from trunkline.event import Change, Record, Unreadable
from trunkline.headers import CONTENT_TYPE, TRACEPARENT

BYTES = "bytes"
"""The note of which columns of a row are bytes, which its JSON has in base64."""
_BYTES = (bytes, bytearray, memoryview)


@dataclass(frozen=True, slots=True)
class OutboxColumns:
    """The columns of an outbox table; by default those of Debezium's outbox event router.

    ``id``: names the event, and the row. ``stream``: the kind of entity, which a topic's
    ``stream=`` chooses by; ``key``: the entity's key; ``type``: the event's type; "" for either of
    the two that the table lacks. ``payload``: a JSON object; NULL is a delete. ``time``: when it
    happened; "" for when it is read. ``headers``: headers of the event, by name, with the column
    that has their value; ``traceparent`` is carried on.
    """

    id: str = "id"
    stream: str = "aggregatetype"
    key: str = "aggregateid"
    type: str = "type"
    payload: str = "payload"
    time: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not (self.id and self.key and self.payload):
            raise ConfigurationError("OutboxColumns: name the columns of id=, key= and payload=")
        ours = [name for name in self.headers if name.startswith(("ce_", "tl_"))]
        if ours or CONTENT_TYPE in self.headers:
            raise ConfigurationError(
                f"OutboxColumns: headers= names {', '.join(ours) or CONTENT_TYPE}, which is "
                "Trunkline's own"
            )

    @property
    def needed(self) -> list[str]:
        """All columns that are read."""
        named = [self.id, self.stream, self.key, self.type, self.payload, self.time]
        return list(dict.fromkeys(name for name in [*named, *self.headers.values()] if name))

    def record(self, row: Mapping[str, Any], table: str) -> Record:
        """A row's record; one that is none of an event is unreadable."""
        id_ = _text(row.get(self.id)) or "?"
        stream = _text(row.get(self.stream)) if self.stream else ""
        place = f"{table} {id_}"[:200]
        try:
            return self._record(row, id_, stream or table, place)
        except DataError as error:
            bad = _kept(error, row)
            return Record(
                key="", data={}, stream=stream or table, id=id_, place=place, unreadable=bad
            )

    def record_again(self, record: Record, table: str) -> Record:
        """What a row that could not be read is by these columns. Raises DataError if it still is
        none of an event."""
        assert record.unreadable is not None
        try:
            row = exact_json(record.unreadable.raw)
            for name in record.unreadable.notes.get(BYTES, ()):
                row[name] = b64decode(row[name])
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"the letter has no row: {error}") from error
        made = self.record(row, table)
        if made.unreadable is not None:
            raise made.unreadable.error
        if not self.time:
            made.time = record.time
        return made

    def _record(self, row: Mapping[str, Any], id_: str, stream: str, place: str) -> Record:
        if absent := [name for name in self.needed if name not in row]:
            raise DataError(f"the outbox has no column {', '.join(absent)}")
        key = _text(row[self.key])
        if not key:
            raise DataError(f"the row has no key: {self.key} is empty")
        payload = row[self.payload]
        change: Change = "delete" if payload is None else "create"
        headers = {name: _text(row[column]) for name, column in self.headers.items()}
        trace = headers.pop(TRACEPARENT, "")
        return Record(
            key=key,
            data={} if payload is None else _object(payload, self.payload),
            change=change,
            stream=stream,
            id=id_,
            time=_time(row[self.time]) if self.time else datetime.now(UTC),
            traceparent=trace,
            place=place,
            type=_text(row[self.type]) if self.type else "",
            headers={name: value for name, value in headers.items() if value},
        )


def _kept(error: DataError, row: Mapping[str, Any]) -> Unreadable:
    """All of a row: once its letter is in Kafka it is removed from the table."""
    try:
        raw = to_json(dict(row))
    except SerializationError:
        return Unreadable(error, repr(dict(row)).encode(errors="backslashreplace"), cut=True)
    names = [name for name, value in row.items() if isinstance(value, _BYTES)]
    return Unreadable(error, raw, notes={BYTES: names} if names else {})


def _text(value: Any) -> str:
    return "" if value is None else text_of(value)


def _object(payload: Any, column: str) -> dict[str, Any]:
    """The payload, which a database gives as text, bytes, or parsed."""
    if isinstance(payload, str | bytes):
        try:
            payload = exact_json(payload)
        except ValueError as error:
            raise DataError(f"{column} is no JSON: {error}") from error
    if not isinstance(payload, dict):
        raise DataError(f"{column} is no JSON object, but {type(payload).__name__}")
    return payload


def _time(value: Any) -> datetime:
    """UTC; a number is of milliseconds, or microseconds where it is that large."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / (1e6 if value > 1e14 else 1e3), UTC)
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (AttributeError, ValueError, OverflowError, OSError) as error:
        raise DataError(f"{str(value)[:40]!r} is no time") from error
