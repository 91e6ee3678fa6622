"""DebeziumSource: the changes of any database that Debezium reads, from its topics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from trunkline.connectors.base import Position
from trunkline.connectors.debezium import mongodb as documents
from trunkline.connectors.debezium.envelope import EnvelopeReader, with_payload
from trunkline.connectors.debezium.placeholders import Placeholder
from trunkline.connectors.debezium.schemas import of_avro, of_connect, table_converter
from trunkline.connectors.debezium.semantics import UNCHANGED, Convert, hinted
from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.connectors.kafka.reader import Start, TopicReader
from trunkline.connectors.kafka.source import Interpreted, KafkaSource, RawMessage
from trunkline.connectors.kafka.values import MALFORMED
from trunkline.errors import ConfigurationError, DataError

PLACEHOLDER = "__debezium_unavailable_value"
GONE = "gone"
"""The entry of a topic's part with the partitions whose last message was a delete."""


class DebeziumSource(KafkaSource):
    """Reads the changes that a Debezium connector has put into topics, of any of its databases.

    ``cluster``, ``topics``, ``start``, ``headers_field``, ``interval``, ``batch``: see KafkaSource.
    ``format``: what its converters write, "json" (with schemas or without) or "avro" (in
    Confluent's wire format, of the cluster's registry); ``key_format``: that of keys, where it is
    another. ``mongodb``: whether it is Debezium's MongoDB connector, whose rows are documents.
    ``types``: for JSON without schemas, which tells no types: column → type, as ``Decimal(2)`` or
    ``MicroTimestamp``; a column of one topic is ``topic:column``. ``json``: "parsed" makes values
    of JSON columns, "text" leaves them as they are. ``unchanged``: stands for large values that an
    update left alone, where Debezium sends ``placeholder``; by default a marker that no Avro type
    accepts. ``metadata_field``: a field of ``data`` for ``op``, ``source``, ``transaction`` and
    ``ts_ms``.

    Records are as those of PostgresCDC and MySqlCDC: ``change`` of the operation ("snapshot" of a
    read, "truncate"), ``data`` the row behind the change, ``time`` of the database; ``stream`` is
    the topic. ``key`` is the text of the message's key. The tombstone behind a delete is no record
    of its own; one without a delete in front of it, as compaction leaves it, is that delete. The
    beginning and end of a transaction, changes of the schema and logical messages are records with
    their fields as ``data``, where their topics are named. Rows that ExtractNewRecordState made
    flat are read if it adds ``__op`` or ``__deleted``.

    Guarantees: those of KafkaSource. What is not as its schema says, or is nothing of Debezium's,
    is a dead letter. Raises as KafkaSource.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topics: str | Sequence[str],
        *,
        format: Literal["json", "avro"] = "json",
        key_format: Literal["json", "avro", "text"] | None = None,
        mongodb: bool = False,
        types: Mapping[str, str] | None = None,
        json: Literal["parsed", "text"] = "parsed",
        unchanged: object = UNCHANGED,
        placeholder: str = PLACEHOLDER,
        metadata_field: str = "",
        start: Start = "earliest",
        headers_field: str = "",
        interval: str = "10s",
        batch: int = 2000,
    ) -> None:
        if format not in ("json", "avro"):
            raise ConfigurationError(f"DebeziumSource: format={format!r} is neither json nor avro")
        self._documents = mongodb
        self._json_as_text = json == "text"
        self._envelopes = EnvelopeReader(
            mongodb, Placeholder(placeholder), unchanged, metadata_field
        )
        self._hints = _hints(types or {})
        self._gone: dict[str, dict[str, str]] = {}
        self._converters: dict[tuple[str, bool], tuple[Any, Convert | None]] = {}
        super().__init__(
            cluster,
            topics,
            value=format,
            key=key_format or format,
            start=start,
            headers_field=headers_field,
            interval=interval,
            batch=batch,
        )

    def _begin(self, position: Position | None) -> None:
        parts = {} if position is None else position.get("parts", {})
        self._gone = {name: dict(part.get(GONE, {})) for name, part in parts.items()}

    def _key(self, topic: str, raw: bytes | None) -> Any:
        if raw is None:
            return None
        schema, key = self._read_by(raw, self._formats[0], self._read_key)
        key = self._converted(topic, schema, key, key, is_key=True)
        if self._documents and isinstance(key, Mapping) and "id" in key:
            return {"_id": documents.key(key["id"])}
        return key

    def _interpret(self, message: RawMessage, key: Any, text: str) -> Interpreted | None:
        topic, (schema, payload) = message.topic, (None, None)
        if message.value is not None:
            schema, payload = self._read_by(message.value, self._formats[1], self._read_value)
        gone, number = self._gone.setdefault(topic, {}), str(message.partition)
        print_ = hashlib.sha256(message.key or b"").hexdigest()[:16]
        if payload is None:
            if gone.pop(number, None) == print_:
                return None
            return Interpreted(text, dict(key) if isinstance(key, Mapping) else {}, "delete")
        gone.pop(number, None)
        found = self._envelopes.read(
            payload, key, text, lambda all_, row: self._converted(topic, schema, all_, row)
        )
        if found.change == "delete":
            gone[number] = print_
        return found

    def _position(self, reader: TopicReader) -> Position:
        """Also which partitions a delete was the last message of: its tombstone may come next."""
        position = reader.position()
        for name, gone in self._gone.items():
            if gone and name in position["parts"]:
                position["parts"][name] = {**position["parts"][name], GONE: dict(gone)}
        return position

    def _read_by(self, raw: bytes, format: str, read: Any) -> tuple[Any, Any]:
        """Schema and payload of a key or value."""
        if format == "avro":
            assert self._avro is not None
            return self._avro.schema(raw), read(raw)
        if format == "json":
            return with_payload(read(raw))
        return None, read(raw)

    def _converted(
        self, topic: str, schema: Any, payload: Any, row: Any, *, is_key: bool = False
    ) -> Any:
        """The payload with what its schema says converted; without one, the row by the hints."""
        if schema is None:
            hints = [*self._hints.get("", []), *self._hints.get(topic, [])]
            if hints and isinstance(row, dict):
                table_converter(hints)(row)
            return payload
        known = self._converters.get((topic, is_key))
        # Of Avro the schema is the same object each time, in JSON another one that is equal.
        if known is None or (known[0] is not schema and known[0] != schema):
            compile_ = of_avro if self._formats[not is_key] == "avro" else of_connect
            known = schema, compile_(schema, json_as_text=self._json_as_text)
            self._converters[topic, is_key] = known
        return payload if known[1] is None or payload is None else _applied(known[1], payload)


def _applied(convert: Convert, payload: Any) -> Any:
    """Raises DataError for a payload that has another form than its schema says."""
    try:
        return convert(payload)
    except MALFORMED as error:
        raise DataError(f"the message is not what its schema says: {error!r}") from error


def _hints(types: Mapping[str, str]) -> dict[str, list[tuple[str, Convert]]]:
    """By topic, "" for all: columns and what converts their values. Raises ConfigurationError."""
    found: dict[str, list[tuple[str, Convert]]] = {}
    for name, hint in types.items():
        topic, _, column = name.rpartition(":")
        try:
            found.setdefault(topic, []).append((column, hinted(hint)))
        except ValueError as error:
            raise ConfigurationError(f"DebeziumSource: types= of {name!r}: {error}") from error
    return found
