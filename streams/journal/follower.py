"""Follows what gateways write into a destination's topic of calls while a worker has partitions of
it: calls that they accept, and what people decide of calls."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Protocol

from confluent_kafka import Consumer, Message, TopicPartition

from trunkline import kafka
from trunkline.kafka.reading import READ, poll
from trunkline.params import Backbone
from trunkline.streams.journal.record import ACCEPTED, DECISION
from trunkline.tasks import inheriting

log = logging.getLogger(__name__)

POLL = 0.25
"""Seconds that one poll waits: how late a stop, another assignment, and the end of a call's time
are noticed."""
_OURS = (ACCEPTED.encode(), DECISION.encode())
Told = tuple[int, bytes | None, bytes | None]
"""Partition, key and value of a record."""


class CallListener(Protocol):
    """Who is told, in the event loop: the journal."""

    def heard(self, told: Sequence[Told]) -> None:
        """This was written, in the order of each partition; told several times a second, also where
        it is nothing."""


class FollowsCalls(Protocol):
    """What the delivery step needs of a follower; see ``CallFollower``."""

    failure: BaseException | None

    def start(self, listener: CallListener) -> None:
        """Begin, with no partition."""
        ...

    def follow(self, starts: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


class CallFollower:
    """Reads in a thread of its own. ``group``: that of the delivery step, whose rights it has; it
    does not join it, and commits nothing. ``failure``: what ended it, or None.

    ``follow`` may be called from any thread; what was read before it is not told after it.
    """

    failure: BaseException | None = None

    def __init__(self, backbone: Backbone, group: str, topic: str) -> None:
        self._backbone = backbone
        self._group = group
        self._topic = topic
        self._wanted: tuple[int, Mapping[int, int]] = 0, {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=inheriting(self._run), name=f"follow-{topic}", daemon=True
        )

    def start(self, listener: CallListener) -> None:
        """Begin, with no partition. In the event loop."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def follow(self, starts: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._wanted = self._wanted[0] + 1, starts

    async def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            with closing(kafka.consumer(_unhurried(self._backbone), self._group, eof=True)) as to:
                self._read(to)
        # Whatever it is: without this thread no call would be cancelled or expire any more.
        except Exception as failure:
            log.exception("the calls of %s cannot be followed", self._topic)
            self.failure = failure

    def _read(self, client: Consumer) -> None:
        epoch = 0
        while not self._stopping.is_set():
            if self._wanted[0] != epoch:
                epoch, starts = self._wanted
                client.assign([TopicPartition(self._topic, n, at) for n, at in starts.items()])
            arrived, _ = poll(client, READ, POLL)
            told = [_told(m) for m in arrived if m.error() is None and _is_ours(m)]
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._tell, epoch, told)

    def _tell(self, epoch: int, told: list[Told]) -> None:
        if epoch == self._wanted[0] and epoch and self._wanted[1]:
            self._listener.heard(told)


def _unhurried(backbone: Backbone) -> Backbone:
    """Kafka answers this reader ten times a second, and not each time that somebody has written
    something: most of it is what this very worker says."""
    settings = {"fetch.min.bytes": "1000000", "fetch.wait.max.ms": "100"}
    return backbone.model_copy(update={"kafka": {**settings, **backbone.kafka}})


def _is_ours(message: Message) -> bool:
    return (message.key() or b"").endswith(_OURS)


def _told(message: Message) -> Told:
    return message.partition() or 0, message.key(), message.value()
