"""The calls of a day that are over, on disk: a worker must know each, and has no memory for all.

50 calls a second are 4.3 million a day. In a dictionary each took 0.3 kB; here it takes some 70
bytes of a temporary file, and a few megabytes of memory together.
"""

from __future__ import annotations

import hashlib
import sqlite3
import weakref
from collections.abc import Iterable
from contextlib import closing

from trunkline.streams.journal.record import CallState

CACHE_KIB = 4_096
"""Memory for the pages of one destination's file."""
FORGOTTEN = 1_000
"""Calls that are forgotten at once: nobody waits long for it."""
FORGETS_EVERY = 500
"""Calls after which is looked for those that are too old: so more are forgotten than come."""


class OverCalls:
    """When and how calls have ended, by id. ``kept``: seconds that each is known.

    The file is SQLite's temporary one: it has no name, goes with the process, and is made anew from
    the topic when partitions are assigned. In it the oldest come first, as they were put in. Raises
    sqlite3.Error where it cannot be written, as on a full disk. For one thread at a time.
    """

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._since_forgotten = 0
        # Autocommit, and no journal: after a crash nobody reads the file.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._db.close)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
            self._db.execute(f"PRAGMA {setting}").close()
        self._db.execute(
            "CREATE TABLE calls (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, "
            "at REAL NOT NULL, state TEXT NOT NULL)"
        ).close()

    def __len__(self) -> int:
        with closing(self._db.execute("SELECT count(*) FROM calls")) as found:
            return int(found.fetchone()[0])

    def __contains__(self, call: str) -> bool:
        return self.get(call) is not None

    def get(self, call: str) -> tuple[float, CallState] | None:
        """When and how a call has ended."""
        with closing(
            self._db.execute("SELECT at, state FROM calls WHERE id = ?", (_id(call),))
        ) as found:
            row: tuple[float, CallState] | None = found.fetchone()
            return row

    def put(self, call: str, at: float, state: CallState) -> None:
        """A call has ended so."""
        self.put_all([(call, at, state)])
        self._since_forgotten += 1
        if self._since_forgotten >= FORGETS_EVERY:
            self._since_forgotten = 0
            self._forget(at - self._kept)

    def put_all(self, ended: Iterable[tuple[str, float, CallState]]) -> None:
        """Calls have ended so, with one write."""
        self._db.execute("BEGIN").close()
        # A repeated one is the newest then, and not where it was before.
        self._db.executemany(
            "INSERT OR REPLACE INTO calls (id, at, state) VALUES (?, ?, ?)",
            ((_id(call), at, state) for call, at, state in ended),
        ).close()
        self._db.execute("COMMIT").close()

    def _forget(self, before: float) -> None:
        self._db.execute(
            "DELETE FROM calls WHERE number IN (SELECT number FROM calls ORDER BY number LIMIT ?) "
            "AND at < ?",
            (FORGOTTEN, before),
        ).close()


def _id(call: str) -> bytes:
    """What stands for an id in the file: ids are UUIDs, as texts twice as long."""
    return hashlib.blake2b(call.encode(), digest_size=16).digest()
