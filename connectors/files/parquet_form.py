"""Parquet as FileSink writes it: the Avro type's fields as columns, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.connectors.files.arrow_types import Column, column_of
from trunkline.connectors.files.objects import Objects
from trunkline.connectors.files.written_forms import COLUMNS, fields_of, told
from trunkline.errors import DataError, SerializationError
from trunkline.event import Event
from trunkline.schemas.avro import named_types
from trunkline.schemas.types import schema_of

_AT = COLUMNS.index("_time")
_OURS = {"_time": pa.timestamp("us", "UTC"), "_partition": pa.int32(), "_offset": pa.int64()}


class ParquetForm:
    """A ``FileForm``: Parquet, packed by zstandard, with checksums of its pages.

    Each column may be null, as a delete has none of the event's fields. Raises ConfigurationError
    for a type without a schema, or with one that Parquet has no types for.
    """

    ending = ".parquet"

    def __init__(self, type: type) -> None:
        schema = schema_of(type).parsed
        named = named_types(schema)
        self._columns: list[Column] = [
            column_of(field["name"], field["type"], named, type.__name__)
            for field in schema["fields"]
        ]
        ours = [(name, _OURS.get(name, pa.string())) for name in COLUMNS]
        self._schema = pa.schema([*ours, *((c.name, c.type) for c in self._columns)])

    def lines(self, events: Sequence[Event[Any]]) -> list[Any]:
        """See FileForm."""
        lines = [self._line(event) for event in events]
        try:
            self._batch([line for line in lines if not isinstance(line, DataError)])
        except _UNFIT:
            return [self._looked_at(line) for line in lines]
        return lines

    def packed(self, lines: Sequence[Any]) -> bytes:
        """See FileForm."""
        sink = pa.BufferOutputStream()
        table = pa.Table.from_batches([self._batch(lines)])
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        return bytes(sink.getvalue())

    def nothing(self) -> bytes:
        """See FileForm."""
        return self.packed([])

    def is_nothing(self, objects: Objects, path: str) -> bool:
        """See FileForm. Not by its size: that is another one with each version of Arrow."""
        try:
            return int(pq.read_metadata(pa.BufferReader(objects.read(path))).num_rows) == 0
        except pa.ArrowException as error:
            raise OSError(f"{path} is no Parquet: {error}") from error

    def _line(self, event: Event[Any]) -> dict[str, Any] | DataError:
        """The row's values by column."""
        try:
            values = list(told(event))
            values[_AT] = _moment(values[_AT])
            row: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
            fields = fields_of(event)
            for column in self._columns:
                value = fields.get(column.name)
                changed = (
                    value if value is None or column.convert is None else column.convert(value)
                )
                row[column.name] = changed
            return row
        except DataError as error:
            return error
        except _UNFIT as error:
            return SerializationError(f"no row of Parquet: {error!r}")

    def _looked_at(self, line: Any) -> Any:
        try:
            if not isinstance(line, DataError):
                self._batch([line])
            return line
        except _UNFIT as error:
            return SerializationError(f"no row of Parquet: {error}")

    def _batch(self, lines: Sequence[dict[str, Any]]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(list(lines), schema=self._schema)


_UNFIT = (pa.ArrowException, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What values raise that are not of their type."""


def _moment(text: str | None) -> datetime | None:
    """A time as a source, or another producer, has written it; None for what is none."""
    try:
        at = datetime.fromisoformat(text or "")
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
