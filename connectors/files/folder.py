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
from typing import NamedTuple

from trunkline.connectors.files.lines import Stopped
from trunkline.errors import SourceError


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


class Folder:
    """A folder and a pattern of names. For one thread.

    ``settle``: seconds for which a file must be the same, None if only a marker tells that it is
    complete. ``marker``: the ending of markers, "" for none. ``after``: "keep", "delete", or the
    folder to move files to.
    """

    def __init__(
        self,
        root: Path,
        pattern: str,
        *,
        recursive: bool,
        settle: float | None,
        marker: str,
        after: str,
    ) -> None:
        self.root = root
        self._pattern = pattern
        self._recursive = recursive
        self._settle = settle
        self._marker = marker
        self._after = after
        self._archive = None if after in ("keep", "delete") else root / after
        self._seen: dict[bytes, tuple[State, float]] = {}

    def look(self, stop: threading.Event) -> list[Found]:
        """The files that are there now, by time of modification and name.

        Raises SourceError if the folder cannot be listed, and Stopped.
        """
        try:
            found = list(self._files(str(self.root), stop))
        except OSError as error:
            raise SourceError(f"{self.root} cannot be listed: {error}") from error
        found.sort(key=lambda file: (file.state.modified, file.name))
        now = time.monotonic()
        before, self._seen = self._seen, {}
        for file in found:
            same = before.get(file.id)
            since = same[1] if same is not None and same[0] == file.state else now
            self._seen[file.id] = file.state, since
        return found

    def settled(self, file: Found) -> bool:
        """Whether the file is complete: it was the same in two looks ``settle`` apart, or has a
        marker that is not older than it."""
        if self._settle is not None:
            state, since = self._seen[file.id]
            if state == file.state and time.monotonic() - since >= self._settle:
                return True
        if not self._marker:
            return False
        try:
            return os.stat(file.path + self._marker).st_mtime_ns >= file.state.modified
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SourceError(f"{file.path}{self._marker} cannot be looked at: {error}") from error

    @property
    def keeps(self) -> bool:
        """Whether files stay where they are."""
        return self._after == "keep"

    def put_away(self, file: Found, digest: bytes) -> None:
        """Delete the file, or move it, and its marker, unless it is another one by now.

        In the archive it has its name, and a piece of its content's digest if another file has
        that. Raises SourceError if that cannot be done.
        """
        try:
            if State.of(os.stat(file.path)) != file.state:
                return
            if self._archive is None:
                os.unlink(file.path)
            else:
                os.replace(file.path, self._free(self._archive, file, digest))
            if self._marker:
                Path(file.path + self._marker).unlink(missing_ok=True)
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
                if self._recursive and entry.is_dir(follow_symlinks=False):
                    if not self._is_archive(entry.path):
                        yield from self._below(entry.path, stop)
                elif self._wanted(entry.name):
                    yield from self._file(entry.path)

    def _below(self, folder: str, stop: threading.Event) -> Iterator[Found]:
        try:
            yield from self._files(folder, stop)
        except FileNotFoundError:  # it went while we looked
            return

    def _is_archive(self, path: str) -> bool:
        return self._archive is not None and Path(path).resolve() == self._archive.resolve()

    def _wanted(self, name: str) -> bool:
        """Hidden files are those that other programs are just writing: only if asked for."""
        if name.startswith(".") and not self._pattern.startswith("."):
            return False
        if self._marker and name.endswith(self._marker):
            return False
        return fnmatchcase(name, self._pattern)

    def _file(self, path: str) -> Iterator[Found]:
        try:
            stat = os.stat(path)
        except FileNotFoundError:  # it went while we looked, or is a link to nothing
            return
        if S_ISREG(stat.st_mode):
            below = os.fsencode(os.path.relpath(path, self.root))
            name = below.decode("utf-8", "backslashreplace")
            digest = hashlib.blake2b(below, digest_size=8).digest()
            yield Found(path, name, digest, State.of(stat))
