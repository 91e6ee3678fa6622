"""Follows what workers and gateways say of calls: all partitions of all topics of calls."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection
from contextlib import closing
from typing import Protocol

from confluent_kafka import Message, TopicPartition

from trunkline import kafka
from trunkline.kafka.clients import low_latency
from trunkline.kafka.messages import partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.reading import READ, high_watermarks, poll
from trunkline.naming import GATEWAY_GROUP, REPLIES
from trunkline.params import Backbone
from trunkline.streams.journal.record import CallRecord, parsed_call
from trunkline.streams.journal.reply import QueryReply, parsed_reply

log = logging.getLogger(__name__)

POLL = 0.2
"""Seconds that one poll waits: how late a stop can be noticed."""
Told = tuple[str, CallRecord, bool]
"""A topic, a record of it, and whether a gateway wrote it."""


class Replies(Protocol):
    """Who waits for answers of queries."""

    def awaits(self, query: str) -> bool:
        """Whether somebody waits for this one. From any thread."""
        ...

    def arrived(self, replies: list[QueryReply]) -> None:
        """These have come. In the event loop."""


class CallTail:
    """Reads in a thread of its own, and tells in the event loop, each partition in its order.

    ``on_records``: gets what was read; ``replies``: the answers of queries, those that are written
    from now on; ``control``: control topics, of whose records ``on_control`` gets topic, key and
    value. ``caught_up``: set once everything is read that was there at the start, up to the high
    watermark: what an open transaction holds back is waited for, or a call would be sent again that
    a worker has just completed. ``failure``: what ended it.
    """

    failure: BaseException | None = None

    def __init__(
        self,
        backbone: Backbone,
        topics: dict[str, int],
        on_records: Callable[[list[Told]], None],
        replies: Replies | None = None,
        control: Collection[str] = (),
        on_control: Callable[[str, bytes | None, bytes | None], None] = lambda *_: None,
    ) -> None:
        self._backbone = low_latency(backbone)
        self._partitions = [
            TopicPartition(topic, number, 0) for topic in topics for number in range(topics[topic])
        ]
        self._on_records = on_records
        self._partitions += [TopicPartition(topic, 0, 0) for topic in control]
        self._control, self._on_control = frozenset(control), on_control
        self._replies = replies
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway-tail", daemon=True)
        self.caught_up = asyncio.Event()

    def start(self) -> None:
        """Begin to read. In the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End reading."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            ends = high_watermarks(self._backbone, self._partitions)
            left = {partition: end for partition, end in ends.items() if end > 0}
            with closing(kafka.consumer(self._backbone, GATEWAY_GROUP, eof=True)) as client:
                client.assign([*self._partitions, *self._from_now_on()])
                if not left:
                    self._in_loop(self.caught_up.set)
                while not self._stopping.is_set():
                    arrived, _ = poll(client, READ, POLL)
                    self._tell(arrived)
                    if left and _reach(left, arrived):
                        self._in_loop(self.caught_up.set)
        # Whatever it is: a gateway without this thread would answer no call any more.
        except Exception as failure:
            log.exception("the topics of calls cannot be followed")
            self.failure = failure

    def _from_now_on(self) -> list[TopicPartition]:
        if self._replies is None:
            return []
        ends = high_watermarks(self._backbone, [TopicPartition(REPLIES, 0)])
        return [TopicPartition(*partition, end) for partition, end in ends.items()]

    def _tell(self, arrived: list[Message]) -> None:
        sound = [message for message in arrived if message.error() is None]
        if self._replies is not None:
            self._tell_replies([m for m in sound if m.topic() == REPLIES])
        for one in sound:
            if one.topic() in self._control:
                self._in_loop(self._on_control, one.topic(), one.key(), one.value())
        told = [
            (message.topic() or "", *found)
            for message in sound
            if message.topic() not in (REPLIES, *self._control)
            and (found := parsed_call(message.key(), message.value())) is not None
        ]
        if told:
            self._in_loop(self._on_records, told)

    def _tell_replies(self, messages: list[Message]) -> None:
        assert self._replies is not None
        mine = [
            m for m in messages if self._replies.awaits((m.key() or b"").decode(errors="replace"))
        ]
        found = [reply for m in mine if (reply := parsed_reply(m.value())) is not None]
        if found:
            self._in_loop(self._replies.arrived, found)

    def _in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        # A record may still come while the loop ends; a closed one raises RuntimeError here.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _reach(left: dict[Partition, int], arrived: list[Message]) -> bool:
    """Note how far partitions are read; whether that was the last one."""
    for message in arrived:
        partition, offset = partition_of(message), message.offset() or 0
        reached = offset + 1 if message.error() is None else offset
        if reached >= left.get(partition, reached + 1):
            del left[partition]
    return not left
