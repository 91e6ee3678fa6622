"""Copies of the rows of a store on disk that are looked up again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from zlib import crc32

RECENT, RECENT_BYTES = 30_000, 8 * 2**20
"""Rows of a generation, and their bytes. There are two: one that is filled, and the one before."""
LARGEST = 100_000
"""Bytes of a row, from which on no copy is kept."""
ASKED = 1 << 16
"""Places for a byte of a key's hash, which tell that it was asked for before."""

Find = Callable[[bytes], bytes | None]


class RecentRows:
    """Copies of rows, in front of ``find``, which reads the store. Rows are bytes, so nobody can
    change a copy.

    A copy is kept of what is asked for the second time. To keep what nobody asks for again cost
    half a look-up's time, and drove out what is asked for often: customers of a shop who order
    every day, and those of a mailing list who do once. Which were asked for is known by a byte of
    their hash: one key in 256 is mistaken for one of before, and kept at once.

    Readers in any thread, and one writer. A copy never outlives its row. Without ``writing`` a
    reader could find the old row, the writer write the new one, and the reader keep the old one:
    it would be looked up for ever.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._asked = bytearray(ASKED)
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._bytes = 0  # of what was put into the young ones
        self._lock = Lock()
        self._is_writing = False
        self._writes = 0

    def get(self, key: bytes) -> bytes | None:
        """The row of a key."""
        row = self._young.get(key)
        if row is not None:
            return row
        writes = self._writes
        row = self._old.get(key)
        if row is None:
            row = self._find(key)
            hashed = crc32(key)
            place, mark = hashed % ASKED, hashed >> 24
            if self._asked[place] != mark:
                self._asked[place] = mark
                return row
        if row is not None and len(row) <= LARGEST:
            with self._lock:
                if not self._is_writing and writes == self._writes:
                    self._keep(key, row)
        return row

    @contextmanager
    def writing(self, keys: Iterable[bytes]) -> Iterator[None]:
        """The rows of these keys change meanwhile."""
        with self._lock:
            self._is_writing = True
            for key in keys:
                self._young.pop(key, None)
                self._old.pop(key, None)
        try:
            yield
        finally:
            with self._lock:
                self._is_writing = False
                self._writes += 1

    def _keep(self, key: bytes, row: bytes) -> None:
        if len(self._young) >= RECENT or self._bytes + len(row) > RECENT_BYTES:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[key] = row
        self._bytes += len(row)
