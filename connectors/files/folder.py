"""The folder that files arrive in: which are there, which have settled, and where they go after."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, NamedTuple, Protocol

from trunkline.connectors.files.lines import Stopped
from trunkline.errors import ConfigurationError, SourceError


class State(NamedTuple):
    """What the file system tells of a file: any write, replacement or rename is another one. The
    time of the last change (``changed``) is the system's own, and nobody can set it."""

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> State:
        """The state that a call of ``stat`` found."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)

    @property
    def digest(self) -> bytes:
        """8 bytes that stand for it."""
        mask = (1 << 64) - 1
        packed = struct.pack(">4Q", *(number & mask for number in self))
        return hashlib.blake2b(packed, digest_size=8).digest()


class Found(NamedTuple):
    """A file of the folder. ``name``: its path below the folder, for people; ``id``: 8 bytes of
    the digest of that path."""

    path: str
    name: str
    id: bytes
    state: State


class OpenFile(NamedTuple):
    """A file that is open to read its bytes, and the state that it has, or is a copy of."""

    file: BinaryIO
    state: State


class Wanted(NamedTuple):
    """Which files are to be read, and when.

    ``pattern``: of names. ``recursive``: also in folders below. ``settle``: seconds for which a
    file must be the same, None if only a marker tells that it is complete. ``marker``: the ending
    of markers, "" for none. ``after``: "keep", "delete", or the folder to move files to.
    """

    pattern: str
    recursive: bool
    settle: float | None
    marker: str
    after: str

    @property
    def archive(self) -> str:
        """The folder that files are moved to, "" if they are not."""
        return "" if self.after in ("keep", "delete") else self.after

    def takes(self, name: str) -> bool:
        """Whether a file of this name is to be read. Hidden files are those that other programs
        are just writing: only if asked for."""
        if name.startswith(".") and not self.pattern.startswith("."):
            return False
        if self.marker and name.endswith(self.marker):
            return False
        return fnmatchcase(name, self.pattern)


class Place(Protocol):
    """Where files arrive: a folder of this machine, or one elsewhere. For one thread."""

    @property
    def keeps(self) -> bool:
        """Whether files stay where they are."""
        ...

    def look(self, stop: threading.Event) -> list[Found]:
        """The files that are there now, by time of modification and name.

        Raises SourceError if they cannot be listed, and Stopped.
        """
        ...

    def settled(self, file: Found) -> bool:
        """Whether the file is complete: it was the same in two looks ``settle`` apart, or has a
        marker that is not older than it."""
        ...

    def open(self, file: Found, stop: threading.Event) -> OpenFile:
        """The file, as it is now. Raises OSError, SourceError, Stopped, and Truncated where it
        changes just now."""
        ...

    def put_away(self, file: Found, digest: bytes, stop: threading.Event) -> None:
        """Delete the file, or move it, and its marker, unless it is another one by now.

        In the archive it has its name, and a piece of its content's digest if another file has
        that. Raises SourceError if that cannot be done.
        """
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class Settling:
    """Since when each file has been as it is. For one thread."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._seen: dict[bytes, tuple[State, float]] = {}

    def saw(self, found: list[Found]) -> None:
        """These are all the files of a new look."""
        now = time.monotonic()
        before, self._seen = self._seen, {}
        for file in found:
            same = before.get(file.id)
            since = same[1] if same is not None and same[0] == file.state else now
            self._seen[file.id] = file.state, since

    def done(self, file: Found) -> bool:
        """Whether the file was the same in two looks that were long enough apart."""
        if self._seconds is None:
            return False
        state, since = self._seen[file.id]
        return state == file.state and time.monotonic() - since >= self._seconds


class Folder:
    """A ``Place`` on this machine, or mounted here."""

    def __init__(self, root: Path, wanted: Wanted) -> None:
        self.root = root
        self._wanted = wanted
        self._archive = root / wanted.archive if wanted.archive else None
        self._settling = Settling(wanted.settle)
        if self._archive and os.path.abspath(self._archive) == os.path.abspath(root):
            raise ConfigurationError(f"FileSource: after={wanted.after!r} is the folder itself")

    def look(self, stop: threading.Event) -> list[Found]:
        """See Place."""
        try:
            found = list(self._files(str(self.root), stop))
        except OSError as error:
            raise SourceError(f"{self.root} cannot be listed: {error}") from error
        found.sort(key=lambda file: (file.state.modified, file.name))
        self._settling.saw(found)
        return found

    def settled(self, file: Found) -> bool:
        """See Place."""
        if self._settling.done(file):
            return True
        marker = self._wanted.marker
        if not marker:
            return False
        try:
            return os.stat(file.path + marker).st_mtime_ns >= file.state.modified
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SourceError(f"{file.path}{marker} cannot be looked at: {error}") from error

    @property
    def keeps(self) -> bool:
        """See Place."""
        return self._wanted.after == "keep"

    def open(self, file: Found, stop: threading.Event) -> OpenFile:
        """See Place."""
        # What was a file when we looked may be a pipe: opening that would wait for its writer.
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        opened = os.fdopen(descriptor, "rb")
        return OpenFile(opened, State.of(os.fstat(opened.fileno())))

    def close(self) -> None:
        """See Place: nothing is held."""

    def put_away(self, file: Found, digest: bytes, stop: threading.Event) -> None:
        """See Place."""
        try:
            if State.of(os.stat(file.path)) != file.state:
                return
            if self._archive is None:
                os.unlink(file.path)
            else:
                os.replace(file.path, self._free(self._archive, file, digest))
            if self._wanted.marker:
                Path(file.path + self._wanted.marker).unlink(missing_ok=True)
        except FileNotFoundError:
            if self._archive is not None and not self._archive.is_dir():
                raise SourceError(f"{self._archive} is no folder: files go there") from None
        except OSError as error:
            what = "deleted" if self._archive is None else f"moved to {self._archive}"
            raise SourceError(f"{file.path} cannot be {what}: {error}") from error

    def _free(self, archive: Path, file: Found, digest: bytes) -> Path:
        below = Path(os.path.relpath(file.path, self.root))
        target = archive / below
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            target = target.with_name(f"{target.stem}-{digest.hex()}{target.suffix}")
        return target

    def _files(self, folder: str, stop: threading.Event) -> Iterator[Found]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if stop.is_set():
                    raise Stopped
                if self._wanted.recursive and entry.is_dir(follow_symlinks=False):
                    if not self._is_archive(entry.path):
                        yield from self._below(entry.path, stop)
                elif self._wanted.takes(entry.name):
                    yield from self._file(entry.path)

    def _below(self, folder: str, stop: threading.Event) -> Iterator[Found]:
        try:
            yield from self._files(folder, stop)
        except FileNotFoundError:  # it went while we looked
            return

    def _is_archive(self, path: str) -> bool:
        return self._archive is not None and Path(path).resolve() == self._archive.resolve()

    def _file(self, path: str) -> Iterator[Found]:
        try:
            stat = os.stat(path)
        except FileNotFoundError:  # it went while we looked, or is a link to nothing
            return
        if S_ISREG(stat.st_mode):
            below = os.fsencode(os.path.relpath(path, self.root))
            name = below.decode("utf-8", "backslashreplace")
            yield Found(path, name, id_of(below), State.of(stat))


def id_of(path: bytes) -> bytes:
    """8 bytes that stand for a path."""
    return hashlib.blake2b(path, digest_size=8).digest()
