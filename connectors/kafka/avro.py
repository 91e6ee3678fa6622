"""Avro of a foreign registry: values as their writers saw them, and their schemas."""

from __future__ import annotations

import json
from typing import Any

from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.schemas.codec import Codec, schema_id


class AvroReader:
    """Reads values in Confluent's wire format. For one thread.

    Raises SerializationError for bytes that are no such value, and one of SCHEMA_UNAVAILABLE while
    the registry cannot be asked: that says nothing about the value.
    """

    def __init__(self, cluster: KafkaCluster, who: str) -> None:
        self._registry = cluster.open_registry(who)
        self._decode = Codec(self._registry).any_decoder()
        self._schemas: dict[int, Any] = {}

    def read(self, raw: bytes) -> Any:
        """The value. The registry is asked about an id that it did not know before, too, after some
        seconds: one that was registered a moment ago may not have reached each of its nodes."""
        self.schema(raw)
        return self._decode(raw)

    def schema(self, raw: bytes) -> Any:
        """The schema that wrote a value, as parsed JSON; the same object for each of its values."""
        id = schema_id(raw)
        if id not in self._schemas:
            self._schemas[id] = json.loads(self._registry.learn(id))
        return self._schemas[id]

    def close(self) -> None:
        """Close the connections."""
        self._registry.close()
