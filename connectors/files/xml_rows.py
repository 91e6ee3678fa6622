"""XML files as rows: each element at a path is one, read as a stream by expat.

No part of a file can make the parser read something else, or grow beyond bounds: declarations of
entities are refused (CVE-2003-1564, "billion laughs"), and so are long values that attributes have
unless they are written, and a tag that does not end.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from xml.parsers import expat

from trunkline.connectors.files.again import as_letter
from trunkline.connectors.files.formats import FileError, Row
from trunkline.connectors.files.lines import Lines, TooLong
from trunkline.errors import ConfigurationError, DataError

_CHUNK = 1 << 16
_DEEPEST = 200
"""Levels of elements in each other, in a file."""
_MOST_DEFAULTS = 1_000
"""Characters of the values that a file declares for attributes: each element has them then."""
_ATTRIBUTE, _TEXT = "@", "#text"
_TAG = re.compile(rb"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_LOOKED = 4
"""Bytes of a file that show whether it is UTF-16."""
_TAIL = 1 << 16
"""Bytes behind the begin of a row's last tag in which its end is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Xml:
    """XML, of which each element at a path is a row.

    ``record``: the path from the root: ``/orders/order``; names without their namespaces' prefixes.
    ``lists``: names of elements whose value is a list also where there is one, or none. A row has
    its children by name: the text of those that are nothing but text, blanks around it left out; an
    object of those with children; a list where a name comes several times. Attributes are
    ``@name``, the text beside them or beside children ``#text``. All values are text. ``encoding``:
    where files do not say it, or wrongly; expat's are UTF-8, UTF-16, and those of one byte.

    Raises ConfigurationError for what cannot be.
    """

    by_lines: ClassVar[bool] = False
    record: str
    lists: Sequence[str] = ()
    encoding: str = ""

    def __post_init__(self) -> None:
        if not self.record.startswith("/") or not all(self.record[1:].split("/")):
            raise ConfigurationError(f"Xml: record={self.record!r} is no path as /orders/order")
        try:
            name = self.encoding or "utf-8"
            expat.ParserCreate(name).Parse("<a/>".encode(name), True)
        except (ValueError, TypeError, LookupError, expat.ExpatError) as error:
            raise ConfigurationError(f"Xml: encoding={self.encoding!r}: {error}") from error
        if isinstance(self.lists, str):
            raise ConfigurationError('Xml: lists= are names: ("line",)')

    def alone(self, notes: Mapping[str, Any]) -> Xml:
        """See StandaloneFormat."""
        name = self.record.rpartition("/")[2]
        return replace(self, record=f"/{name}", encoding=notes.get("encoding") or self.encoding)

    def rows(self, lines: Lines, needed: Sequence[str]) -> Iterator[Row]:
        """See FileFormat. A restart parses what is before again, and gives none of it."""
        done, at = lines.number, 0
        reader = _Reader(self, lines)
        while at < lines.end:
            piece = lines.take(at, min(_CHUNK, lines.end - at))
            at += len(piece)
            ended = reader.feed(piece, at == lines.end)
            while reader.found:
                row, start, tag = reader.found.popleft()
                if row.line <= done:
                    continue
                read = row.data
                if missing := [name for name in needed if name not in row.data and not row.error]:
                    said = DataError(f"the element lacks {', '.join(missing)}")
                    row = row._replace(error=said, data={})
                if row.error is not None:
                    raw, notes = self._letter(lines, reader, read, start, tag)
                    row = row._replace(raw=raw, notes=notes)
                lines.mark(row.line)
                yield row
            if ended is not None:
                number = reader.number + 1
                if number > done:
                    lines.mark(number)
                    yield Row({}, number, number - 1, ended, lines.take(0, min(at, 100)))
                return

    def _letter(
        self, lines: Lines, reader: _Reader, read: dict[str, Any], start: int, tag: int
    ) -> tuple[bytes, Mapping[str, Any]]:
        """The bytes of an element that is a bad row, and their notes. Of two bytes a character they
        are no XML without the file's beginning, and so its fields as JSON."""
        if read and b"\0" in lines.take(0, min(_LOOKED, lines.end)):
            return as_letter(read, lines.limit)
        return _element(lines, start, tag), reader.notes


def _element(lines: Lines, start: int, tag: int) -> bytes:
    """The bytes of an element whose last tag begins at ``tag``; or ends there, where it is all of
    the element: ``<order id="1"/>``."""
    size = min(tag - start + _TAIL, lines.limit, lines.end - start)
    raw = lines.take(start, size)
    alone = raw[: tag - start]
    if alone.endswith(b"/>") and _TAG.fullmatch(alone):
        return alone
    end = _TAG.match(raw, tag - start)
    return raw if end is None else raw[: end.end()]


@dataclass(slots=True)
class _Element:
    """An element of a row that is open."""

    name: str
    values: dict[str, Any]
    text: list[str] = field(default_factory=list)

    def add(self, name: str, value: Any, lists: Sequence[str]) -> None:
        if name not in self.values:
            self.values[name] = [value] if name in lists else value
        elif isinstance(self.values[name], list):
            self.values[name].append(value)
        else:
            self.values[name] = [self.values[name], value]

    def value(self) -> Any:
        text = "".join(self.text).strip()
        if not self.values:
            return text
        return {**self.values, _TEXT: text} if text else self.values


class _Reader:
    """Expat's events as rows. ``found``: those that are whole, each with its offset in the file,
    and where expat stood at its end. ``number``: of the last one. ``notes``: what reading one alone
    takes."""

    def __init__(self, form: Xml, lines: Lines) -> None:
        self._path = form.record[1:].split("/")
        self._lists = form.lists
        self._lines = lines
        self._fed = 0
        self._above: list[str] = []  # the elements that are open, outside of rows
        self._open: list[_Element] = []  # those of a row
        self._size = self._start = self._defaults = 0
        self.found: deque[tuple[Row, int, int]] = deque()
        self.number = 0
        self.notes = {"encoding": form.encoding}
        parser = self._parser = expat.ParserCreate(form.encoding or None)
        parser.XmlDeclHandler = self._declared
        parser.buffer_text = True
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = _refuse_entity
        parser.AttlistDeclHandler = self._attribute_declared
        parser.ExternalEntityRefHandler = _refuse_entity

    def feed(self, piece: bytes, last: bool) -> DataError | None:
        """Parse so much more; returns why nothing behind it can be read."""
        self._fed += len(piece)
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            return DataError(
                f"the rest of the file is no XML: {expat.ErrorString(error.code)} in line "
                f"{error.lineno}"
            )
        except FileError as error:
            if not self.number:  # nothing of the file was read: it is about the file
                raise
            return error
        except (LookupError, ValueError) as error:  # of what the file says of itself
            raise FileError(f"the file's encoding is not read: {error}", piece[:100]) from error
        if self._fed - self._parser.CurrentByteIndex > self._lines.limit + _CHUNK:
            return TooLong(f"a tag has more than {self._lines.limit} bytes: the rest is not read")
        return None

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if len(self._above) + len(self._open) >= _DEEPEST:
            raise FileError(f"elements are in each other to more than {_DEEPEST} levels")
        if not self._open and [*self._above, name] != self._path:
            self._above.append(name)
            return
        if not self._open:
            self._size, self._start = 0, self._parser.CurrentByteIndex
        given = _named(attributes) if attributes else {}
        self._size += len(tag) + sum(map(len, given)) + sum(map(len, given.values()))
        self._open.append(_Element(name, given if self._size <= self._lines.limit else {}))

    def _characters(self, text: str) -> None:
        if self._open:
            self._size += len(text)
            if self._size <= self._lines.limit:  # else the row is bad, and kept by nobody
                self._open[-1].text.append(text)

    def _end(self, tag: str) -> None:
        if not self._open:
            self._above.pop()
            return
        element = self._open.pop()
        if self._open:
            if self._size <= self._lines.limit:
                self._open[-1].add(element.name, element.value(), self._lists)
            return
        self.number += 1
        last = self._parser.CurrentByteIndex
        size = last - self._start + len(f"</{tag}>".encode())
        row = Row({}, self.number, self.number - 1, size=size)
        if self._size > self._lines.limit:
            error = TooLong(f"the element has more than {self._lines.limit} characters")
            self.found.append((row._replace(error=error), self._start, last))
            return
        value = element.value()
        data = value if isinstance(value, dict) else {_TEXT: value} if value else {}
        for name in self._lists:
            data.setdefault(name, [])
        self.found.append((row._replace(data=data), self._start, last))

    def _attribute_declared(
        self, element: str, name: str, type: str, default: str | None, required: bool
    ) -> None:
        del element, name, type, required
        self._defaults += len(default or "")
        if self._defaults > _MOST_DEFAULTS:
            raise FileError("the file declares long values of attributes, which are not read")

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        del version, standalone
        self.notes["encoding"] = self.notes["encoding"] or encoding or ""


def _named(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as a row has them: without the prefixes of their namespaces, but where that would
    be one name for two of them: ``a:id`` beside ``b:id`` or ``id``."""
    own = {
        key: key.rpartition(":")[2]
        for key in attributes
        if key != "xmlns" and not key.startswith("xmlns:")
    }
    counts = Counter(own.values())
    return {
        f"{_ATTRIBUTE}{name if counts[name] == 1 else key}": attributes[key]
        for key, name in own.items()
    }


def _refuse_entity(*declared: object) -> int:
    raise FileError("the file declares entities, which are not read: they could be of any size")
