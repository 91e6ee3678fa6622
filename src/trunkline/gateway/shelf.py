"""The calls of a day on disk: a gateway must know each, and has no memory for all.

50 calls a second are 4.3 million a day, of which each took a kilobyte and more of memory. Here they
stand in a temporary file, of which a few megabytes are in memory at a time.
"""

from __future__ import annotations

import hashlib
import sqlite3
import weakref
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from trunkline.streams.journal.record import CallRecord

CACHE_KIB = 32_768
"""Memory for the file's pages."""
FORGOTTEN = 1_000
"""Calls, or answers, that are forgotten at once: nobody waits long for it."""
_FIELDS = tuple(CallRecord.__dataclass_fields__)
_REPLY = _FIELDS.index("reply")
GONE = "the answer is not held any more: newer ones take its place"


class Known(NamedTuple):
    """The newest record of a call, its topic, and whether a gateway wrote it."""

    record: CallRecord
    topic: str
    by_gateway: bool


class CallShelf:
    """Calls by id. ``replies``: characters of answers that are held, the newest ones.

    The file is SQLite's temporary one: it has no name, goes with the process, and is made anew from
    the topics by the next one. In it the oldest come first, as they were put in. Raises
    sqlite3.Error where it cannot be written, as on a full disk. For the event loop.
    """

    def __init__(self, replies: int) -> None:
        self._most = replies
        self._held = 0
        self._count = 0
        # Autocommit, and no journal: after a crash nobody reads the file.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._db.close)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
            self._db.execute(f"PRAGMA {setting}").close()
        for table in ("calls", "replies"):
            self._db.execute(
                f"CREATE TABLE {table} (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, "
                "at REAL NOT NULL, text BLOB NOT NULL)"
            ).close()

    def __len__(self) -> int:
        return self._count

    def get(self, call: str) -> Known | None:
        """A call with its answer, if that is held."""
        if not self._count:
            return None
        id_ = _id(call)
        text = self._text("calls", id_)
        if text is None:
            return None
        topic, by_gateway, replied, *fields = orjson.loads(text)
        record = CallRecord(**dict(zip(_FIELDS, fields, strict=True)))
        if replied:
            reply = self._text("replies", id_)
            gone: dict[str, Any] = {"why": GONE} if reply is None else {"reply": reply.decode()}
            record = replace(record, **gone)
        return Known(record, topic, by_gateway)

    def put(self, calls: Iterable[Known]) -> None:
        """Put calls in that are not there, with one write."""
        rows, replies = [], []
        for record, topic, by_gateway in calls:
            id_, fields = _id(record.call), [getattr(record, name) for name in _FIELDS]
            fields[_REPLY] = None
            text = orjson.dumps([topic, by_gateway, record.reply is not None, *fields])
            rows.append((id_, record.at, text))
            if record.reply is not None:
                replies.append((id_, record.at, record.reply.encode()))
        self._db.execute("BEGIN").close()
        self._insert("calls", rows)
        self._insert("replies", replies)
        self._held += sum(len(reply) for _, _, reply in replies)
        while self._held > self._most:
            self._drop_replies()
        self._db.execute("COMMIT").close()
        self._count += len(rows)

    def remove(self, call: str) -> None:
        """Take a call out that is there."""
        id_ = _id(call)
        if (reply := self._text("replies", id_)) is not None:
            self._held -= len(reply)
            self._db.execute("DELETE FROM replies WHERE id = ?", (id_,)).close()
        self._db.execute("DELETE FROM calls WHERE id = ?", (id_,)).close()
        self._count -= 1

    def forget(self, before: float) -> None:
        """Take out some of the oldest calls, of those that are older than this moment."""
        self._drop_replies(before)
        oldest = "SELECT number FROM calls ORDER BY number LIMIT ?"
        statement = f"DELETE FROM calls WHERE number IN ({oldest}) AND at < ?"
        with closing(self._db.execute(statement, (FORGOTTEN, before))) as done:
            self._count -= done.rowcount

    def _drop_replies(self, before: float = 0.0) -> None:
        """Some of the oldest ones, of those that are too many or older than this moment."""
        oldest = "SELECT number, at, length(text) FROM replies ORDER BY number LIMIT ?"
        with closing(self._db.execute(oldest, (FORGOTTEN,))) as found:
            for number, at, size in found.fetchall():
                if self._held > self._most or at < before:
                    self._db.execute("DELETE FROM replies WHERE number = ?", (number,)).close()
                    self._held -= size

    def _insert(self, table: str, rows: Sequence[tuple[bytes, float, bytes]]) -> None:
        self._db.executemany(f"INSERT INTO {table} (id, at, text) VALUES (?, ?, ?)", rows).close()

    def _text(self, table: str, id_: bytes) -> bytes | None:
        with closing(self._db.execute(f"SELECT text FROM {table} WHERE id = ?", (id_,))) as found:
            row: tuple[bytes] | None = found.fetchone()
            return row[0] if row else None


def _id(call: str) -> bytes:
    """What stands for an id in the file: ids are UUIDs, as texts twice as long."""
    return hashlib.blake2b(call.encode(), digest_size=16).digest()
