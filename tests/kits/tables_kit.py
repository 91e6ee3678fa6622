"""Tables over stores of their own, and records as a topic has them."""

from __future__ import annotations

from typing import Any

from trunkline.headers import TL_CHANGE
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.subjects import subject
from trunkline.streams.tables.lookup import StoredIndex, StoredTable
from trunkline.streams.tables.memory import MemoryStore
from trunkline.streams.tables.rows import VALUE
from trunkline.streams.tables.store import Store
from trunkline.streams.tables.stored_state import StoredState
from trunkline.streams.tables.writer import FieldIndex, TableWriter
from trunkline.testing.registry import MemoryRegistry

TOPIC = "commerce.orders"


class Orders:
    """A table of orders, and an index by their status. ``loading``: whether the topic is still read
    for the first time."""

    def __init__(self, store: Store | None = None, *, loading: bool = False) -> None:
        self.store = store or MemoryStore()
        codec = Codec(MemoryRegistry())
        self.encode = codec.encoder(Order, subject(TOPIC), register=True)
        decode = codec.decoder(Order, skip=VALUE)
        by_status = FieldIndex(1, "status")
        self.writer = TableWriter(TOPIC, self.store, decode, [by_status])
        self.table, self.by_status = StoredTable(decode), StoredIndex(decode, 1, "status")
        self.table.bind(self.store)
        self.by_status.bind(self.store)
        self.state = StoredState({"topic": "t"}, fresh_at=1.0)
        self._offset = 0
        if not loading:
            self.writer.finish()

    def apply(self, *records: StoredMessage) -> None:
        self.writer.apply(records, self.state)

    def put(self, id: str, status: str = "paid", cents: int = 1, **place: int) -> StoredMessage:
        """The record of an order."""
        value = self.encode(Order(id=id, status=status, total_cents=cents))
        return self.record(id.encode(), value, **place)

    def delete(self, id: str, **place: int) -> StoredMessage:
        """The record of a delete."""
        return self.record(id.encode(), None, **place)

    def truncate(self) -> StoredMessage:
        """The record of a source's truncate, whose key is the name of its table."""
        return self.record(b"public.orders", None, (TL_CHANGE, b"truncate"))

    def record(
        self, key: bytes | None, value: bytes | None, *headers: Any, partition: int = 0, at: int = 0
    ) -> StoredMessage:
        """Any record. ``at``: when it was written, in milliseconds."""
        self._offset += 1
        return StoredMessage(TOPIC, partition, self._offset, key, value, headers, timestamp=at)

    def ids(self, status: str) -> list[str]:
        """The orders of this status, as the index has them."""
        return [order["id"] for order in self.by_status.get(status)]
