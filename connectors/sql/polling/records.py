"""Rows of a table as records: their data, their key, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trunkline.connectors.json_values import text_of
from trunkline.connectors.sql.polling.values import PolledColumn
from trunkline.errors import DataError
from trunkline.event import Change, Record, Unreadable, join_key

MAX_RAW = 100_000
"""Characters of a row that a dead letter shows."""


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
        raw = repr(data)[:MAX_RAW].encode(errors="backslashreplace")
        bad = Unreadable(error, raw)
        return Record(key="", data={}, stream=stream, id=id, time=when, place=place, unreadable=bad)
    return Record(key=text, data=data, change=change, stream=stream, id=id, time=when, place=place)


def key_text(columns: Sequence[PolledColumn], values: Sequence[Any]) -> str:
    """The event key of these columns' values. Raises DataError for one that has no text."""
    found = data_of(columns, values)
    for name, value in found.items():
        if value is None or value == "":
            raise DataError(f"the row has no key: {name} is empty")
    return join_key([text_of(value) for value in found.values()])
