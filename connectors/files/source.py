"""FileSource: the rows of the files in a folder, each content of a file once."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from trunkline.connectors.base import Batch, Finding, Position, Source
from trunkline.connectors.files.again import NO_ROW, as_letter, row_again
from trunkline.connectors.files.folder import Found, State, Wanted
from trunkline.connectors.files.formats import Csv, FileError, FileFormat, Row
from trunkline.connectors.files.lines import Lines, Stopped, TooLong, Truncated
from trunkline.connectors.files.memory import UNOPENED, Content, Memory
from trunkline.connectors.files.places import S3, Sftp
from trunkline.connectors.files.reading import EPOCH, OpenContent, fingerprints
from trunkline.connectors.files.stores import place_of
from trunkline.connectors.json_values import text_of
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Record, Unreadable, join_key
from trunkline.times import parse_duration

log = logging.getLogger(__name__)

Key = str | Sequence[str] | Callable[[dict[str, Any]], str] | None

_BATCH_BYTES = 4_000_000
"""Bytes of rows from which on a batch is given out, however few rows they are."""
_LEAST_ROW, _LARGEST_ROW = 1_000, 8_000_000


class FileSource(Source):
    """Reads the files that arrive in a folder: CSV, JSON lines, fixed widths, XML, Avro, Parquet,
    or yours.

    ``folder``: where they arrive, here or elsewhere (``Sftp``, ``S3``); it must exist. ``pattern``:
    of their names. ``format``: what they are. ``key``: the field, or fields, that have the entity's
    key, or a function of the row; by default the topic's ``key=`` says it. ``settle``: for how long
    a file must be the same before it is read; None: only a marker tells that it is complete.
    ``marker``: the ending of markers: ``a.csv.done`` says that ``a.csv`` is complete; "" for none.
    ``after``: what becomes of a file once Kafka has all of it: "keep", "delete", or the folder,
    below ``folder`` unless absolute, that it is moved to. ``recursive``: also the folders below.
    ``interval``: from one look to the next. ``name_field``: a field of ``data`` for the file's
    name. ``stream``: the records' stream. ``max_row``: bytes of a row at the most; a longer one is
    bad. ``remember``: contents that are remembered at the most. ``batch``: records of a batch.

    Records: ``change`` is "create", ``data`` the row, ``time`` when the file was modified,
    ``place`` file and line.

    Guarantees: a content is read once under its path, whenever it arrives and whatever its times
    are, as long as it is remembered; of a file that grew, the rest. Rows of one file in their
    order, files by time of modification and name. A row that is read again has the same id. What
    cannot be read becomes a dead letter, and the rest is read.

    Raises ConfigurationError for what cannot be; ``read`` raises SourceError for a folder that
    cannot be listed, a file that cannot be read on, moved or deleted.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | Sftp | S3,
        pattern: str = "*.csv",
        *,
        format: FileFormat | None = None,
        key: Key = None,
        settle: str | None = "10s",
        marker: str = ".done",
        after: str = "keep",
        recursive: bool = False,
        interval: str = "5s",
        name_field: str = "",
        stream: str = "files",
        max_row: int = 1_000_000,
        remember: int = 200_000,
        batch: int = 2000,
    ) -> None:
        if settle is None and not marker:
            raise ConfigurationError("FileSource: without settle= a marker= must tell when to read")
        if "/" in pattern or not pattern:
            raise ConfigurationError(
                f"FileSource: pattern={pattern!r} is not one of names; recursive=True also reads "
                "the folders below"
            )
        if not _LEAST_ROW <= max_row <= _LARGEST_ROW:
            raise ConfigurationError(f"FileSource: max_row= is {_LEAST_ROW} to {_LARGEST_ROW}")
        if remember < 1 or batch < 1 or not after:
            raise ConfigurationError("FileSource: remember=, batch= are 1 or more, after= is named")
        seconds = None if settle is None else parse_duration(settle)
        self._place = place_of(folder, Wanted(pattern, recursive, seconds, marker, after))
        self._format = Csv() if format is None else format
        self._needed = [] if key is None or callable(key) else _names(key)
        self._key = key if callable(key) else self._key_of_fields
        self._interval = parse_duration(interval)
        self._name_field = name_field
        self._stream = stream
        self._max_row = max_row
        self._remember = remember
        self._batch = batch
        self._records: list[Record] = []
        self._bytes = 0
        self._number = self._acknowledged = 0  # of contents that are finished
        self._numbers: dict[bytes, int] = {}  # by the path's id, for those to put away

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"n": contents read, "parts": which they are}``, and
        inside a file ``"file"``: its path's id, its digest, and the offset behind the last row."""
        position = {"n": 0, "parts": {}} if position is None else position
        if "n" not in position:
            raise ConfigurationError("the stored position is another source's: reset it")
        self._memory = Memory(position.get("parts", {}), self._remember)
        self._number = self._acknowledged = position["n"]
        self._records, self._bytes, self._numbers = [], 0, {}
        try:
            files = self._place.look(stop)
            if "file" in position:
                yield from self._resume(position["file"], files, stop)
            while not stop.is_set():
                yield from self._read_new(files, stop)
                stop.wait(self._interval)
                files = self._place.look(stop)
        except Stopped:
            return

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the one of ``stream=``."""
        return (self._stream,)

    def check(self) -> list[Finding]:
        """See ``Source.check``: looks once at what is there."""
        self._place.look(threading.Event())
        return []

    def read_again(self, record: Record) -> Record:
        """See ``Source.read_again``: a row's bytes, in today's format and by today's ``key=``."""
        assert record.unreadable is not None
        data = row_again(self._format, record.unreadable, self._needed, self._max_row)
        key = self._key(data)
        if self._name_field:
            data[self._name_field] = record.place.rpartition(":")[0]
        return replace(record, key=key, data=data, unreadable=None)

    def close(self) -> None:
        """See ``Source.close``."""
        self._place.close()

    def acknowledge(self, position: Position) -> None:
        """See ``Source.acknowledge``: files that are finished can be put away at the next look."""
        self._acknowledged = position["n"]

    def _read_new(self, files: list[Found], stop: threading.Event) -> Iterator[Batch]:
        """Read what is new in a look at the folder, give all of it out, and put away what Kafka
        has: last, so that a file which cannot be deleted holds up no other."""
        self._there = {file.id for file in files}
        away: list[tuple[Found, bytes]] = []
        for file in files:
            if stop.is_set():
                raise Stopped
            newest = self._memory.newest(file.id)
            if newest is None or newest.state != file.state.digest or newest.digest == UNOPENED:
                if self._place.settled(file):
                    yield from self._read_file(file, stop)
            elif not self._place.keeps and self._numbers.get(file.id, 0) <= self._acknowledged:
                away.append((file, newest.digest))
        parts = self._memory.parts
        if self._records or self._memory.save() is not parts:
            yield self._given()
        if self._number > self._acknowledged and not self._place.keeps:
            yield self._given()  # behind a large batch: the engine acknowledges that one then
        for file, digest in away:
            self._place.put_away(file, digest, stop)
            self._numbers.pop(file.id, None)

    def _read_file(self, found: Found, stop: threading.Event) -> Iterator[Batch]:
        """Read a file that has a state which is new, if its content is."""
        try:
            file, state = self._place.open(found, stop)
        except (FileNotFoundError, Truncated):
            return
        except PermissionError as error:
            self._refuse(found, error)
            return
        except OSError as error:
            raise SourceError(f"{found.path} cannot be opened: {error}") from error
        with file:
            try:
                content, offset, line = self._content(found, file, state, stop)
                if content is not None:
                    yield from self._rows(content, offset, line, stop)
            except Truncated:
                return  # while it was looked at: it is seen again, in another state
            except OSError as error:
                raise SourceError(f"{found.path} cannot be read: {error}") from error

    def _content(
        self, found: Found, file: BinaryIO, there: State, stop: threading.Event
    ) -> tuple[OpenContent | None, int, int]:
        """The content to read, from which offset and line; None if there is nothing new, or the
        file has changed again. Of a content that grew that is what was appended."""
        size, known = found.state.size, self._memory.of(found.id)
        begun = [old for old in known if old.clean and old.size < size]
        prints = fingerprints(file, [size, *(old.size for old in begun)], stop)
        if there != found.state:
            return None, 0, 0
        digest, state = prints[size].digest, found.state.digest
        for old in known:
            if old.digest == digest[:12] and old.size == size:  # touched, or put there again
                self._memory.add(old._replace(state=state), self._there)
                return None, 0, 0
        grown = [old for old in begun if prints[old.size].digest[:12] == old.digest]
        origin, last = digest[:8], max(grown, key=lambda old: old.size, default=None)
        if last is not None and last is self._memory.newest(found.id):
            # Only then: of two contents that grew from one, rows at the same offset are others.
            origin = last.origin
        content = OpenContent(file, found, digest, size=size, state=state, origin=origin)
        return content, last.size if last else 0, prints[last.size].lines if last else 0

    def _resume(self, at: Position, files: list[Found], stop: threading.Event) -> Iterator[Batch]:
        """Read on in the file that a position stands in, or say that its rest is lost."""
        self._there = {file.id for file in files}
        found = next((file for file in files if file.id.hex() == at["id"]), None)
        if found is not None:
            try:
                file, there = self._place.open(found, stop)
                with file:
                    state, digest = bytes.fromhex(at["state"]), bytes.fromhex(at["sha256"])
                    same = there.digest == state
                    if not same:
                        print_ = fingerprints(file, [at["size"]], stop)[at["size"]]
                        same = print_.digest == digest
                    if same:
                        origin = bytes.fromhex(at["origin"])
                        content = OpenContent(
                            file, found, digest, size=at["size"], state=state, origin=origin
                        )
                        content.given = True
                        yield from self._rows(content, at["offset"], at["line"], stop)
                        return
            except (FileNotFoundError, Truncated):
                pass
            except OSError as error:
                raise SourceError(f"{found.path} cannot be read on: {error}") from error
        self._lost(
            bytes.fromhex(at["id"]), at["name"], at["line"], f"{at['sha256']}-{at['offset']}"
        )

    def _rows(
        self, content: OpenContent, offset: int, line: int, stop: threading.Event
    ) -> Iterator[Batch]:
        """Read the rows of a content from an offset on; remember it behind the last one.

        Gives out batches that are full. Rows are given out only when the file has been looked at
        after they were read: so nothing is of another content than the digest says.
        """
        lines = Lines(content.file, content.size, self._max_row, stop)
        lines.seek(offset, line)
        safe, clean, intact = len(self._records), True, True
        try:
            for row in self._format.rows(lines, self._needed):
                record = self._record(row, content, lines)
                self._records.append(record)
                clean = record.unreadable is None
                self._bytes += max(row.size or lines.offset - row.start, len(row.raw))
                if len(self._records) >= self._batch or self._bytes >= _BATCH_BYTES:
                    if not (intact := content.unchanged(stop)):
                        break
                    content.given, safe = True, 0
                    line = lines.number
                    yield self._given(content.position(lines.offset, lines.number))
                    if stop.is_set():
                        raise Stopped
        except Truncated:
            intact = False
        except FileError as error:
            self._bad_file(content.found, error, error.raw, content.id)
            clean = False
        if intact and content.unchanged(stop):
            grows = self._format.by_lines and content.ends_a_line
            self._finish(content, clean=clean and grows)
            return
        del self._records[safe:]
        if content.given:
            found = content.found
            self._lost(found.id, found.name, line, f"{content.id}-{lines.offset}")

    def _finish(self, content: OpenContent, *, clean: bool) -> None:
        found = content.found
        self._memory.add(
            Content(
                found.id, content.digest[:12], content.state, content.origin, content.size, clean
            ),
            self._there,
        )
        self._number += 1
        if not self._place.keeps:
            self._numbers[found.id] = self._number
        log.info("%s is read: %d bytes", found.path, content.size)

    def _given(self, file: Position | None = None) -> Batch:
        """What has been gathered, as a batch."""
        position: Position = {"n": self._number, "parts": self._memory.save()}
        if file is not None:
            position["file"] = file
        records, self._records, self._bytes = self._records, [], 0
        return Batch(records, position, current=file is None)

    def _record(self, row: Row, content: OpenContent, lines: Lines) -> Record:
        name, data, error, raw, key = content.found.name, row.data, row.error, row.raw, ""
        notes = row.notes
        if error is None:
            try:
                key = self._key(data)
            except Exception as raised:  # noqa: BLE001 - a flow's own function, of any kind
                said = raised if isinstance(raised, DataError) else DataError(f"key=: {raised!r}")
                error = said
                if self._format.by_lines:
                    raw = lines.raw(row.start)
                else:
                    raw, notes = as_letter(data, _BATCH_BYTES)
            if self._name_field:
                data[self._name_field] = name
        return Record(
            key=key,
            data=data if error is None else {},
            stream=self._stream,
            id=f"{content.id}-{row.start}",
            time=content.time,
            place=f"{name}:{row.line}",
            unreadable=None
            if error is None
            else Unreadable(error, raw, cut=isinstance(error, TooLong), notes=notes),
        )

    def _key_of_fields(self, data: dict[str, Any]) -> str:
        if len(self._needed) == 1:
            only = data[self._needed[0]]
            if type(only) is str and only and only[0] != "[":  # as almost all: join_key gives it
                return only
            if type(only) is int:
                return str(only)
        values = [text_of(data[name]) for name in self._needed]
        if "" in values:
            raise DataError(f"the row has no key: {self._needed[values.index('')]} is empty")
        return join_key(values) if values else ""

    def _refuse(self, found: Found, error: OSError) -> None:
        """A file that may not be opened is a dead letter, once for each state of it; at each look
        it is tried again."""
        newest, state = self._memory.newest(found.id), found.state.digest
        if newest is None or newest.state != state:
            said = f"the file cannot be opened: {error.strerror}; it is tried again"
            self._bad_file(found, DataError(said), b"", f"{found.id.hex()}-{state.hex()}")
            self._memory.add(Content(found.id, UNOPENED, state, bytes(8), 0, False), self._there)

    def _lost(self, path: bytes, name: str, line: int, id: str) -> None:
        newest = self._memory.newest(path)
        if newest is not None and newest.clean:
            # What is there now may have grown from it, too: as rows of the same origin they would
            # have the ids of those that were published from what is lost.
            self._memory.add(newest._replace(clean=False), self._there)
        said = (
            "the file was overwritten, or has gone, while it was read: the rows from this line on "
            "are not published. What the file holds now is read from its beginning"
        )
        self._dead(f"{name}:{line + 1}", DataError(said), b"", id)

    def _bad_file(self, found: Found, error: DataError, raw: bytes, id: str) -> None:
        self._dead(found.name, error, raw[: self._max_row], id)

    def _dead(self, place: str, error: DataError, raw: bytes, id: str) -> None:
        self._records.append(
            Record(
                key="",
                data={},
                stream=self._stream,
                id=hashlib.sha256(f"{place}/{id}".encode()).hexdigest()[:32],
                time=EPOCH,
                place=place,
                unreadable=Unreadable(error, raw, notes=NO_ROW),
            )
        )


def _names(key: str | Sequence[str]) -> list[str]:
    names = [key] if isinstance(key, str) else list(key)
    if not names or not all(names):
        raise ConfigurationError("FileSource: key= names a field, or several")
    return names
