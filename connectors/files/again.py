"""A row's bytes, read again by today's format, without the file that they came from."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from trunkline.connectors.files.formats import FileFormat
from trunkline.connectors.files.lines import Lines
from trunkline.connectors.json_values import exact_json, to_json
from trunkline.errors import DataError, SerializationError
from trunkline.event import Unreadable
from trunkline.typed_json import Types, plain, restore

NO_TYPES: Mapping[str, Any] = {"json": False}
"""The notes of a row whose bytes are not all of its fields: they are for people."""
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
        fields = _object(bad.raw, bad.notes.get("types") or {})
        if missing := [name for name in needed if name not in fields]:
            raise DataError(f"the row lacks {', '.join(missing)}")
        return fields
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


def as_letter(fields: dict[str, Any], limit: int) -> tuple[bytes, Mapping[str, Any]]:
    """A row that was read, but not what to make of it: its fields as JSON, and the notes by which
    ``row_again`` has them back, values of other types, too. Of one that cannot be had back, or has
    more bytes than ``limit``, what people can read of it."""
    types: dict[str, list[str]] = {}
    try:
        raw = to_json(plain(fields, "", types))
        notes = {"json": True, "types": types} if types else {"json": True}
        if len(raw) <= limit and _object(raw, types) == fields:
            return raw, notes
    except (SerializationError, DataError):  # of a format of the flow's own
        raw = repr(fields)[:limit].encode(errors="backslashreplace")
    return raw[:limit], NO_TYPES


def _object(raw: bytes, types: Types) -> dict[str, Any]:
    try:
        found = exact_json(raw)
        if not isinstance(found, dict):
            raise DataError("its bytes are no object")
        restore(found, types)
    except _NO_FIELDS as error:
        raise DataError(f"its bytes are no fields in JSON: {error!r}") from error
    return found


_NO_FIELDS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
