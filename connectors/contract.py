"""The acceptance suite for anyone's connector."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from trunkline.event import Change, Event, Record, event_headers


def make_event(
    key: str,
    data: Any = None,
    *,
    change: Change = "update",
    id: str = "",
    partition: int = 0,
    offset: int = 0,
    type: str = "contract.item",
) -> Event[Any]:
    """An event as the engine hands it to a sink; ``data`` None: it carries only its key."""
    record = Record(key=key, data={}, change=change, id=id or str(uuid.uuid4()))
    record.time = datetime.now(UTC)
    return Event(
        key=key,
        value=None if data is None else b"contract",
        headers=event_headers(record, source="contract", type=type),
        decode=lambda _: data,
        topic="contract.sink.inbox",
        partition=partition,
        offset=offset,
    )
