"""The changes from a replication slot: PostgreSQL's streaming replication protocol.

PostgreSQL documentation, "Streaming Replication Protocol", START_REPLICATION … LOGICAL. psycopg2
answers keepalives and, as it reads, reports every second what is acknowledged. When that is all
that was sent, it also confirms the point that a keepalive names: a slot without changes does not
hold back WAL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from selectors import EVENT_READ, DefaultSelector

from psycopg2.extras import ReplicationCursor

from trunkline.connectors.postgres.connection import connect_or_stop, translated
from trunkline.connectors.postgres.decoder import Decoder

_BATCH_BYTES = 8_000_000
"""A batch ends here even if it has few records: they are wide."""


class Stream:
    """An open stream of changes, fed into ``decoder`` from where that stands."""

    def __init__(
        self, dsn: str, slot: str, publication: str, decoder: Decoder, stop: threading.Event
    ) -> None:
        self._connection = connect_or_stop(dsn, stop, replication=True)
        self._selector = DefaultSelector()
        self._decoder = decoder
        cursor = self._connection.cursor()
        assert isinstance(cursor, ReplicationCursor)
        self._cursor = cursor
        self._feedback: Callable[..., None] = cursor.send_feedback
        try:
            self._start(slot, publication)
        except BaseException:
            self.close()
            raise

    def _start(self, slot: str, publication: str) -> None:
        quoted = '"{}"'.format(publication.replace('"', '""'))
        with translated(f"streaming from slot {slot}"):
            self._cursor.start_replication(
                slot_name=slot,
                start_lsn=self._decoder.end,
                options={"proto_version": 1, "publication_names": quoted},
                decode=False,
                status_interval=1,
            )
        self._selector.register(self._connection.fileno(), EVENT_READ)

    def receive(self, limit: int) -> bool:
        """Decode what has arrived, up to ``limit`` messages; True if there may be more at once."""
        read, feed, size = self._cursor.read_message, self._decoder.feed, 0
        with translated("reading changes"):
            for _ in range(limit):
                message = read()
                if message is None:
                    return False
                payload = message.payload
                feed(payload)
                size += len(payload)
                if size > _BATCH_BYTES:
                    break
        return True

    def wait(self, seconds: float) -> None:
        """Until something arrives, or the time is over."""
        self._selector.select(seconds)

    def acknowledge(self, lsn: int) -> None:
        """Tell the server that it may forget everything before ``lsn``."""
        with translated("acknowledging changes"):
            self._feedback(write_lsn=lsn, flush_lsn=lsn, apply_lsn=lsn, force=True)

    def close(self) -> None:
        """Leave the slot to the next reader."""
        self._selector.close()
        self._connection.close()
