"""What a file's lines mean: CSV, JSON lines, fixed widths, as values for FileSource."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol

import orjson

from trunkline.connectors.files.lines import Lines, TooLong
from trunkline.errors import ConfigurationError, DataError

_OTHER_ENCODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MANY_DIGITS, _EXPONENT = b"0" * 16, re.compile(rb"[0-9][eE][+-]?[0-9]{3}")
"""Digits, as ``_SHAPE`` has them, or an exponent that orjson may make another number of than Python
does."""
_SHAPE = bytes.maketrans(b"123456789E", b"000000000e")
_PLAIN = "\r\n\t,;|\"'{}[]:0aZ"
"""Characters that an encoding must have at their ASCII bytes, for lines to be found in bytes."""


class Row(NamedTuple):
    """A row, or why there is none. ``line``: the number of its first line; ``start``: its offset,
    or what else no other row of the content has. ``raw``: the bytes of a row that is bad.
    ``size``: its bytes, if they are not those from ``start`` on. ``notes``: what ``alone`` needs to
    read these bytes without the file around them."""

    data: dict[str, Any]
    line: int
    start: int
    error: DataError | None = None
    raw: bytes = b""
    size: int = 0
    notes: Mapping[str, Any] = MappingProxyType({})


class FileError(DataError):
    """Nothing in the file can be read. ``raw``: the beginning of it, or what is wrong in it."""

    def __init__(self, message: str, raw: bytes = b"") -> None:
        super().__init__(message)
        self.raw = raw


class FileFormat(Protocol):
    """How a file is read: ``Csv``, ``JsonLines``, ``FixedWidth``, ``Xml``, ``Avro``,
    ``Parquet``, or one of yours."""

    by_lines: ClassVar[bool]
    """Whether rows are lines, so that a file can grow by whole rows."""

    def rows(self, lines: Lines, needed: Sequence[str]) -> Iterator[Row]:
        """The rows from where ``lines`` stands, good and bad ones; behind each, ``lines`` stands
        where the next one begins. ``needed``: fields that each row must have.

        Raises FileError where no row can be read.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Csv:
    """Comma-separated values (RFC 4180); quoted fields may hold line breaks.

    ``header``: whether the first row has the fields' names; else the names. ``delimiter``: one
    character. ``quote``: one character, written twice inside of quotes; "" for files in which
    nothing is quoted. ``encoding``: one in which a line feed is the byte 0A, as UTF-8, Latin-1,
    cp1252, Shift-JIS. ``skip``: lines in front of everything, as a title. A byte order mark of
    UTF-8 is no part of the first field. Rows are as long as the header, or bad. All values are
    text.

    Raises ConfigurationError for what cannot be.
    """

    by_lines: ClassVar[bool] = True
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool | Sequence[str] = True
    skip: int = 0

    def __post_init__(self) -> None:
        _check_encoding(self.encoding)
        if len(self.delimiter) != 1 or self.delimiter in "\r\n" or self.delimiter == self.quote:
            raise ConfigurationError(f"Csv: delimiter={self.delimiter!r} is not one character")
        if len(self.quote) > 1 or self.quote in ("\r", "\n"):
            raise ConfigurationError(f'Csv: quote={self.quote!r} is neither one character nor ""')
        if self.skip < 0:
            raise ConfigurationError("Csv: skip= is a number of lines")
        if not self.header or isinstance(self.header, str):
            raise ConfigurationError('Csv: without a header give the names: header=("id", "total")')
        if not isinstance(self.header, bool) and (twice := _twice(self.header)):
            raise ConfigurationError(f"Csv: header= names {twice} twice")

    def rows(self, lines: Lines, needed: Sequence[str]) -> Iterator[Row]:
        """See FileFormat."""
        # The module's own limit is 128 kB a field, for the process: rows are bounded by ours.
        csv.field_size_limit(max(csv.field_size_limit(), lines.limit))
        offset, number = lines.offset, lines.number
        lines.seek(0, 0)
        names = self._names(lines)
        if not names:  # an empty file
            return
        if missing := [name for name in needed if name not in names]:
            raise FileError(f"the header lacks {', '.join(missing)}", lines.raw(0))
        if offset > lines.offset:
            lines.seek(offset, number)
        notes = {"fields": names}
        for row in _CsvRows(lines, self):
            if row.error is not None:
                yield Row({}, row.line, row.start, row.error, row.raw, notes=notes)
            elif len(row.fields) == len(names):
                data = dict(zip(names, row.fields, strict=True))
                yield Row(data, row.line, row.start, None, b"", 0, notes)
            elif row.fields:  # else a blank line
                said = f"the row has {len(row.fields)} fields, the header {len(names)}"
                raw = lines.raw(row.start)
                yield Row({}, row.line, row.start, DataError(said), raw, notes=notes)

    def alone(self, notes: Mapping[str, Any]) -> Csv:
        """See StandaloneFormat."""
        if not isinstance(self.header, bool):
            return replace(self, skip=0)
        if not notes.get("fields"):
            raise DataError("the letter does not tell the fields' names: give Csv a header=")
        return replace(self, skip=0, header=notes["fields"])

    def _names(self, lines: Lines) -> list[str]:
        """The fields' names; ``lines`` stands behind the header then."""
        first = _first(lines, self.skip)
        if first is None or not isinstance(self.header, bool):
            lines.seek(*first or (lines.offset, lines.number))
            return list(self.header) if not isinstance(self.header, bool) else []
        lines.seek(*first)
        for row in _CsvRows(lines, self):
            if row.error is not None:
                raise FileError(f"the header cannot be read: {row.error}", row.raw)
            if row.fields:
                if twice := _twice(row.fields):
                    raise FileError(f"the header names {twice} twice", lines.raw(row.start))
                return row.fields
        return []


class _CsvRow(NamedTuple):
    """A row as the module ``csv`` gives it, or the line that is wrong; ``fields`` [] if blank."""

    fields: list[str]
    line: int
    start: int
    error: DataError | None = None
    raw: bytes = b""


class _CsvRows:
    """The rows behind where ``lines`` stands, one after the other.

    Where a row cannot be parsed, its first line is bad, and the next row begins at the second: a
    quote that is never closed costs one line, and not the rest of the file.
    """

    def __init__(self, lines: Lines, form: Csv) -> None:
        self._lines = lines
        self._encoding = form.encoding
        self._start = 0
        quoting: dict[str, Any] = {"quotechar": form.quote} if form.quote else {"quoting": 3}
        self._reader = csv.reader(
            _Texts(self), delimiter=form.delimiter, strict=True, doublequote=True, **quoting
        )

    def __iter__(self) -> Iterator[_CsvRow]:
        lines, reader = self._lines, self._reader
        while True:
            self._start, before = lines.offset, lines.number
            try:
                yield _CsvRow(next(reader), before + 1, self._start)
            except StopIteration:
                return
            except (csv.Error, ValueError, DataError) as error:
                start = self._start
                lines.seek(start, before)
                line = lines.next()
                raw = line.raw if line is not None else b""
                yield _CsvRow([], before + 1, start, _said(error), raw)

    def text(self) -> str:
        """The next line for the parser. Raises StopIteration at the end, TooLong, and ValueError
        for bytes that are not of the encoding."""
        line = self._lines.next()
        if line is None:
            raise StopIteration
        if not line.whole or self._lines.offset - self._start > self._lines.limit + 1:
            raise TooLong(f"the row has more than {self._lines.limit} bytes")
        return line.raw.decode(self._encoding)


class _Texts:
    """The iterator that ``csv.reader`` draws lines from; after an error it goes on, as a generator
    would not."""

    def __init__(self, rows: _CsvRows) -> None:
        self._rows = rows

    def __iter__(self) -> _Texts:
        return self

    def __next__(self) -> str:
        return self._rows.text()


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """A JSON object a line (NDJSON). Blank lines are none.

    ``encoding``: as with ``Csv``. ``decimals``: numbers with a fraction become ``Decimal``, with
    all their digits, instead of ``float``. Whole numbers are exact in any case; NaN and infinite
    ones are no JSON, and their lines bad.

    Raises ConfigurationError for an encoding that cannot be.
    """

    by_lines: ClassVar[bool] = True
    encoding: str = "utf-8"
    decimals: bool = False

    def __post_init__(self) -> None:
        _check_encoding(self.encoding)

    def alone(self, notes: Mapping[str, Any]) -> JsonLines:
        """See StandaloneFormat."""
        return self

    def rows(self, lines: Lines, needed: Sequence[str]) -> Iterator[Row]:
        """See FileFormat."""
        _to_rows(lines, 0)
        decoder = json.JSONDecoder(
            parse_float=Decimal if self.decimals else None, parse_constant=_no_number
        )
        quick = not self.decimals and codecs.lookup(self.encoding).name == "utf-8"
        start = lines.offset
        while (line := lines.next()) is not None:
            try:
                if not line.whole:
                    raise TooLong(f"the line has more than {lines.limit} bytes")
                if quick and (value := _quickly(line.raw)) is not None:
                    yield Row(_object(value, needed), line.number, start)
                elif text := line.raw.decode(self.encoding).strip():
                    yield Row(_object(decoder.decode(text), needed), line.number, start)
            except (ValueError, RecursionError, DataError) as error:
                yield Row({}, line.number, start, _said(error), line.raw)
            start = lines.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedWidth:
    """A line is a row, whose fields have widths, as of mainframes and banks.

    ``fields``: name and width, in characters, of each in its order; "" as the name: left out.
    ``encoding``, ``skip``: as with ``Csv``. ``trimmed``: lines may lack the blanks at their end;
    else a line of another length is bad, as longer ones are in any case. Blanks around a value are
    none of it. Blank lines are left out. All values are text.

    Raises ConfigurationError for what cannot be.
    """

    by_lines: ClassVar[bool] = True
    fields: Sequence[tuple[str, int]]
    encoding: str = "utf-8"
    skip: int = 0
    trimmed: bool = False

    def __post_init__(self) -> None:
        _check_encoding(self.encoding)
        names = [name for name, _ in self.fields if name]
        if not names or any(width < 1 for _, width in self.fields):
            raise ConfigurationError('FixedWidth: fields= are names and widths: (("id", 8), …)')
        if twice := _twice(names):
            raise ConfigurationError(f"FixedWidth: fields= names {twice} twice")
        if self.skip < 0:
            raise ConfigurationError("FixedWidth: skip= is a number of lines")

    def alone(self, notes: Mapping[str, Any]) -> FixedWidth:
        """See StandaloneFormat."""
        return replace(self, skip=0)

    def rows(self, lines: Lines, needed: Sequence[str]) -> Iterator[Row]:
        """See FileFormat."""
        if missing := [name for name in needed if name not in dict(self.fields)]:
            raise FileError(f"fields= lacks {', '.join(missing)}")
        _to_rows(lines, self.skip)
        slices, width = [], 0
        for name, part in self.fields:
            slices.append((name, slice(width, width + part)))
            width += part
        start = lines.offset
        while (line := lines.next()) is not None:
            try:
                if not line.whole:
                    raise TooLong(f"the line has more than {lines.limit} bytes")
                text = line.raw.decode(self.encoding).rstrip("\r\n")
                if text.strip():
                    if len(text) > width or (len(text) < width and not self.trimmed):
                        raise DataError(f"the line has {len(text)} characters instead of {width}")
                    data = {name: text[part].strip() for name, part in slices if name}
                    yield Row(data, line.number, start)
            except (ValueError, DataError) as error:
                yield Row({}, line.number, start, _said(error), line.raw)
            start = lines.offset


def _quickly(raw: bytes) -> Any:
    """A line by orjson, which takes a quarter of the time; None where Python's own parser must say
    what it is: with numbers of more digits than orjson's have, and whatever orjson refuses."""
    # Searched in its shape: one expression for both took half of the time that a line takes.
    shape = raw.translate(_SHAPE)
    if _MANY_DIGITS in shape or (b"0e" in shape and _EXPONENT.search(raw)):
        return None
    try:
        return orjson.loads(raw)
    except ValueError:
        return None


def _object(value: Any, needed: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"the line holds no object, but a {type(value).__name__}")
    if missing := [name for name in needed if name not in value]:
        raise DataError(f"the object lacks {', '.join(missing)}")
    return value


def _no_number(name: str) -> NoReturn:
    raise DataError(f"{name} is no JSON number")


def _first(lines: Lines, skip: int) -> tuple[int, int] | None:
    """Where the first line of the content is, behind a byte order mark and ``skip`` lines; None
    if the file ends before. Raises FileError for an encoding that was not meant."""
    lines.seek(0, 0)
    line = lines.next()
    if line is None:
        return None
    if line.raw.startswith(_OTHER_ENCODINGS):
        said = "the file is UTF-16 or UTF-32, which FileSource does not read: convert it to UTF-8"
        raise FileError(said, line.raw)
    mark = len(codecs.BOM_UTF8) if line.raw.startswith(codecs.BOM_UTF8) else 0
    for _ in range(skip):
        if line is None:
            return None
        mark, line = lines.offset, lines.next()
    return mark, skip


def _to_rows(lines: Lines, skip: int) -> None:
    """Go behind what is no row, if ``lines`` stands before: a file may have been read when it had
    only some of the ``skip`` lines."""
    offset, number = lines.offset, lines.number
    first = _first(lines, skip) or (lines.offset, lines.number)
    lines.seek(*max(first, (offset, number)))


def _said(error: Exception) -> DataError:
    """What is wrong with a row, without its values, which a log must not show."""
    if isinstance(error, DataError):
        return error
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return DataError(f"the line is not {error.encoding}: byte 0x{byte:02x} ({error.reason})")
    if isinstance(error, json.JSONDecodeError):
        return DataError(f"the line is no JSON: {error.msg} (character {error.pos + 1})")
    if isinstance(error, RecursionError):
        return DataError("the line is JSON that is nested too deeply")
    return DataError(f"the row cannot be parsed: {error}")


def _check_encoding(encoding: str) -> None:
    try:
        plain = _PLAIN.encode(encoding) == _PLAIN.encode()
    except (LookupError, ValueError):
        plain = False
    if not plain or codecs.lookup(encoding).name in ("utf-8-sig", "utf-7", "hz"):
        raise ConfigurationError(
            f"encoding={encoding!r} is unknown, or not one that has a line feed as the byte 0A: "
            "convert such files to utf-8 (a byte order mark needs no encoding of its own)"
        )


def _twice(names: Sequence[str]) -> str:
    return ", ".join(sorted({repr(name) for name in names if names.count(name) > 1}))
