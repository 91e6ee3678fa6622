"""What FileSink's files are made of: lines of JSON, or Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from trunkline.connectors.files.objects import Objects
from trunkline.connectors.json_values import to_json
from trunkline.errors import DataError, MissingExtra
from trunkline.event import Event
from trunkline.headers import CE_TIME

COLUMNS = ("_key", "_change", "_type", "_time", "_source", "_id", "_partition", "_offset")
"""What each event has in front of its own fields."""


class FileForm(Protocol):
    """How events become the content of a file. ``ending``: of the file's name."""

    ending: str

    def lines(self, events: Sequence[Event[Any]]) -> list[Any]:
        """What each event is in a file; in its place a DataError for one that cannot be."""
        ...

    def packed(self, lines: Sequence[Any]) -> bytes:
        """The content of a file of these."""
        ...

    def nothing(self) -> bytes:
        """The content of a file without events, which its readers take for one."""
        ...

    def is_nothing(self, objects: Objects, path: str) -> bool:
        """Whether a file is such a one. Raises OSError."""
        ...


class JsonForm:
    """A JSON object a line; ``compress``: by gzip."""

    def __init__(self, compress: bool) -> None:
        self._compress = compress
        self.ending = ".jsonl.gz" if compress else ".jsonl"

    def lines(self, events: Sequence[Event[Any]]) -> list[Any]:
        """See FileForm."""
        return [_line(event) for event in events]

    def packed(self, lines: Sequence[Any]) -> bytes:
        """See FileForm."""
        return self._gzipped(b"".join(lines))

    def nothing(self) -> bytes:
        """See FileForm."""
        return self._gzipped(b"")

    def is_nothing(self, objects: Objects, path: str) -> bool:
        """See FileForm: one with events has more bytes."""
        return objects.size(path) == len(self.nothing())

    def _gzipped(self, content: bytes) -> bytes:
        return gzip.compress(content, 6, mtime=0) if self._compress else content


class Forms:
    """The forms that a sink's files may have, by the endings of their names: what a worker was
    about to write, the next one may find, and that one may write another form.

    ``format``: that of new files. Raises ConfigurationError for a type that has none, MissingExtra.
    """

    def __init__(self, type: type, format: str, compress: bool) -> None:
        self._type = type
        self.form: FileForm = self._parquet() if format == "parquet" else JsonForm(compress)

    def of(self, path: str) -> FileForm:
        """The form of a file."""
        if path.endswith(self.form.ending):
            return self.form
        return self._parquet() if path.endswith(".parquet") else JsonForm(path.endswith(".gz"))

    def _parquet(self) -> FileForm:
        if find_spec("pyarrow") is None:
            raise MissingExtra("FileSink with Parquet", "parquet")
        from trunkline.connectors.files.parquet_form import ParquetForm

        return ParquetForm(self._type)


def told(event: Event[Any]) -> tuple[Any, ...]:
    """The values of ``COLUMNS``."""
    return (
        event.key,
        event.change,
        event.type,
        event.header(CE_TIME) or None,
        event.source,
        event.id,
        event.partition,
        event.sequence,
    )


def fields_of(event: Event[Any]) -> Any:
    """The event's own fields; none of a delete that has but its key."""
    return {} if event.change == "delete" and event.value is None else event.data


def _line(event: Event[Any]) -> bytes | DataError:
    try:
        row = dict(zip(COLUMNS, told(event), strict=True))
        return to_json({**row, **fields_of(event)}) + b"\n"
    except DataError as error:
        return error
