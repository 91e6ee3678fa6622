"""The changes of the tables, batch by batch, from a stored position on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.postgres import catalog, partitions, slots
from trunkline.connectors.postgres.capture import Capture
from trunkline.connectors.postgres.decoder import Decoder, lsn_number, lsn_text
from trunkline.connectors.postgres.incremental import Incremental, Requests
from trunkline.connectors.postgres.reselect import reselected
from trunkline.connectors.postgres.stream import Stream
from trunkline.connectors.postgres.values import UNCHANGED
from trunkline.errors import ConfigurationError, SourceError, TrunklineError
from trunkline.event import Record

log = logging.getLogger(__name__)

_WAIT = 0.2
"""Seconds of waiting for the server before looking at ``stop``."""
_SOON, _LATER = 1.0, 10.0
"""Seconds until an empty batch is given out when nothing comes: after records, after another one.

The engine acknowledges a large batch when it gets the next one. Without a next one the server would
not hear that the last records are published, and keep their WAL while the tables are quiet.
"""
_ASK, _ASK_IDLE = 60.0, 10.0
"""Seconds between two questions whether publication and tables are still the same: while changes
come, and when they have ceased (since when nothing may have been recorded)."""


class Changes:
    """The changes from ``position`` on, while they are read. ``unchanged``: see ``PostgresCDC``;
    ``letters``: whether what partitions lose becomes dead letters."""

    def __init__(
        self,
        capture: Capture,
        position: Position,
        requests: Requests,
        stop: threading.Event,
        *,
        with_snapshot: bool,
        batch: int,
        readers: int,
        unchanged: object,
        letters: bool,
    ) -> None:
        self._capture = capture
        self._stop = stop
        self._batch = batch
        self._with_snapshot = with_snapshot
        self._letters = letters
        self._reselect = unchanged == "reselect"
        stored = position.get("snapshots", {})
        self._snapshots = Incremental(capture, stored, requests, stop, batch=batch, readers=readers)
        marker = UNCHANGED if self._reselect else unchanged
        self._decoder = self._decoder_from(position, marker)
        self._acknowledged = self._decoder.end
        self._stream: Stream | None = None
        self._timeline: int | None = position.get("timeline")
        self._moved = False
        """Whether the position is another for what is known of partitions."""

    def batches(self) -> Iterator[Batch]:
        """What was decoded before an error is given out before it is raised: it would come again,
        but under what the tables are called by then."""
        capture, decoder = self._capture, self._decoder
        parts = (capture.dsn, capture.slot, capture.publication, decoder, self._stop)
        stream = Stream(*parts, self._timeline)
        self._stream, asked, self._timeline = stream, time.monotonic(), stream.timeline
        due, ask_after, more, error = asked + _SOON, _ASK, False, None
        current = False  # whether it is known that we stand at the server's end
        while error is None and not self._stop.is_set():
            try:
                more = stream.receive(self._batch)
                if time.monotonic() - asked > ask_after:
                    self._ask()
                    asked, ask_after = time.monotonic(), _ASK
            except TrunklineError as raised:
                error, self._stream = raised, None  # nothing can be acknowledged any more
                stream.close()
            records = self._snapshots.merge(decoder)
            if self._reselect and records:
                records = reselected(capture, records)
            records += self._partitions_changed()
            error = error or self._advance()
            if records or self._snapshots.moved or self._moved:
                current = self._stands_at_end(error, more)
                yield Batch(records, self._position(), current)
                due = time.monotonic() + _SOON
            elif (decoder.end > self._acknowledged or not current) and (
                error or time.monotonic() >= due
            ):
                current = self._stands_at_end(error, more)
                yield Batch([], self._position(), current)
                due, ask_after = time.monotonic() + _LATER, _ASK_IDLE
            elif error is None and not more:
                if decoder.end == self._acknowledged:
                    stream.keep_alive()
                stream.wait(_WAIT)
        if error is not None:
            raise error

    def _advance(self) -> TrunklineError | None:
        """Goes on with the snapshots that are read meanwhile; what keeps the source from it."""
        try:
            self._snapshots.advance(self._decoder)
        except TrunklineError as error:
            return error
        return None

    def _stands_at_end(self, error: TrunklineError | None, more: bool) -> bool:
        """Whether nothing that is known of waits: no change, and no row of a first snapshot."""
        left = more or self._decoder.commit or self._snapshots.first
        return error is None and not left

    def acknowledge(self, lsn: str) -> None:
        """The server may forget everything before ``lsn``."""
        if self._stream is not None:
            self._acknowledged = lsn_number(lsn)
            self._stream.acknowledge(self._acknowledged)

    def close(self) -> None:
        """Leaves the slot to the next reader."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _ask(self) -> None:
        """Whether all is still the same. A server that does not let us ask is asked later."""
        try:
            self._capture.ask()
            if not self._capture.looked:
                self._decoder.truncated.clear()
        except SourceError as error:
            slot = self._capture.slot
            log.warning("source of slot %s could not ask for its tables: %s", slot, error)

    def _decoder_from(self, position: Position, unchanged: object) -> Decoder:
        capture, lsn = self._capture, lsn_number(position["lsn"])
        with capture.connected() as connection:
            catalog.require_logical(connection)
            if not slots.is_free(connection, capture.slot, self._stop):
                raise ConfigurationError(slots.gone(capture.slot))
            if capture.failover:
                slots.copy_to_standbys(connection, capture.dsn, capture.slot, self._stop)
            added = capture.publish_added(connection, position.get("of"))
            capture.resume(connection, position.get("of"), position.get("parts", {}))
            self._snapshots.follow(capture.wanted)
            for stream in added:
                self._add(stream, position["lsn"])
            catalog.require_reached(connection, lsn)
            if "of" in position:
                slots.require_from(connection, capture.slot, lsn)
            else:
                log.warning(_UNCHECKED, capture.slot)
        return Decoder(
            capture.wanted,
            capture.types_of,
            ask=capture.ask,
            unchanged=unchanged,
            end=lsn,
            commit=lsn_number(position.get("commit", "0/0")),
            index=position.get("index", 0),
        )

    def _add(self, stream: str, point: str) -> None:
        """A table that was not in ``tables=`` before: its changes come from now on."""
        if self._with_snapshot:
            log.info("table %s is new: its rows are read while changes go on", stream)
            self._snapshots.add(stream, point)

    def _partitions_changed(self) -> list[Record]:
        """What the log does not tell of partitions: rows that came are read, what is gone becomes
        records that are dead letters, or lines of the log."""
        look = self._capture.partitions_changed(self._decoder.end)
        if look is None:
            return []
        self._moved, lost = True, look.untold(self._decoder.truncated)
        for stream, leaf in look.arrived:
            if self._with_snapshot:
                log.info("partition %s of %s was attached: its rows are read", leaf.name, stream)
                point = f"{leaf.oid}-{leaf.attached}"
                self._snapshots.add(stream, point, where=f"tableoid = {leaf.oid}")
            else:
                lost.append(partitions.unread(stream, leaf))
        for loss in lost:
            log.warning("%s", loss.text)
        return list(map(partitions.record_of, lost)) if self._letters else []

    def _position(self) -> Position:
        """Where the decoder stands, and the snapshots that are read meanwhile."""
        decoder, self._snapshots.moved, self._moved = self._decoder, False, False
        position = self._capture.position(lsn_text(decoder.end), self._capture.validity)
        if self._timeline is not None:
            position["timeline"] = self._timeline
        if decoder.commit:
            position |= {"commit": lsn_text(decoder.commit), "index": decoder.index}
        if states := self._snapshots.states:
            position["snapshots"] = {id: dict(state) for id, state in states.items()}
        return position


_UNCHECKED = (
    "the stored position of slot %s is of an earlier version, and does not tell which publication "
    "and tables it is of: from now on it does. If slot, publication or a table was dropped and "
    "made again since it was stored, take a new snapshot"
)
