"""The rows of Parquet files, by Arrow's reader: row group by row group, some hundred at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.connectors.files.formats import FileError, Row
from trunkline.connectors.files.lines import Lines, TooLong
from trunkline.connectors.json_values import to_json
from trunkline.errors import DataError, SerializationError

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_TAIL = 8
"""Bytes behind the footer: its length, and the magic bytes."""
_LARGEST_FOOTER = 16 << 20
_PAGES = 1 << 16
"""Bytes that are read at once of a column: else all of its part of a row group would be."""
_EPOCH = datetime(1970, 1, 1)
_ROWS, _BYTES = 1_000, 4 << 20
"""Rows that are decoded at once, at the most, and about how many bytes of them."""


class _Content(io.RawIOBase):
    """The content for Arrow. Its reads end on a stop, or where the file is cut; Arrow then raises
    something of its own, and ``failed`` is what it was."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines
        self._at = 0
        self.failed: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = (0, self._at, self._lines.end)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._lines.end - self._at)
        try:
            raw = self._lines.take(self._at, left if size < 0 else min(size, left))
        except Exception as error:
            self.failed = error
            raise
        self._at += len(raw)
        return raw


def rows_of(lines: Lines, needed: Sequence[str], *, cut_times: bool) -> Iterator[Row]:
    """The rows behind the first ``lines.number`` of the file. Raises FileError, Stopped, and
    Truncated."""
    if not lines.end:
        return
    content, done, number = _Content(lines), lines.number, 0
    file = _opened(content, lines)
    names = file.schema_arrow.names
    if twice := sorted({repr(name) for name in names if names.count(name) > 1}):
        raise FileError(f"the schema names {', '.join(twice)} twice")
    if missing := [name for name in needed if name not in names]:
        raise FileError(f"the schema lacks {', '.join(missing)}", str(names).encode())
    for index in range(file.num_row_groups):
        group = _Group(file, index, number, lines.limit, cut_times)
        try:
            for row in group.rows(done):
                lines.mark(row.line)
                yield row
        except Exception as error:  # noqa: BLE001 - of codecs and what is in their bytes, any kind
            if content.failed is not None:
                raise content.failed from None
            if group.end > done:
                yield _lost(group, max(done, group.at), lines, error)
        number = group.end


def _opened(content: _Content, lines: Lines) -> pq.ParquetFile:
    """The file with its footer read. Raises FileError."""
    head = lines.take(0, min(len(_MAGIC), lines.end))
    tail = lines.take(lines.end - _TAIL, _TAIL) if lines.end > _TAIL else b""
    if tail[4:] == _ENCRYPTED:
        raise FileError("the file is encrypted Parquet, which is not read", head)
    if head != _MAGIC or tail[4:] != _MAGIC:
        raise FileError("the file is no Parquet, or not all of one", head)
    if (size := int.from_bytes(tail[:4], "little")) > _LARGEST_FOOTER:
        raise FileError(f"the footer has {size} bytes, more than {_LARGEST_FOOTER}", head)
    try:
        return pq.ParquetFile(pa.PythonFile(content, "r"), buffer_size=_PAGES, pre_buffer=False)
    except Exception as error:
        if content.failed is not None:
            raise content.failed from None
        raise FileError(f"the footer cannot be read: {error}", head) from error


class _Group:
    """A row group. ``at``: how many rows of the file are before the next one that it gives;
    ``end``: how many are before the next group."""

    def __init__(
        self, file: pq.ParquetFile, index: int, first: int, limit: int, cut_times: bool
    ) -> None:
        told = file.metadata.row_group(index)
        self._file, self._index, self._limit = file, index, limit
        self._size = max(1, min(_ROWS, _BYTES * told.num_rows // max(1, told.total_byte_size)))
        self._plain = pa.schema([(f.name, _plain(f.type)) for f in file.schema_arrow])
        self._is_plain = self._plain.equals(file.schema_arrow)
        self._cut_times = cut_times
        self.at, self.end = first, first + told.num_rows
        column = told.column(0) if told.num_columns else None
        self.start = (
            0 if column is None else column.dictionary_page_offset or column.data_page_offset
        )

    def rows(self, done: int) -> Iterator[Row]:
        """The rows behind the first ``done`` of the file. Raises whatever Arrow does."""
        if self.end <= done:
            return
        batches = self._file.iter_batches(self._size, row_groups=[self._index], use_threads=False)
        for batch in batches:
            known = min(batch.num_rows, max(0, done - self.at))
            self.at += known
            if known < batch.num_rows:
                for row in self._converted(batch.slice(known), self.at):
                    self.at += 1
                    yield row
        if self.at < self.end:
            raise DataError("it has fewer rows than the footer says")

    def _converted(self, batch: pa.RecordBatch, first: int) -> Iterator[Row]:
        """The rows of a batch, behind the first so many of the file. One that has more bytes than a
        row may have, or a value that cannot be converted, is halved until it is that row."""
        if batch.nbytes <= self._limit:
            try:
                values = self._values(batch)
            except Exception:  # noqa: BLE001 - of any kind: a single row tells it
                values = []
            size = batch.nbytes // batch.num_rows + 1
            for number, data in enumerate(values, first + 1):
                yield Row(data, number, number - 1, size=size)
            if values:
                return
        if batch.num_rows == 1:
            yield self._one(batch, first + 1)
            return
        half = batch.num_rows // 2
        for begin, end in ((0, half), (half, batch.num_rows)):
            # Not by a slice: what is nested in one is converted as a whole, also behind its end.
            part = batch.take(pa.array(range(begin, end)))
            yield from self._converted(part, first + begin)

    def _values(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        if not self._is_plain:
            batch = batch.cast(self._plain, safe=not self._cut_times)
        # Column by column: Arrow's own rows take 10 µs each instead of 2.
        names, columns = batch.schema.names, [_listed(column) for column in batch.columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _one(self, row: pa.RecordBatch, number: int) -> Row:
        """A row by itself, or why there is none."""
        size = row.nbytes
        try:
            if size > self._limit:
                raise TooLong(f"the row has more than {self._limit} bytes")
            return Row(self._values(row)[0], number, number - 1, size=size)
        except TooLong as error:
            said: DataError = error
        except Exception as error:  # noqa: BLE001 - of values that Python has not, of any kind
            said = DataError(f"a value of the row cannot be read: {error}")
        raw = _shown(row)[: self._limit]
        return Row({}, number, number - 1, said, raw, size, {"json": False})


def _listed(column: pa.Array) -> list[Any]:
    """The values of a column. Raises whatever Arrow does, and OverflowError."""
    if pa.types.is_timestamp(column.type):  # by Arrow a moment takes 8 µs
        begin = _EPOCH if column.type.tz is None else _EPOCH.replace(tzinfo=UTC)
        counts = column.cast(pa.int64()).to_pylist()
        return [None if n is None else begin + timedelta(0, 0, n) for n in counts]
    if "map<" in str(column.type):
        found: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    else:
        found = column.to_pylist()  # 20 times as fast
    return found


def _plain(type: pa.DataType) -> pa.DataType:
    """The type that a type is read as: moments in UTC, times of microseconds, no dictionaries."""
    if pa.types.is_timestamp(type):
        return pa.timestamp("us", None if type.tz is None else "UTC")
    if pa.types.is_time64(type):
        return pa.time64("us")
    if pa.types.is_duration(type) and type.unit == "ns":
        return pa.duration("us")
    if pa.types.is_dictionary(type):
        return _plain(type.value_type)
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_plain(field.type)) for field in type])
    if pa.types.is_map(type):
        return pa.map_(type.key_type, type.item_field.with_type(_plain(type.item_type)))
    if pa.types.is_list(type):
        return pa.list_(type.value_field.with_type(_plain(type.value_type)))
    if pa.types.is_large_list(type):
        return pa.large_list(type.value_field.with_type(_plain(type.value_type)))
    if pa.types.is_fixed_size_list(type):
        return pa.list_(type.value_field.with_type(_plain(type.value_type)), type.list_size)
    return type


def _shown(row: pa.RecordBatch) -> bytes:
    """A row for people: its fields as JSON, with Arrow's own text of what Python has not."""
    shown = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            shown[name] = column[0].as_py()
            to_json(shown[name])
        except Exception:  # noqa: BLE001 - as above
            shown[name] = str(column[0])
    try:
        return to_json(shown)
    except SerializationError:
        return repr(shown).encode(errors="backslashreplace")


def _lost(group: _Group, row: int, lines: Lines, error: Exception) -> Row:
    """What stands for the rest of a row group, from behind so many rows on."""
    said = f"the rest of the row group, {group.end - row} rows, cannot be read: {error}"
    lines.mark(group.end)
    raw = lines.take(group.start, min(lines.limit, max(0, lines.end - group.start)))
    return Row({}, row + 1, row, DataError(said), raw)
