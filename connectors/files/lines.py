"""The lines of a file from an offset on, each of bounded size."""

from __future__ import annotations

import os
import threading
from typing import BinaryIO, NamedTuple

from trunkline.errors import DataError

_SKIPPED = 1 << 20
"""Bytes that are skipped at once behind a line that is too long."""
_LOOK = 127
"""Lines between two looks at ``stop``, less one: a power of two less one."""


class Stopped(Exception):
    """The source is to end; what was read since the last batch is read again."""


class Truncated(Exception):
    """The file ends before the end it had when it was looked at."""


class TooLong(DataError):
    """A row has more bytes than are allowed."""


class Line(NamedTuple):
    """A line with its end. ``number`` counts from 1; ``whole``: ``raw`` is all of it, else its
    beginning."""

    raw: bytes
    number: int
    whole: bool


class Lines:
    """Reads a file line by line, up to ``end`` and never behind it, as the file may be growing.

    ``limit``: bytes of a line at the most. ``offset``, ``number``: where the next line begins, and
    how many lines are before it. ``next`` raises Stopped, and Truncated where the file has less
    than ``end`` bytes by now.
    """

    def __init__(self, file: BinaryIO, end: int, limit: int, stop: threading.Event) -> None:
        self._file = file
        self._stop = stop
        self.end = end
        self.limit = limit
        self.offset = 0
        self.number = 0

    def seek(self, offset: int, number: int) -> None:
        """Go on at this offset, behind so many lines."""
        self._file.seek(offset)
        self.offset, self.number = offset, number

    def next(self) -> Line | None:
        """The next line, or None at the end."""
        left = self.end - self.offset
        if left <= 0:
            return None
        if not self.number & _LOOK and self._stop.is_set():
            raise Stopped
        raw = self._file.readline(min(self.limit + 1, left))
        if not raw:
            raise Truncated
        self.offset += len(raw)
        self.number += 1
        if len(raw) <= self.limit or raw.endswith(b"\n"):
            return Line(raw, self.number, True)
        self._skip()
        return Line(raw[: self.limit], self.number, False)

    def raw(self, start: int) -> bytes:
        """The bytes from ``start`` to where the next line begins, at most ``limit``."""
        return os.pread(self._file.fileno(), min(self.offset - start, self.limit), start)

    def mark(self, number: int) -> None:
        """So many rows are done, of a format without lines: that is the place then, which a
        restart is told as ``number``."""
        self.offset = self.number = number

    def take(self, at: int, size: int) -> bytes:
        """So many bytes from an offset on, wherever the lines stand. Raises Truncated, Stopped."""
        if self._stop.is_set():
            raise Stopped
        raw = os.pread(self._file.fileno(), size, at)
        if len(raw) < size:
            raise Truncated
        return raw

    def _skip(self) -> None:
        """Go behind the end of the line, in pieces: it may be all of a file of gigabytes."""
        piece = b""
        while not piece.endswith(b"\n") and self.offset < self.end:
            if self._stop.is_set():
                raise Stopped
            piece = self._file.readline(min(_SKIPPED, self.end - self.offset))
            if not piece:
                raise Truncated
            self.offset += len(piece)
