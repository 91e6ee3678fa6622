"""The tables of a flow under test: what is published can be looked up at once."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kafka.messages import StoredMessage
from trunkline.streams.tables.memory import MemoryStore
from trunkline.streams.tables.stored_state import StoredState
from trunkline.streams.tables.table_set import TableSet
from trunkline.streams.tables.writer import TableWriter


class MemoryTables:
    """Rows of all tables, which each published event changes before anything is routed.

    A crash or a restart of the worker leaves them as they are: a worker routes nothing before it
    has read them again.
    """

    def __init__(self, tables: TableSet) -> None:
        self._writers: list[tuple[str, TableWriter]] = []
        for topic in tables.topics:
            writer = topic.writer(MemoryStore())
            writer.finish()
            self._writers.append((topic.topic, writer))

    def apply(self, written: Sequence[StoredMessage]) -> None:
        """Take over what was written to topics."""
        for topic, writer in self._writers:
            writer.apply([m for m in written if m.topic() == topic], StoredState())
