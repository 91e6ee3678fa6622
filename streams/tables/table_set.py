"""The tables of one flow: what their routes are given, and one store for all tables of a topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.schemas.codec import Codec, Decode
from trunkline.schemas.types import schema_of
from trunkline.streams.flow.annotations import type_of_topic
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.table import StoreKind, TableDefinition
from trunkline.streams.tables.lookup import StoredIndex, StoredTable
from trunkline.streams.tables.rows import VALUE
from trunkline.streams.tables.store import Store
from trunkline.streams.tables.writer import FieldIndex, TableWriter


class TopicTables:
    """All tables of one topic in one kind of store. ``names``: of the tables, for people.

    Their rows are read and kept once.
    """

    def __init__(self, topic: str, store: StoreKind, decode: Decode, schema: str) -> None:
        self.topic = topic
        self.kind = store
        self.decode = decode
        self._schema = schema
        self.names: list[str] = []
        self.indexes: list[FieldIndex] = []
        self._lookups: list[StoredTable | StoredIndex] = []

    def lookup(self, definition: TableDefinition[Any]) -> StoredTable | StoredIndex:
        """What looks up in one of the tables, as soon as there is a store."""
        self.names.append(definition.name)
        made: StoredTable | StoredIndex = StoredTable(self.decode)
        if definition.by:
            index = FieldIndex(len(self.indexes) + 1, definition.by)
            self.indexes.append(index)
            made = StoredIndex(self.decode, index.number, index.field)
        self._lookups.append(made)
        return made

    @property
    def identity(self) -> dict[str, Any]:
        """What index entries depend on, beside the rows; rows themselves fit any type."""
        fields = [index.field for index in self.indexes]
        return {"indexes": fields, "schema": self._schema if fields else ""}

    def writer(self, store: Store) -> TableWriter:
        """Keep the rows in this store, which the returned writer fills."""
        for lookup in self._lookups:
            lookup.bind(store)
        return TableWriter(self.topic, store, self.decode, self.indexes)


class TableSet:
    """The tables of a flow in one worker. Raises FlowError for a topic without one type."""

    def __init__(self, flow: Flow[Any], codec: Codec) -> None:
        self.flow = flow.name
        self._topics: dict[tuple[str, str], TopicTables] = {}
        self._lookups: dict[TableDefinition[Any], StoredTable | StoredIndex] = {}
        for definition in flow.tables:
            topic, kind = definition.topic.topic, definition.store
            if (topic, kind) not in self._topics:
                type_ = type_of_topic(definition.topic)
                decode: Decode = codec.decoder(type_, skip=VALUE)
                schema = schema_of(type_).json
                self._topics[topic, kind] = TopicTables(topic, kind, decode, schema)
            self._lookups[definition] = self._topics[topic, kind].lookup(definition)

    @property
    def topics(self) -> Iterable[TopicTables]:
        """Each topic that has tables, once for each kind of store."""
        return self._topics.values()

    def lookup(self, definition: TableDefinition[Any]) -> StoredTable | StoredIndex:
        """What a route is given for its parameter."""
        return self._lookups[definition]
