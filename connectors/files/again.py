"""A row's bytes, read again by today's format, without the file that they came from."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from trunkline.connectors.files.formats import FileFormat
from trunkline.connectors.files.lines import Lines
from trunkline.connectors.json_values import exact_json
from trunkline.errors import DataError
from trunkline.event import Unreadable

AS_JSON: Mapping[str, Any] = {"json": True}
"""The notes of a row whose bytes are its fields as JSON: it was read, but not what to make of it.
"""
NO_TYPES: Mapping[str, Any] = {"json": False}
"""The notes of one whose JSON is not all of its fields: a ``Decimal`` or a time is text there."""
NO_ROW: Mapping[str, Any] = {"row": False}
"""The notes of what is about a whole file."""

_NOT_A_ROW = (
    "it is about a whole file, not about a row: mend the file, put it there under another name, "
    "and discard this letter"
)


@runtime_checkable
class StandaloneFormat(FileFormat, Protocol):
    """A format whose rows can be read without the file around them."""

    def alone(self, notes: Mapping[str, Any]) -> FileFormat:
        """The format of a row's bytes by themselves: no title, no header. ``notes``: of that row.
        Raises DataError where they are nothing by themselves."""
        ...


def row_again(
    format: FileFormat, bad: Unreadable, needed: Sequence[str], max_row: int
) -> dict[str, Any]:
    """The fields of a row that could not be read when it came. Raises DataError where it still
    cannot be, with the reason."""
    if bad.notes.get("row") is False:
        raise DataError(_NOT_A_ROW)
    if bad.notes.get("json") is False:
        raise DataError(
            "its letter has no types of its values: mend key=, put the file there under another "
            "name, and discard this letter"
        )
    if bad.notes.get("json"):
        return _object(bad.raw)
    if not isinstance(format, StandaloneFormat):
        raise DataError(
            f"{type(format).__name__} has no method alone(): its rows cannot be read by themselves"
        )
    with tempfile.TemporaryFile() as file:
        file.write(bad.raw)
        file.seek(0)
        lines = Lines(file, len(bad.raw), max_row, threading.Event())
        rows = list(format.alone(bad.notes).rows(lines, needed))
    if len(rows) != 1:
        raise DataError(f"its bytes are {len(rows)} rows of today's format")
    if (error := rows[0].error) is not None:
        raise error
    return rows[0].data


def notes_of(fields: Mapping[str, Any], raw: bytes) -> Mapping[str, Any]:
    """The notes of a row whose bytes are its fields as JSON."""
    try:
        return AS_JSON if exact_json(raw) == fields else NO_TYPES
    except ValueError:
        return NO_TYPES


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = exact_json(raw)
    except ValueError as error:
        raise DataError(f"its bytes are no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError("its bytes are no object")
    return found
