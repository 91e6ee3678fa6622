"""Journals of calls for tests: events that are calls, and what is written of them."""

from __future__ import annotations

from typing import Any

from trunkline.event import Event
from trunkline.kafka import PartitionRecord
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.journal.record import CallRecord, moment_of, parsed_call

NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def call(id_: str = "c1", **headers: str) -> Event[Any]:
    named = {
        "ce_id": id_,
        "tl_operation": "correct",
        "tl_client": "crm",
        "tl_fingerprint": "f",
        "tl_accepted_at": moment_of(NOW),
        "tl_expires_at": moment_of(NOW + 60),
        **headers,
    }
    return Event(
        key="o-7",
        value=b"",
        headers=[(name, text.encode()) for name, text in named.items()],
        decode=lambda value: value,
        topic="shop.erp.inbox",
        partition=3,
    )


def event() -> Event[Any]:
    return Event(key="k", value=b"", headers=[], decode=bytes, topic="shop.erp.inbox")


def journal() -> CallJournal:
    return CallJournal("shop.erp.calls", Clock())


def told(record: PartitionRecord) -> CallRecord:
    found = parsed_call(record.key, record.value)
    assert found is not None
    assert not found[1]
    return found[0]
