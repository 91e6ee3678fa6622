"""One content of a file while it is read: what identifies it, and whether it is still the same."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from trunkline.connectors.base import Position
from trunkline.connectors.files.folder import Found, State
from trunkline.connectors.files.lines import Stopped, Truncated

_CHUNK = 1 << 20
EPOCH = datetime.fromtimestamp(0, UTC)


class Fingerprint(NamedTuple):
    """SHA-256 of the first bytes of a file, and how many line feeds they have."""

    digest: bytes
    lines: int


def fingerprints(
    file: BinaryIO, sizes: Iterable[int], stop: threading.Event
) -> dict[int, Fingerprint]:
    """The fingerprint of the first so many bytes, for each of ``sizes``, in one pass.

    Raises Truncated where the file has less, and Stopped.
    """
    found: dict[int, Fingerprint] = {}
    hashed, lines, at = hashlib.sha256(), 0, 0
    for size in sorted(set(sizes)):
        while at < size:
            if stop.is_set():
                raise Stopped
            # At an offset, so that whoever reads the same file is not disturbed.
            chunk = os.pread(file.fileno(), min(_CHUNK, size - at), at)
            if not chunk:
                raise Truncated
            hashed.update(chunk)
            lines += chunk.count(b"\n")
            at += len(chunk)
        found[size] = Fingerprint(hashed.copy().digest(), lines)
    return found


class OpenContent:
    """The content that a file had when it was looked at, for as long as it is read.

    ``state``: the digest of the file's state then. ``origin``: as in ``Content``.
    ``given``: whether some of its rows are published, or are about to be.
    """

    def __init__(
        self,
        file: BinaryIO,
        found: Found,
        digest: bytes,
        *,
        size: int,
        state: bytes,
        origin: bytes,
    ) -> None:
        self.file = file
        self.found = found
        self.digest = digest
        self.size = size
        self.state = state
        self.origin = origin
        self.given = False
        self.time = _time(found.state.modified)
        # With an offset it names a row. Of the origin, not of this content: a worker that reads a
        # file which grows may see it after 3 rows and after 5, and the next one after 9.
        self.id = hashlib.sha256(found.id + origin).hexdigest()[:32]
        self._last = State.of(os.fstat(file.fileno()))

    def unchanged(self, stop: threading.Event) -> bool:
        """Whether all that was read up to now is of this content, although the file may have grown,
        or another one may have its name. Asked before rows are given out. Raises Stopped."""
        state = State.of(os.fstat(self.file.fileno()))
        if state == self._last:
            return True
        try:
            now = fingerprints(self.file, [self.size], stop)[self.size]
        except Truncated:
            return False
        self._last = state
        return now.digest == self.digest

    @property
    def ends_a_line(self) -> bool:
        """Whether its last line is complete: then rows that are appended begin behind it."""
        return not self.size or os.pread(self.file.fileno(), 1, self.size - 1) == b"\n"

    def position(self, offset: int, line: int) -> Position:
        """The position behind so many bytes and lines of it."""
        return {
            "id": self.found.id.hex(),
            "name": self.found.name,
            "sha256": self.digest.hex(),
            "size": self.size,
            "state": self.state.hex(),
            "origin": self.origin.hex(),
            "offset": offset,
            "line": line,
        }


def _time(nanoseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (OverflowError, ValueError, OSError):  # a file system may hold any number
        return EPOCH
