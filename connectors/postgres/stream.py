"""The changes from a replication slot: PostgreSQL's streaming replication protocol.

PostgreSQL documentation, "Streaming Replication Protocol", START_REPLICATION … LOGICAL.

What the server has confirmed is never beyond what is stored: else nobody could tell a slot that
somebody made again from ours. psycopg2 takes a keepalive's point for confirmed when nothing was
sent that is not, and tells the server at its next report. So it reports only when we say so, and
the decoder follows the keepalives: their points are stored, in batches without records, and then
acknowledged. A slot without changes does not hold back WAL either way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from selectors import EVENT_READ, DefaultSelector

from psycopg2.extras import ReplicationCursor

from trunkline.connectors.postgres.connection import connect_or_stop, translated
from trunkline.connectors.postgres.decoder import Decoder
from trunkline.connectors.postgres.statements import begin_anew, quoted
from trunkline.connectors.postgres.timeline import require_shared

_BATCH_BYTES = 8_000_000
"""A batch ends here even if it has few records: they are wide."""
_NEVER = 1_000_000
"""Seconds until the driver reports by itself."""
_ALIVE = 10.0
"""Seconds until the server hears of us though there is nothing to acknowledge: after 30 it would
ask, and the driver answers at once."""


class Stream:
    """An open stream of changes, fed into ``decoder`` from where that stands.

    ``timeline``: the one that the decoder's place is of, if that is known; then the server's.
    Raises ConfigurationError if the place is not in the server's log.
    """

    def __init__(
        self,
        dsn: str,
        slot: str,
        publication: str,
        decoder: Decoder,
        stop: threading.Event,
        timeline: int | None = None,
    ) -> None:
        self._connection = connect_or_stop(dsn, stop, replication=True)
        self._selector = DefaultSelector()
        self._decoder = decoder
        cursor = self._connection.cursor()
        assert isinstance(cursor, ReplicationCursor)
        self._cursor = cursor
        self._feedback: Callable[..., None] = cursor.send_feedback
        self._slot = slot
        self._reported = time.monotonic()
        try:
            self.timeline = require_shared(cursor, timeline, decoder.end, slot)
            self._start(slot, publication)
        except BaseException:
            self.close()
            raise

    def _start(self, slot: str, publication: str) -> None:
        with translated(f"streaming from slot {slot}", begin_anew(slot)):
            self._cursor.start_replication(
                slot_name=slot,
                start_lsn=self._decoder.end,
                # Messages: the marks of snapshots that are read meanwhile.
                options={
                    "proto_version": 1,
                    "publication_names": quoted(publication),
                    "messages": "true",
                },
                decode=False,
                status_interval=_NEVER,
            )
        self._selector.register(self._connection.fileno(), EVENT_READ)

    def receive(self, limit: int) -> bool:
        """Decode what has arrived, up to ``limit`` messages; True if there may be more at once."""
        read, feed, size = self._cursor.read_message, self._decoder.feed, 0
        try:
            with translated("reading changes", begin_anew(self._slot)):
                for _ in range(limit):
                    message = read()
                    if message is None:
                        return False
                    payload = message.payload
                    feed(payload)
                    size += len(payload)
                    if size > _BATCH_BYTES:
                        break
        finally:
            # Also after an error: a server that shuts down asks for an answer, and the driver has
            # told it that everything up to here is confirmed.
            self._decoder.reached(self._cursor.wal_end)
        return True

    def wait(self, seconds: float) -> None:
        """Until something arrives, or the time is over."""
        self._selector.select(seconds)

    def acknowledge(self, lsn: int) -> None:
        """Tell the server that it may forget everything before ``lsn``."""
        with translated("acknowledging changes"):
            self._feedback(write_lsn=lsn, flush_lsn=lsn, apply_lsn=lsn, force=True)
        self._reported = time.monotonic()

    def keep_alive(self) -> None:
        """Let the server hear of us now and then. Only when all that was received is acknowledged:
        the driver reports the last keepalive, too."""
        if time.monotonic() - self._reported > _ALIVE:
            with translated("answering the server"):
                self._feedback(force=True)
            self._reported = time.monotonic()

    def close(self) -> None:
        """Leave the slot to the next reader."""
        self._selector.close()
        self._connection.close()
