"""Copies of the rows of a store on disk that are looked up again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from zlib import crc32

RECENT, RECENT_BYTES = 60_000, 16 * 2**20
"""Most rows that are kept, and most bytes of them."""
LARGEST = 100_000
"""Bytes of a row, from which on no copy is kept."""
ASKED = 1 << 16
"""Places for a byte of a key's checksum, which tell that it was asked for before."""

Find = Callable[[bytes], bytes | None]


class RecentRows:
    """Copies of rows, in front of ``find``, which reads the store by ``prefix`` and a key. Rows are
    bytes, so nobody can change a copy. ``failed`` makes the error of one that ``find`` raises.

    A copy is kept of what is asked for the second time. To keep what nobody asks for again took a
    third of a look-up's time, and drove out what is asked for often. Which were asked for is known
    by a byte of their checksum: one key in 256 is mistaken for one of before, and kept at once.

    Readers in any thread, and one writer. A copy never outlives its row. Without ``writing`` a
    reader could find the old row, the writer write the new one, and the reader keep the old one:
    it would be looked up for ever.
    """

    __slots__ = (
        "_asked",
        "_bytes",
        "_failed",
        "_find",
        "_is_writing",
        "_kept",
        "_lock",
        "_prefix",
        "_writes",
    )

    def __init__(self, find: Find, prefix: bytes, failed: Callable[[Exception], Exception]) -> None:
        self._find = find
        self._prefix = prefix
        self._failed = failed
        self._asked = bytearray(ASKED)
        self._kept: dict[bytes, bytes] = {}
        self._bytes = 0
        self._lock = Lock()
        self._is_writing = False
        self._writes = 0

    def get(self, key: bytes) -> bytes | None:
        """The row of a key. Runs for every look-up: measure before you add a call."""
        row = self._kept.get(key)
        if row is not None:
            return row
        writes = self._writes
        try:
            row = self._find(self._prefix + key)
        except Exception as error:
            raise self._failed(error) from error
        checksum = crc32(key)
        place, mark = checksum % ASKED, checksum >> 24
        if self._asked[place] != mark:
            self._asked[place] = mark
        elif row is not None and len(row) <= LARGEST:
            self._keep(key, row, writes)
        return row

    @contextmanager
    def writing(self, keys: Iterable[bytes]) -> Iterator[None]:
        """The rows of these keys change meanwhile."""
        with self._lock:
            self._is_writing = True
            for key in keys:
                self._bytes -= len(self._kept.pop(key, b""))
        try:
            yield
        finally:
            with self._lock:
                self._is_writing = False
                self._writes += 1

    def _keep(self, key: bytes, row: bytes, writes: int) -> None:
        """Keep a row that was found after so many writes, unless there was another meanwhile."""
        with self._lock:
            if self._is_writing or writes != self._writes or key in self._kept:
                return
            if len(self._kept) >= RECENT or self._bytes + len(row) > RECENT_BYTES:
                # Those that were kept first. What is asked for again is soon back.
                for old in list(islice(self._kept, (len(self._kept) + 1) // 2)):
                    self._bytes -= len(self._kept.pop(old))
            self._kept[key] = row
            self._bytes += len(row)
