"""Which events of an inbox's partition are in files: a log beside them, and its protocol.

The log is a folder of objects 1, 2, 3, …, each made once (``Objects.create``). Entry n says which
files are about to be made, with a mark of each of their events, before they are: so

1. make entry n, which tells the files; if there is one, somebody else writes: read the log anew
2. make each file; if there is one, somebody else has taken over: give up

Whoever reads the log knows of each entry but the newest that its files were made, as its author
made the next one only then. Of the newest he cannot know: its author may be dead, or just slow. So
he makes each of its files himself, empty. Where that succeeds, the file is void, and its author,
should he ever wake up, cannot make it any more; where it is there, it is whole, and its events are
in files. The next entry tells which ones are void.

Old entries are removed, and their numbers are free then. So who has not looked for a while, as he
was asleep or had no events, looks at the newest number before and after he makes an entry.
"""

from __future__ import annotations

import hashlib
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from trunkline.connectors.files.objects import Objects
from trunkline.connectors.files.written_forms import Forms
from trunkline.times import iso

MARK = 8
"""Bytes of a mark: of a million events two have one with a probability of 10^-8."""
LEAST_ENTRIES = 20
LEAST_SECONDS = 30.0
"""What of the log is kept, the more of the two. An event comes again only if it was written since
the last commit that Kafka took, and a worker whose commits fail sends for 5 seconds more."""
_SURE = 10.0
"""Seconds for which who has seen the newest entry need not look for newer ones: none of these is
removed so soon, so that making one of the same number tells."""


class Fenced(Exception):
    """Somebody else writes the files of this partition."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file, the first and the last offset of the events in it, and their marks: ``MARK`` bytes
    each, see ``mark``."""

    path: str
    first: int
    last: int
    marks: bytes


def mark(offset: int, key: str) -> bytes:
    """What tells an event of the inbox from each other one: by its idempotency key, since an inbox
    that was deleted and made anew counts its offsets from 0 again."""
    return hashlib.blake2b(f"{offset}/{key}".encode(), digest_size=MARK).digest()


@dataclass(slots=True)
class _Entry:
    number: int
    at: float
    files: list[WrittenFile]
    void: list[str] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        files = [
            {
                "path": file.path,
                "first": file.first,
                "last": file.last,
                "marks": b64encode(file.marks).decode(),
            }
            for file in self.files
        ]
        return orjson.dumps({"at": self.at, "iso": iso(self.at), "files": files, "void": self.void})

    @classmethod
    def of(cls, number: int, raw: bytes) -> _Entry:
        row: Any = orjson.loads(raw)
        files = [
            WrittenFile(file["path"], file["first"], file["last"], b64decode(file["marks"]))
            for file in row["files"]
        ]
        return cls(number, row["at"], files, row["void"])


class WriteLog:
    """The log of one partition, as it is in ``folder``. For one thread. All methods raise OSError.

    ``forms``: what files are, by the endings of their names, and so what they are without events.
    """

    def __init__(
        self,
        objects: Objects,
        folder: str,
        forms: Forms,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._objects = objects
        self._folder = folder
        self._forms = forms
        self._clock = clock
        self._looked_at = clock()
        self._entries: list[_Entry] = []
        self._void: list[str] = []
        self._load()

    @property
    def next(self) -> int:
        """The number of the next entry."""
        return self._entries[-1].number + 1 if self._entries else 1

    def missing(self, marks: Mapping[bytes, int]) -> set[bytes]:
        """The marks of events that are in no file. ``marks``: with the offset of each."""
        found, low, high = set(marks), min(marks.values()), max(marks.values())
        for entry in self._entries:
            for file in entry.files:
                if file.first <= high and file.last >= low:
                    ends = range(MARK, len(file.marks) + 1, MARK)
                    found.difference_update(file.marks[end - MARK : end] for end in ends)
        return found

    def write(self, files: Sequence[tuple[WrittenFile, bytes]]) -> None:
        """Make these files. Raises Fenced: the log must be read anew then, as after OSError."""
        self._require_newest(self.next - 1)
        entry = _Entry(self.next, self._clock(), [file for file, _ in files], self._void)
        self._make(entry)
        for file, content in files:
            if not self._objects.create(file.path, content):
                raise Fenced(f"{file.path} is somebody else's")
        self._entries.append(entry)
        self._void = []
        self._prune(entry.at)

    def _make(self, entry: _Entry) -> None:
        path = self._path(entry.number)
        if not self._objects.create(path, entry.to_bytes()):
            raise Fenced(f"entry {entry.number} of {self._folder} is somebody else's")
        try:
            self._require_newest(entry.number)
        except Fenced:
            self._objects.remove(path)
            raise
        self._looked_at = entry.at

    def _require_newest(self, number: int) -> None:
        """Raises Fenced if there are entries behind this one."""
        now = self._clock()
        if 0 <= now - self._looked_at < _SURE:
            return
        if max(self._numbers(), default=0) > number:
            raise Fenced(f"{self._folder} has entries behind {number}, which are somebody else's")
        self._looked_at = now

    def _numbers(self) -> list[int]:
        names = self._objects.names(self._folder)
        return sorted(int(stem) for name in names if (stem := name.split(".")[0]).isdecimal())

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:012}.json"

    def _load(self) -> None:
        voided: set[str] = set()
        numbers = self._numbers()
        for number in reversed(numbers):
            if self._entries and number != self._entries[0].number - 1:
                break
            entry = _Entry.of(number, self._objects.read(self._path(number)))
            entry.files = [file for file in entry.files if file.path not in voided]
            voided.update(entry.void)
            self._entries.insert(0, entry)
            if self._is_enough(len(self._entries), entry.at, self._entries[-1].at):
                break
        if self._entries:
            self._remove_strays(numbers)
            newest = self._entries[-1]
            self._void = [file.path for file in newest.files if not self._is_made(file.path)]
            newest.files = [file for file in newest.files if file.path not in self._void]

    def _remove_strays(self, numbers: Sequence[int]) -> None:
        """Remove entries below a gap: their author was asleep while they were made, found that
        others are further, and died before he could remove them. Only those as old as what is
        removed anyway: a listing may lack an entry that is made at that moment, too."""
        newest = self._entries[-1]
        gap = next((n for n in range(newest.number, 0, -1) if n not in numbers), 0)
        for number in numbers:
            if number < gap and newest.number - number >= LEAST_ENTRIES:
                at = _Entry.of(number, self._objects.read(self._path(number))).at
                if self._is_enough(newest.number - number, at, newest.at):
                    self._objects.remove(self._path(number))

    def _is_made(self, path: str) -> bool:
        form = self._forms.of(path)
        if self._objects.create(path, form.nothing()):
            return False
        return not form.is_nothing(self._objects, path)

    def _prune(self, now: float) -> None:
        while self._is_enough(len(self._entries) - 1, self._entries[0].at, now):
            self._objects.remove(self._path(self._entries[0].number))
            del self._entries[0]

    @staticmethod
    def _is_enough(entries: int, oldest: float, newest: float) -> bool:
        return entries >= LEAST_ENTRIES and newest - oldest > LEAST_SECONDS
