"""A source's record as its dead letter keeps it, and the record that a letter keeps. No I/O.

What a flow cannot map is kept as JSON, with its types; what the source itself could not read, as
the bytes that came. Either way ``trunkline dlq redrive`` makes of it what today's code does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson

from trunkline.errors import DataError
from trunkline.event import Record, Unreadable
from trunkline.headers import (
    CE_SUBJECT,
    CE_TIME,
    CONTENT_TYPE,
    TL_CHANGE,
    TL_RAW,
    TL_TYPES,
    TRACEPARENT,
)
from trunkline.kafka import MAX_VALUE
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.typed_json import plain, restore

JSON, RAW = b"application/json", b"application/octet-stream"
"""What the value of a source's dead letter is: no Avro, as that of its events."""

MAX_NOTES = 200_000
"""Bytes of a header about the value. Without the types, values are texts; without its notes, a raw
record counts as cut."""
_NO_RECORD = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError
)  # fmt: skip

_CUT = "only its beginning is in the letter: it was too large"


def kept(record: Record) -> tuple[bytes, dict[str, bytes]]:
    """The value of a record's dead letter, and the headers that say what it is.

    It never fails, whatever the record holds: a dead letter that failed would stop the source.
    """
    bad = record.unreadable
    if bad is not None:
        cut = bad.cut or len(bad.raw) > MAX_VALUE
        notes = _header({"cut": cut, "notes": dict(bad.notes)})
        about = {CONTENT_TYPE: RAW, TL_RAW: notes or _header({"cut": True})}
        return bad.raw[:MAX_VALUE], about
    types: dict[str, list[str]] = {}
    row = {name: getattr(record, name) for name in _TOLD if name != "data"}
    value = _as_json({**row, "data": plain(record.data, "/data", types)})
    about = {CONTENT_TYPE: JSON}
    if types and (header := _header(types)):
        about[TL_TYPES] = header
    if len(value) > MAX_VALUE:
        about[TL_RAW] = _header({"cut": True})
    return value[:MAX_VALUE], about


def record_of(letter: DeadLetter) -> Record:
    """The record that a source's dead letter keeps, as it was: values that have no form in JSON are
    what they were (of nested ones and of tuples see docs/dead-letters.md); one that the source
    could not read is ``unreadable``, with its bytes. Raises DataError for one that was cut, and for
    what is no letter of a source's."""
    about = _json_of(letter.header(TL_RAW))
    if about.get("cut"):
        raise DataError(_CUT)
    if letter.header(CONTENT_TYPE).encode() == RAW:
        return _raw_record(letter, about.get("notes") or {})
    try:
        row = json.loads(letter.value or b"")  # exact, beyond 64 bits, too
        given = {name: value for name, value in row.items() if name in _TOLD}
        at = datetime.fromisoformat(given["time"])
        restore(given, _json_of(letter.header(TL_TYPES)))
        return Record(**{**given, "time": at})
    except _NO_RECORD as error:
        raise DataError(f"the letter at {letter.place} holds no record: {error!r}") from error


def _raw_record(letter: DeadLetter, notes: Mapping[str, Any]) -> Record:
    try:
        at = datetime.fromisoformat(letter.header(CE_TIME))
    except ValueError:
        at = letter.time
    change: Any = letter.header(TL_CHANGE) or "create"
    return Record(
        key=letter.shown_key,
        data={},
        change=change,
        stream=letter.header(CE_SUBJECT),
        id=letter.event_id,
        time=at,
        traceparent=letter.header(TRACEPARENT),
        place=letter.came_from,
        unreadable=Unreadable(DataError(letter.message), letter.value or b"", notes=notes),
    )


def _header(value: Mapping[str, Any]) -> bytes:
    """The header's bytes; b"" for one that is too long, or no JSON."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return b""
    return text if len(text) <= MAX_NOTES else b""


def _json_of(header: str) -> dict[str, Any]:
    try:
        found = orjson.loads(header) if header else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


_TOLD = [each.name for each in fields(Record) if each.name != "unreadable"]


def _as_json(row: dict[str, Any]) -> bytes:
    """The record as JSON, whatever it holds."""
    try:
        option = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
        return orjson.dumps(row, default=str, option=option)
    except TypeError:  # numbers beyond 64 bits, text that is not Unicode: slower
        try:
            return json.dumps(row, default=str, skipkeys=True).encode()
        except RecursionError:  # a thousand lists in each other, as JSON may hold
            return _deep_json(row).encode()


class _Written(str):
    """What is JSON already."""

    __slots__ = ()


def _deep_json(value: Any) -> str:
    """JSON of a value that is nested deeper than Python's own writers go."""
    parts: list[str] = []
    todo: list[Any] = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, _Written):
            parts.append(one)
        elif isinstance(one, dict):
            inner: list[Any] = []
            for name, item in one.items():
                inner += [_Written(f"{',' if inner else ''}{json.dumps(str(name))}:"), item]
            todo += [_Written("}"), *reversed(inner), _Written("{")]
        elif isinstance(one, list | tuple):
            inner = [part for item in one for part in (_Written(","), item)][1:]
            todo += [_Written("]"), *reversed(inner), _Written("[")]
        else:
            parts.append(json.dumps(one, default=str))
    return "".join(parts)
