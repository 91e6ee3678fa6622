"""A folder elsewhere: its files are copied here to be read, each as it was at one moment."""

from __future__ import annotations

import posixpath
import tempfile
import threading
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple, Protocol

from trunkline.connectors.files.folder import Found, OpenFile, Settling, State, Wanted, id_of
from trunkline.connectors.files.lines import Truncated
from trunkline.errors import ConfigurationError, SourceError


class Entry(NamedTuple):
    """A file of a store: its path below the store's folder, and its state."""

    name: str
    state: State


class Store(Protocol):
    """A system that holds files, as SFTP or S3. For one thread.

    Each call raises Stopped soon after ``stop`` is set, and SourceError where the system fails.
    Names are paths below the store's folder. ``url``: that folder, for people. ``root``: its path.
    """

    url: str
    root: str

    def list(self, recursive: bool, skipped: str, stop: threading.Event) -> Iterable[Entry]:
        """The files that are there now, but those below the path ``skipped``."""
        ...

    def fetch(self, file: Entry, into: BinaryIO, stop: threading.Event) -> None:
        """Copy the file. Raises FileNotFoundError, PermissionError, OSError of the disk here, and
        Truncated where what was copied is not of that one state."""
        ...

    def is_same(self, file: Entry, stop: threading.Event) -> bool:
        """Whether the file is there in this state."""
        ...

    def move(self, name: str, path: str, digest: str, stop: threading.Event) -> None:
        """Move a file to this path, or beside it, by its digest, if it is taken. Raises Truncated
        if it is another one by now."""
        ...

    def delete(self, name: str, stop: threading.Event) -> None:
        """Delete the file, if it is there."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class RemoteFolder:
    """A ``Place`` in a store. For one thread.

    A file is copied before it is read, into a temporary file without a name: so what is read is
    one content, whatever happens to the original, and a system that hangs holds up no row.
    """

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self._store = store
        self._wanted = wanted
        self._settling = Settling(wanted.settle)
        archive = posixpath.join(store.root, wanted.archive)
        self._archive = posixpath.normpath(archive) if wanted.archive else ""
        if self._archive and self._archive == posixpath.normpath(store.root):
            raise ConfigurationError(f"FileSource: after={wanted.after!r} is the folder itself")
        self._times: dict[str, int] = {}

    @property
    def keeps(self) -> bool:
        """See Place."""
        return self._wanted.after == "keep"

    def look(self, stop: threading.Event) -> list[Found]:
        """See Place."""
        found, self._times = [], {}
        for name, state in self._store.list(self._wanted.recursive, self._archive, stop):
            self._times[name] = state.modified
            if self._wanted.takes(posixpath.basename(name)):
                path = f"{self._store.url}/{name}"
                found.append(Found(path, name, id_of(name.encode(errors="surrogateescape")), state))
        found.sort(key=lambda file: (file.state.modified, file.name))
        self._settling.saw(found)
        return found

    def settled(self, file: Found) -> bool:
        """See Place."""
        if self._settling.done(file):
            return True
        marked = self._times.get(file.name + self._wanted.marker) if self._wanted.marker else None
        return marked is not None and marked >= file.state.modified

    def open(self, file: Found, stop: threading.Event) -> OpenFile:
        """See Place."""
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads it closes it
        try:
            self._store.fetch(Entry(file.name, file.state), copy, stop)
            copy.flush()
        except BaseException:
            copy.close()
            raise
        return OpenFile(copy, file.state)

    def put_away(self, file: Found, digest: bytes, stop: threading.Event) -> None:
        """See Place."""
        try:
            if not self._store.is_same(Entry(file.name, file.state), stop):
                return
            if self._archive:
                path = posixpath.join(self._archive, file.name)
                self._store.move(file.name, path, digest.hex(), stop)
            else:
                self._store.delete(file.name, stop)
            if self._wanted.marker and file.name + self._wanted.marker in self._times:
                self._store.delete(file.name + self._wanted.marker, stop)
        except Truncated:  # replaced, since we looked: that one is read before it goes away
            return
        except OSError as error:
            what = f"moved to {self._archive}" if self._archive else "deleted"
            raise SourceError(f"{file.path} cannot be {what}: {error}") from error

    def close(self) -> None:
        """See Place."""
        self._store.close()


def beside(path: str, digest: str) -> str:
    """The path that a file has if this one is taken."""
    stem, ending = posixpath.splitext(path)
    return f"{stem}-{digest}{ending}"
