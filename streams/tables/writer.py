"""From records of a topic to changes of a store. For the one thread that writes it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trunkline.errors import DataError
from trunkline.headers import TL_CHANGE
from trunkline.kafka.messages import AnyMessage
from trunkline.schemas.codec import Decode
from trunkline.streams.tables.rows import Origin, entries_of, origin_of, row_of
from trunkline.streams.tables.store import Changes, Store
from trunkline.streams.tables.stored_state import StoredState

log = logging.getLogger(__name__)

MOST_TOLD = 10
"""Records and rows of one table that are not as they should be, of which the log tells."""

_Newest = dict[bytes, tuple[int, int, bytes | None]]
"""Of each key the newest record: partition, time of writing, and value, None for a delete."""


@dataclass(frozen=True, slots=True)
class FieldIndex:
    """An index by a field. ``number``: which of the topic's indexes it is, from 1 on."""

    number: int
    field: str


class TableWriter:
    """Applies a topic's records to its store. ``decode``: needed for indexes alone."""

    def __init__(
        self, topic: str, store: Store, decode: Decode, indexes: Sequence[FieldIndex] = ()
    ) -> None:
        self.store = store
        self._topic = topic
        self._decode = decode
        self._indexes = indexes
        self._deleted: dict[bytes, Origin] | None = {}  # while the topic is read; then None
        self._told = 0

    def apply(self, messages: Iterable[AnyMessage], state: StoredState) -> None:
        """Apply records, in the order of each partition, and keep ``state`` with what they change.

        1. Of each key the newest record of these counts.
        2. A row that was read before stays if it is newer: it came from another partition.
        3. Index entries change where a field's value does.

        Raises one of TABLE_UNAVAILABLE, and nothing is changed: call it again later.
        """
        newest = self._newest(messages)
        changes = Changes()
        for (key, found), old in zip(newest.items(), self.store.get_all(list(newest)), strict=True):
            self._change(changes, key, *found, old)
        self.store.write(changes, state)

    def finish(self) -> None:
        """The topic is read, up to where it stood at the start."""
        if not self.store.ordered:
            self.store.order(self._entries)
        self.store.settle()
        self._deleted = None

    def _newest(self, messages: Iterable[AnyMessage]) -> _Newest:
        newest: _Newest = {}
        for message in messages:
            key, value = message.key(), message.value()
            if not key:
                self._tell(message, "it has no key")
                continue
            if value is None and _is_truncate(message):
                self._tell(message, "its source truncated a table, which deletes no row here")
                continue
            partition, (_, written) = message.partition() or 0, message.timestamp()
            before = newest.get(key)
            if before is not None and Origin(*before[:2]).outlasts(Origin(partition, written)):
                continue
            newest[key] = (partition, max(0, written), value)
        return newest

    def _change(
        self,
        changes: Changes,
        key: bytes,
        partition: int,
        written: int,
        value: bytes | None,
        old: bytes | None,
    ) -> None:
        origin = Origin(partition, written)
        known = self._deleted.get(key) if old is None and self._deleted else old and origin_of(old)
        if known and known.outlasts(origin):
            return
        row = None if value is None else row_of(origin, value)
        if row is not None:
            changes.puts[key] = row
            changes.rows += old is None
        else:
            # A partition that is read later may still have an older value of this key.
            if self._deleted is not None:
                self._deleted[key] = origin
            if old is None:
                return
            changes.deletes.append(key)
            changes.rows -= 1
        if self._indexes and self.store.ordered:
            before = set() if old is None else self._entries(key, old)
            after = set() if row is None else self._entries(key, row)
            changes.added += after - before
            changes.removed += before - after

    def _entries(self, key: bytes, row: bytes) -> set[bytes]:
        """The index entries of a row; none if it cannot be decoded, or has no value there."""
        if not self._indexes:
            return set()
        try:
            data = self._decode(row)
            found = {index.number: data.get(index.field) for index in self._indexes}
            return {entries_of(n, v) + key for n, v in found.items() if v is not None}
        except (DataError, TypeError) as error:
            if self._tells():
                log.warning("the row %r of %s is in no index: %s", key[:200], self._topic, error)
            return set()

    def _tell(self, message: AnyMessage, why: str) -> None:
        if self._tells():
            place = f"{message.topic()}/{message.partition()}/{message.offset()}"
            log.warning("the record %s is no row of a table: %s", place, why)

    def _tells(self) -> bool:
        self._told += 1
        return self._told <= MOST_TOLD


def _is_truncate(message: AnyMessage) -> bool:
    return (TL_CHANGE, b"truncate") in (message.headers() or ())
