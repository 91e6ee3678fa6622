"""Rows of a table as records: their data, their key, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from trunkline.connectors.json_values import exact_json, text_of, to_json
from trunkline.connectors.sql.polling.values import PolledColumn
from trunkline.errors import DataError, SerializationError
from trunkline.event import Change, Record, Unreadable, join_key
from trunkline.typed_json import plain, restore

MAX_RAW = 100_000
"""Characters of a row that a dead letter shows."""
TYPES = "types"
"""The note of a letter whose bytes are the row as JSON: where values of other types are."""


def data_of(columns: Sequence[PolledColumn], values: Sequence[Any]) -> dict[str, Any]:
    """Column → value, of the values as the driver gave them."""
    return {
        c.name: value if value is None or c.convert is None else c.convert(value)
        for c, value in zip(columns, values, strict=True)
    }


def record_of(
    key: Sequence[PolledColumn],
    key_values: Sequence[Any],
    data: dict[str, Any],
    *,
    change: Change,
    stream: str,
    id: str,
    time: datetime | None = None,
) -> Record:
    """The record of a row; one that cannot have a key is unreadable."""
    place = f"{stream} {id}"[:200]
    when = time or datetime.now(UTC)
    try:
        text = key_text(key, key_values)
    except DataError as error:
        bad = _letter(error, data)
        return Record(key="", data={}, stream=stream, id=id, time=when, place=place, unreadable=bad)
    return Record(key=text, data=data, change=change, stream=stream, id=id, time=when, place=place)


def read_again(record: Record, keys: Sequence[str]) -> Record:
    """The record of a row that had no key, by these columns as its key. Raises DataError where it
    has none by them, either."""
    bad = record.unreadable
    assert bad is not None
    if TYPES not in bad.notes:
        raise DataError(
            "its letter has not all of the row: mend the row at the database, which tells it once "
            "more, and discard this letter"
        )
    try:
        data: dict[str, Any] = exact_json(bad.raw)
        restore(data, bad.notes[TYPES])
        values = [data[name] for name in keys]
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"the letter's row has no key by {', '.join(keys)}: {error!r}") from error
    if empty := [name for name, value in zip(keys, values, strict=True) if value in (None, "")]:
        raise DataError(
            f"the row has no key: {empty[0]} is empty. Name columns that have one, key=(…), or "
            "mend the row at the database, which tells it once more, and discard this letter"
        )
    key = join_key([text_of(value) for value in values])
    return replace(record, key=key, data=data, unreadable=None)


def _letter(error: DataError, data: dict[str, Any]) -> Unreadable:
    """A row as JSON, so that it can be read again; of one that has no such form what is shown."""
    types: dict[str, list[str]] = {}
    try:
        raw = to_json(plain(data, "", types))
        if len(raw) <= MAX_RAW:
            return Unreadable(error, raw, notes={TYPES: types})
    except SerializationError:
        raw = repr(data).encode(errors="backslashreplace")
    return Unreadable(error, raw[:MAX_RAW], cut=True)


def key_text(columns: Sequence[PolledColumn], values: Sequence[Any]) -> str:
    """The event key of these columns' values. Raises DataError for one that has no text."""
    found = data_of(columns, values)
    for name, value in found.items():
        if value is None or value == "":
            raise DataError(f"the row has no key: {name} is empty")
    return join_key([text_of(value) for value in found.values()])
