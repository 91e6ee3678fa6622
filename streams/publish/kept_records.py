"""A source's record as its dead letter keeps it, and the record that a letter keeps. No I/O.

What a flow cannot map is kept as JSON, with its types; what the source itself could not read, as
the bytes that came. Either way ``trunkline dlq redrive`` makes of it what today's code does.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

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

JSON, RAW = b"application/json", b"application/octet-stream"
"""What the value of a source's dead letter is: no Avro, as that of its events."""

MAX_NOTES = 200_000
"""Bytes of a header about the value. Without the types, values are texts; without its notes, a raw
record counts as cut."""
_DEEPEST = 50
"""Levels of a record down to which types are kept."""

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
    value = _as_json({**row, "data": _plain(record.data, "/data", types, 0)})
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
        for name, places in _json_of(letter.header(TL_TYPES)).items():
            for place in places:
                _restore(given, place.split("/")[1:], _FROM_TEXT[name])
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


def _seconds(value: timedelta) -> str:
    return str(Decimal(value // timedelta(microseconds=1)) / 1_000_000)


_TO_TEXT: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    datetime: ("datetime", str),
    date: ("date", str),
    time: ("time", str),
    timedelta: ("seconds", _seconds),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    bytes: ("base64", lambda value: base64.b64encode(value).decode()),
}
_FROM_TEXT: Mapping[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "seconds": lambda text: timedelta(microseconds=int(Decimal(text) * 1_000_000)),
    "decimal": Decimal,
    "uuid": UUID,
    "base64": base64.b64decode,
    "float": float,
}


def _plain(value: Any, at: str, types: dict[str, list[str]], depth: int) -> Any:
    """A value with texts for what JSON does not have; ``types`` learns where they are."""
    if isinstance(value, dict | list | tuple) and depth < _DEEPEST:
        if isinstance(value, dict):
            return {
                k: _plain(v, f"{at}/{_escaped(k)}", types, depth + 1) if isinstance(k, str) else v
                for k, v in value.items()
            }
        return [_plain(item, f"{at}/{n}", types, depth + 1) for n, item in enumerate(value)]
    name, text = _TO_TEXT.get(type(value), ("", str))
    if isinstance(value, float) and not math.isfinite(value):  # JSON would make it null
        name = "float"
    if not name:
        return value
    types.setdefault(name, []).append(at)
    return text(value)


def _escaped(name: str) -> str:
    """A name in a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _restore(row: Any, path: list[str], read: Callable[[str], Any]) -> None:
    names = [name.replace("~1", "/").replace("~0", "~") for name in path]
    for name in names[:-1]:
        row = row[int(name)] if isinstance(row, list) else row[name]
    last: Any = int(names[-1]) if isinstance(row, list) else names[-1]
    row[last] = read(row[last])


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
