"""Rows that are read while changes go on: chunk by chunk, without a gap and without an old value.

The watermark method of DBLog (Andreakis and Papapanagiotou, "DBLog: A Watermark Based Change-Data-
Capture Framework", 2020), with what PostgreSQL's snapshots tell in place of its low watermark:

1. A transaction reads the next rows in the order of their key, as its snapshot sees them. From
   before it begins, the keys that the stream changes are written down.
2. Then a mark goes into the log (``pg_logical_emit_message``). What the snapshot saw was committed
   before it, so all of that has come from the stream when the mark does.
3. At the mark the chunk's rows go out, but for those whose key was changed meanwhile: the stream
   has told them already, as they are or newer.

A transaction may have come from the stream although the snapshot did not see it yet: PostgreSQL
writes the commit first, and shows it a moment later (with synchronous replication much later). The
chunk would take its changes back. So a chunk is read again whose snapshot misses such a
transaction; and one that was open when the first chunk was begun is waited for, as a slot does.

A first snapshot that was interrupted goes on in this way, with the spans that were left of it and
the changes since it began: rows that were not changed are where they were. Several are read at
once, each with a mark of its own.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from trunkline.connectors.base import SnapshotRequest
from trunkline.connectors.postgres.blocks import Span, Spans
from trunkline.connectors.postgres.capture import Capture
from trunkline.connectors.postgres.chunks import Chunk, NotYet, Seen, read_chunk
from trunkline.connectors.postgres.connection import Stopped
from trunkline.connectors.postgres.decoder import Decoder, Wanted
from trunkline.errors import TrunklineError
from trunkline.event import Record

log = logging.getLogger(__name__)

ADDED = "added:"
"""What the ids of snapshots begin with that a source takes by itself: of a table or partition that
is new."""
_AGAIN, _LATER = 0.2, 5.0
"""Seconds until a chunk is tried again: a transaction was not shown yet; the server is away."""
_SAY = 5.0
"""Seconds of waiting for a transaction after which that is said."""

State = dict[str, Any]
"""How far one snapshot is, as the position has it: its ``table`` and ``where``, ``after`` which key
it goes on, ``rows`` so far, of ``about`` so many; ``done``, and the ``error`` that ended it. Of a
first one that was interrupted: the table's ``oid``, the ``point`` of its slot, with which the ids
of its rows begin, the ``spans`` that are left, and number and mark of the ``files`` in which they
are."""


class Requests:
    """What operators ask for: written in the engine's thread, read in the source's. ``open``: None
    until the engine has told."""

    open: tuple[SnapshotRequest, ...] | None = None


@dataclass(slots=True)
class _UnderWay:
    """A chunk that is read, in a thread of its own, and whose mark has not come yet."""

    id: str
    stream: str
    span: Span | None
    chunk: Future[Chunk]
    changed: set[str] = field(default_factory=set)
    emptied: bool = False

    def saw(self, records: Sequence[Record]) -> None:
        """These changes have come since it was begun."""
        for record in records:
            if record.stream == self.stream:
                self.changed.add(record.key)
                self.emptied = self.emptied or record.change == "truncate"

    def rows(self) -> list[Record]:
        """What nothing newer was told of. After a TRUNCATE every row that is there has come."""
        kept = self.chunk.result().records
        return [] if self.emptied else [row for row in kept if row.key not in self.changed]


class Incremental:
    """The snapshots of one source that are read while it streams. For the source's thread.

    ``stored``: what the position has of them. ``readers``: how many spans are read at once.
    ``moved``: whether ``states`` is another than in the position that was given out last.
    """

    def __init__(
        self,
        capture: Capture,
        stored: Mapping[str, State],
        requests: Requests,
        stop: threading.Event,
        *,
        batch: int,
        readers: int,
    ) -> None:
        self.states = {id: dict(state) for id, state in stored.items()}
        self.moved = False
        self._capture = capture
        self._requests = requests
        self._stop = stop
        self._batch = batch
        self._readers = readers
        self._spans = {id: Spans(s["spans"]) for id, s in self.states.items() if s.get("spans")}
        self._seen: Seen | None = None  # None while there is nothing to read
        self._under_way: dict[str, _UnderWay] = {}  # by their marks
        self._due = 0.0
        self._waits: float | None = None

    @property
    def first(self) -> bool:
        """Whether something of a first snapshot is left."""
        return bool(self._spans)

    def follow(self, wanted: Mapping[int, Wanted]) -> None:
        """What is left of a first snapshot is known by the table's OID: its name may be another
        one now. A table that ``tables=`` does not name any more is read no more."""
        for id in list(self._spans):
            table = wanted.get(self.states[id]["oid"])
            if table is not None:
                self.states[id]["table"] = table.stream
                continue
            log.warning(
                "table %s is not in tables= any more: the rest of it is not read",
                self.states[id]["table"],
            )
            del self.states[id], self._spans[id]
            self.moved = True

    def add(self, stream: str, point: str, where: str = "") -> None:
        """Take a snapshot of a table that is new to the source, or of rows of it that are."""
        self.states[f"{ADDED}{stream}:{point}"] = state_of(stream, where)
        self.moved = True

    def advance(self, decoder: Decoder) -> None:
        """Begin the next chunks, if there are any, and not as many under way as may be."""
        self._take_up()
        for mark, under_way in list(self._under_way.items()):
            self._look_after(mark, under_way)
        if time.monotonic() < self._due:
            return
        while (found := self._next()) is not None:
            self._begin(*found, decoder)
        if self._seen is not None and not self._under_way:
            self._seen = None
            decoder.follow_transactions(False)

    def merge(self, decoder: Decoder) -> list[Record]:
        """The decoder's records, with the rows of chunks where their marks have come."""
        records, marks, transactions = decoder.take_all()
        if self._seen is not None:
            self._seen.streamed.update(transactions)
        merged, done = list[Record](), 0
        for at, mark in marks:
            under_way = self._under_way.pop(mark, None)
            if under_way is not None:
                under_way.saw(records[:at])
                merged += records[done:at]
                merged += under_way.rows()
                done = at
                self._settle(under_way, under_way.chunk.result())
        for under_way in self._under_way.values():
            under_way.saw(records)
        return merged + records[done:] if done or merged else records

    def _take_up(self) -> None:
        """What operators ask for now. What is not asked for any more is over."""
        if self._requests.open is None:
            return
        asked = {request.id: request for request in self._requests.open}
        for request in asked.values():
            if request.state == "running" and request.id not in self.states:
                self.states[request.id] = state_of(request.stream, request.where)
                self.moved = True
        for id in [id for id, state in self.states.items() if _is_over(id, state, asked)]:
            del self.states[id]
            self._spans.pop(id, None)
            self.moved = True

    def _next(self) -> tuple[str, Span | None] | None:
        """Which snapshot a chunk is to be read of, and, of a first one, which span."""
        if len(self._under_way) >= self._readers:
            return None
        paused = {r.id for r in self._requests.open or () if r.state == "paused"}
        for id, state in self.states.items():
            if state.get("done") or id in paused:
                continue
            if id not in self._spans:
                # By key: one after the other, as each begins behind the last.
                return None if self._under_way else (id, None)
            if (span := self._spans[id].take(state["files"][0])) is not None:
                return id, span
        return None

    def _begin(self, id: str, span: Span | None, decoder: Decoder) -> None:
        if self._seen is None:
            # First the decoder writes down what comes, then somebody asks which are open: a
            # transaction that came before is older than those.
            decoder.follow_transactions(True)
            self._seen = Seen()
        state, mark, chunk = self.states[id], uuid.uuid4().hex, Future[Chunk]()
        self._under_way[mark] = _UnderWay(id, state["table"], span, chunk)
        seen = Seen(self._seen.opened, set(self._seen.streamed))
        work = (self._capture, id, dict(state), span, mark, seen, self._batch)

        def run() -> None:
            try:
                chunk.set_result(read_chunk(*work))
            except BaseException as error:  # noqa: BLE001 - raised in the source's thread
                chunk.set_exception(error)

        threading.Thread(target=run, name="postgres-chunk", daemon=True).start()

    def _look_after(self, mark: str, under_way: _UnderWay) -> None:
        """Whether the chunk could be read."""
        if not under_way.chunk.done() or (error := under_way.chunk.exception()) is None:
            return
        del self._under_way[mark]
        if under_way.span is not None and under_way.id in self._spans:
            self._spans[under_way.id].give_back(under_way.span)
        state, now = self.states.get(under_way.id), time.monotonic()
        if isinstance(error, NotYet):
            if self._seen is not None:
                self._seen.opened = error.opened
            self._due = now + _AGAIN
            self._say(under_way.stream, error, now)
        elif not isinstance(error, TrunklineError):
            raise error
        elif isinstance(error, Stopped) or isinstance(error.__cause__, psycopg2.OperationalError):
            self._due = now + _LATER
            log.warning(
                "snapshot %s of %s is tried again: %s", under_way.id, under_way.stream, error
            )
        elif under_way.span is not None:  # not to be given up: nobody has asked for it
            raise error
        elif state is not None:
            log.error("snapshot %s of %s has ended: %s", under_way.id, under_way.stream, error)
            state |= {"done": True, "error": str(error)}
            self.moved = True

    def _say(self, stream: str, error: NotYet, now: float) -> None:
        self._waits = self._waits or now
        if now - self._waits > _SAY:
            log.warning("the snapshot of %s waits: %s", stream, error)
            self._waits = now

    def _settle(self, under_way: _UnderWay, chunk: Chunk) -> None:
        self._waits = None
        if self._seen is not None:
            self._seen.settle(chunk)
        id = under_way.id
        state = self.states.get(id)
        if state is None or state.get("done"):  # stopped meanwhile; or found to be empty
            return
        self.moved = True
        state["about"] = chunk.about if state["about"] is None else state["about"]
        state["rows"] += len(chunk.records)
        if under_way.span is not None:
            done = self._move(id, state, under_way.span, chunk)
        else:
            state["after"], done = chunk.after or state["after"], chunk.after is None
        if done:
            state["done"] = True
            log.info("snapshot %s of %s: %d rows, done", id, state["table"], state["rows"])

    def _move(self, id: str, state: State, span: Span, chunk: Chunk) -> bool:
        """A span was read; whether it was the last one."""
        spans, found = self._spans[id], chunk.extent
        if [found.files, found.mark] == state["files"]:
            spans.move(span, chunk.left)
            if chunk.left is not None:
                spans.give_back(chunk.left)
        elif not chunk.records:  # else it was read before another one told of it
            self._spans[id] = spans = Spans.whole(found)
            state |= {"rows": 0, "files": [found.files, found.mark]}
            log.warning(
                "table %s was written anew (VACUUM FULL, CLUSTER, ALTER TABLE, TRUNCATE), or has "
                "other partitions, before its first snapshot was read: it is read from its begin",
                state["table"],
            )
        state["spans"] = spans.as_json()
        if not spans:
            del self._spans[id]
        return not spans


def state_of(stream: str, where: str = "") -> State:
    """A snapshot of which nothing is read yet."""
    return {"table": stream, "where": where, "after": None, "rows": 0, "about": None}


def _is_over(id: str, state: State, asked: Mapping[str, SnapshotRequest]) -> bool:
    if id in asked:
        return asked[id].state == "stopped"
    # One that nobody asked for goes on until it is done. If it has failed, that stays to be seen.
    return not id.startswith(ADDED) or ("done" in state and "error" not in state)
