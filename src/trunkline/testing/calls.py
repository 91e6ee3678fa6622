"""Calls of operations in memory: as a gateway writes them, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trunkline.kafka import PartitionRecord, ProducerRecord
from trunkline.streams.flow.operation import Operation
from trunkline.streams.journal.follower import CallListener
from trunkline.streams.journal.record import (
    ACCEPTED,
    DECISION,
    CallRecord,
    call_headers,
    parsed_call,
)
from trunkline.testing.topics import Topics

SECOND = 1.0
"""How often a worker looks for calls whose time is over."""
_OURS = (ACCEPTED.encode(), DECISION.encode())


class MemoryFollower:
    """Tells what gateways write of calls, once a second, as ``CallFollower`` does."""

    failure: BaseException | None = None

    def __init__(self, topics: Topics, topic: str) -> None:
        self._topics = topics
        self._topic = topic
        self._next: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, listener: CallListener) -> None:
        """Begin, with no partition."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(SECOND, self._look)

    def follow(self, starts: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._next = dict(starts)

    async def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._loop.call_later(SECOND, self._look)
        if not self._next:
            return
        told = []
        for number, start in self._next.items():
            for message in self._topics.read((self._topic, number), start, 1_000):
                self._next[number] = message.offset() + 1
                if (message.key() or b"").endswith(_OURS):
                    told.append((number, message.key(), message.value()))
        self._listener.heard(told)


def accepted(operation: Operation[Any], id: str, key: str, client: str, now: float) -> CallRecord:
    """A call as a gateway accepts it."""
    return CallRecord(
        call=id,
        state="accepted",
        operation=operation.name,
        client=client,
        key=key or id,
        fingerprint="",
        accepted_at=now,
        expires_at=now + operation.policy.expires,
        at=now,
    )


def inbox_record(operation: Operation[Any], call: CallRecord, value: bytes) -> ProducerRecord:
    """The record that runs a call."""
    headers = call_headers(operation.flow.name, call)
    return ProducerRecord(operation.to.inbox, call.key.encode(), value, headers)


def write_beside(topics: Topics, operation: Operation[Any], call: CallRecord, key: bytes) -> None:
    """Write a gateway's record of a call, into the partition of its inbox record."""
    _, number = topics.place(operation.to.inbox, call.key.encode())
    written = int(call.at * 1000)
    record = PartitionRecord(operation.to.calls, number, key, call.encoded(), [], written)
    topics.write_placed([record])


def all_of(topics: Topics, calls: Sequence[str]) -> list[CallRecord]:
    """How each call stands, as a gateway knows it: what a worker says is newer than that a gateway
    has accepted it."""
    found: dict[str, CallRecord] = {}
    for message in (one for topic in calls for one in topics.records(topic)):
        parsed = parsed_call(message.key(), message.value())
        if parsed is not None and not (parsed[1] and parsed[0].call in found):
            found[parsed[0].call] = parsed[0]
    return [*found.values()]


def newest(topics: Topics, calls: Sequence[str], id: str) -> CallRecord:
    """How a call stands. Raises KeyError for one that nobody has made."""
    found = next((one for one in all_of(topics, calls) if one.call == id), None)
    if found is None:
        raise KeyError(f"there is no call {id!r}")
    return found


def cancelled(call: CallRecord, now: float) -> CallRecord:
    """What a gateway writes to cancel a call."""
    return replace(call, state="cancelled", why="cancelled by the test", at=now, request=None)
