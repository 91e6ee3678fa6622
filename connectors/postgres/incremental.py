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
from trunkline.connectors.postgres.capture import Capture
from trunkline.connectors.postgres.chunks import Chunk, NotYet, Seen, read_chunk
from trunkline.connectors.postgres.connection import Stopped
from trunkline.connectors.postgres.decoder import Decoder
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
it goes on, ``rows`` so far, of ``about`` so many; ``done``, and the ``error`` that ended it."""


class Requests:
    """What operators ask for: written in the engine's thread, read in the source's. ``open``: None
    until the engine has told."""

    open: tuple[SnapshotRequest, ...] | None = None


@dataclass(slots=True)
class _UnderWay:
    """A chunk that is read, in a thread of its own, and whose mark has not come yet."""

    id: str
    stream: str
    mark: str
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

    ``stored``: what the position has of them. ``moved``: whether ``states`` is another than in the
    position that was given out last.
    """

    def __init__(
        self,
        capture: Capture,
        stored: Mapping[str, State],
        requests: Requests,
        stop: threading.Event,
        *,
        batch: int,
    ) -> None:
        self.states = {id: dict(state) for id, state in stored.items()}
        self.moved = False
        self._capture = capture
        self._requests = requests
        self._stop = stop
        self._batch = batch
        self._seen: Seen | None = None  # None while there is nothing to read
        self._under_way: _UnderWay | None = None
        self._due = 0.0
        self._waits: float | None = None

    def add(self, stream: str, point: str, where: str = "") -> None:
        """Take a snapshot of a table that is new to the source, or of rows of it that are."""
        self.states[f"{ADDED}{stream}:{point}"] = _state(stream, where)
        self.moved = True

    def advance(self, decoder: Decoder) -> None:
        """Begin the next chunk, if there is one and none is under way."""
        self._take_up()
        if self._under_way is not None:
            self._look_after(self._under_way)
        elif time.monotonic() >= self._due:
            if (id := self._next()) is not None:
                self._begin(id, decoder)
            elif self._seen is not None:
                self._seen = None
                decoder.follow_transactions(False)

    def merge(self, decoder: Decoder) -> list[Record]:
        """The decoder's records, with a chunk's rows where its mark has come."""
        records, marks, transactions = decoder.take_all()
        if self._seen is not None:
            self._seen.streamed.update(transactions)
        under_way = self._under_way
        if under_way is None:
            return records
        at = next((at for at, mark in marks if mark == under_way.mark), len(records))
        under_way.saw(records[:at])
        if not any(mark == under_way.mark for _, mark in marks):
            return records
        self._under_way = None
        self._settle(under_way.id, under_way.chunk.result())
        return [*records[:at], *under_way.rows(), *records[at:]]

    def _take_up(self) -> None:
        """What operators ask for now. What is not asked for any more is over."""
        if self._requests.open is None:
            return
        asked = {request.id: request for request in self._requests.open}
        for request in asked.values():
            if request.state == "running" and request.id not in self.states:
                self.states[request.id] = _state(request.stream, request.where)
                self.moved = True
        for id in [id for id, state in self.states.items() if _is_over(id, state, asked)]:
            del self.states[id]
            self.moved = True

    def _next(self) -> str | None:
        paused = {r.id for r in self._requests.open or () if r.state == "paused"}
        return next(
            (id for id, s in self.states.items() if not s.get("done") and id not in paused), None
        )

    def _begin(self, id: str, decoder: Decoder) -> None:
        if self._seen is None:
            # First the decoder writes down what comes, then somebody asks which are open: a
            # transaction that came before is older than those.
            decoder.follow_transactions(True)
            self._seen = Seen()
        state, mark, chunk = self.states[id], uuid.uuid4().hex, Future[Chunk]()
        self._under_way = _UnderWay(id, state["table"], mark, chunk)
        seen = Seen(self._seen.opened, set(self._seen.streamed))
        work = (self._capture, id, dict(state), mark, seen, self._batch)

        def run() -> None:
            try:
                chunk.set_result(read_chunk(*work))
            except BaseException as error:  # noqa: BLE001 - raised in the source's thread
                chunk.set_exception(error)

        threading.Thread(target=run, name="postgres-chunk", daemon=True).start()

    def _look_after(self, under_way: _UnderWay) -> None:
        """Whether the chunk could be read."""
        if not under_way.chunk.done() or (error := under_way.chunk.exception()) is None:
            return
        self._under_way, now = None, time.monotonic()
        state = self.states.get(under_way.id)
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
        elif state is not None:
            log.error("snapshot %s of %s has ended: %s", under_way.id, under_way.stream, error)
            state |= {"done": True, "error": str(error)}
            self.moved = True

    def _say(self, stream: str, error: NotYet, now: float) -> None:
        self._waits = self._waits or now
        if now - self._waits > _SAY:
            log.warning("the snapshot of %s waits: %s", stream, error)
            self._waits = now

    def _settle(self, id: str, chunk: Chunk) -> None:
        self._waits = None
        if self._seen is not None:
            self._seen.settle(chunk)
        state = self.states.get(id)
        if state is None:  # stopped meanwhile
            return
        self.moved = True
        state["about"] = chunk.about if state["about"] is None else state["about"]
        state["rows"] += len(chunk.records)
        if chunk.after is None:
            state["done"] = True
            log.info("snapshot %s of %s: %d rows, done", id, state["table"], state["rows"])
        else:
            state["after"] = chunk.after


def _state(stream: str, where: str = "") -> State:
    return {"table": stream, "where": where, "after": None, "rows": 0, "about": None}


def _is_over(id: str, state: State, asked: Mapping[str, SnapshotRequest]) -> bool:
    if id in asked:
        return asked[id].state == "stopped"
    # One that nobody asked for goes on until it is done. If it has failed, that stays to be seen.
    return not id.startswith(ADDED) or ("done" in state and "error" not in state)
