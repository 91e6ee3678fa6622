"""Messages as Debezium's connectors write them, and what a source makes of them.

Their shapes are those of Debezium's documentation, "Data change events" of each connector.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trunkline.connectors.debezium import DebeziumSource
from trunkline.connectors.kafka import KafkaCluster
from trunkline.event import Record
from trunkline.kafka.messages import StoredMessage

AT = 1_700_000_000_123
"""Milliseconds: 2023-11-14T22:13:20.123Z."""


class FakeReader:
    """What a source asks of its reader for a message that was read."""

    def topic_id(self, name: str) -> str:
        return "id-of-" + name


def source(topics: Sequence[str] = ("t",), **options: Any) -> DebeziumSource:
    """A source that connects to nothing."""
    return DebeziumSource(KafkaCluster("nowhere:9092"), topics, **options)


def message(
    value: Any,
    key: Any = None,
    *,
    topic: str = "t",
    partition: int = 0,
    offset: int = 0,
    headers: Sequence[tuple[str, bytes]] = (),
) -> StoredMessage:
    """A message of Kafka's; what is no bytes becomes JSON."""
    raw = [
        part if part is None or isinstance(part, bytes) else _json(part) for part in (key, value)
    ]
    return StoredMessage(topic, partition, offset, *raw, headers, timestamp=AT)


def records(of: DebeziumSource, *messages: StoredMessage) -> list[Record]:
    """What the source makes of messages, without those that say nothing of their own."""
    made = [of._record(FakeReader(), one) for one in messages]  # type: ignore[arg-type]
    return [record for record in made if record is not None]


def envelope(
    op: str, before: Any = None, after: Any = None, connector: str = "oracle", **source: Any
) -> dict[str, Any]:
    """The payload of a change."""
    about = {
        "version": "3.4.3.Final",
        "connector": connector,
        "name": "shop",
        "ts_ms": AT,
        **source,
    }
    return {"before": before, "after": after, "source": about, "op": op, "ts_ms": AT + 400}


Column = tuple[str, str, str, Mapping[str, Any]]
"""Name, type of Connect, name of its schema, parameters."""


def with_schema(payload: dict[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    """The payload with the schema that JsonConverter sends along."""
    row = {
        "type": "struct",
        "fields": [
            {
                "type": kind,
                "optional": True,
                **({"name": name, "version": 1} if name else {}),
                **({"parameters": dict(parameters)} if parameters else {}),
                "field": field,
            }
            for field, kind, name, parameters in columns
        ],
        "optional": True,
        "name": "shop.Value",
    }
    fields = [{**row, "field": name} for name in ("before", "after") if name in payload]
    fields.append({"type": "string", "optional": False, "field": "op"})
    schema = {"type": "struct", "fields": fields, "name": "shop.Envelope"}
    return {"schema": schema, "payload": payload}


def unscaled(text: str, scale: int) -> str:
    """A decimal as Connect writes it in JSON."""
    number = int(Decimal(text).scaleb(scale))
    return base64.b64encode(number.to_bytes(16, "big", signed=True)).decode()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
