"""The commits of one destination: offsets, and the records that completed events became.

All partitions that changed, and all retry records and dead letters, are one transaction: so an
event is moved or dead-lettered exactly once, and what a crash repeats are the newest events that a
key was given, in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaException, Message

from trunkline.event import Event
from trunkline.kafka import PartitionRecord
from trunkline.streams.deliver.broker import Broker, Consumer
from trunkline.streams.deliver.ownership import OwnershipUncertain
from trunkline.streams.deliver.tracker import OffsetTracker
from trunkline.streams.metrics import StepMetrics
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

INTERVAL = 0.2
"""Seconds between commits while events complete."""
GATHER = 0.008
"""Seconds that an answer waits for others that are under way. Each transaction costs Kafka as much
as a hundred records: with one for each answer a hundred callers at a time got 600 a second."""
MAX_EVENTS = 2000
"""Completed events after which a commit does not wait for the interval."""
PORTION = MAX_EVENTS // 8
"""Completed events of which the listener is told in one call: not of each single one."""


class CommitListener(Protocol):
    """Who is told how commits go. Called in the event loop."""

    def on_completed(self, count: int) -> None:
        """So many more events are completed, whichever they are. Called for each PORTION of them
        and at each commit, not for each event: it wakes the poll loop's thread."""

    def on_committed(self, began: float) -> None:
        """Kafka took a commit that began then, by the event loop's time."""

    def on_fatal(self, error: BaseException) -> None:
        """A defect ended the committing: the worker must end, too."""


class OffsetCommitter:
    """Commits what ``tracker`` knows to be completed, while deliveries go on.

    ``inbox``: names the task, and the destination in logs. ``consumer``: whose group commits.
    ``urgent``: a topic whose records somebody waits for. ``is_idle``: whether no call of the sink
    is under way; the delivery step sets it.
    """

    def __init__(
        self,
        inbox: str,
        tracker: OffsetTracker,
        broker: Broker,
        consumer: Consumer,
        *,
        listener: CommitListener,
        metrics: StepMetrics,
        urgent: str = "",
    ) -> None:
        self._inbox = inbox
        self._tracker = tracker
        self._broker = broker
        self._consumer = consumer
        self._listener = listener
        self._metrics = metrics
        self._urgent = urgent
        self._records: list[PartitionRecord] = []
        self._awaited: dict[tuple[str, int, int], Callable[[], None]] = {}
        self._after: list[Callable[[], None]] = []  # awaited ones, completed but not committed
        self._completed = 0
        self._untold = 0
        self._dirty = asyncio.Event()
        self._full = asyncio.Event()
        self.is_idle: Callable[[], bool] = lambda: True
        self._gathered: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to commit."""
        failed = self._listener.on_fatal
        self._task = supervised_task(self._run(), f"commit-{self._inbox}", failed)

    async def stop(self) -> None:
        """End. ``leave`` has committed everything before."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def receive(self, messages: Sequence[Message]) -> list[Message]:
        """Note what was read; returns what was not completed before a restart."""
        fresh, completed = self._tracker.receive(messages)
        self._count(completed)
        return fresh

    def complete(self, events: Sequence[Event[Any]], *records: PartitionRecord) -> None:
        """The events are done with, and became these records: retry records, dead letters. They
        are written with the offsets that count the events as completed.

        Records of an event whose partition went away are dropped: its new owner writes them.
        """
        if records and not all(map(self._tracker.owns, events)):
            return
        if records:
            self._records += records
            if any(record.topic == self._urgent for record in records):
                self._hurry()
        if self._awaited:
            for event in events:
                call = self._awaited.pop((event.topic, event.partition, event.offset), None)
                if call is not None and self._tracker.owns(event):
                    self._after.append(call)
        self._count(self._tracker.complete(events))
        self._completed += len(events)
        self._dirty.set()
        if self._completed >= MAX_EVENTS:
            self._full.set()

    def add(self, event: Event[Any], record: PartitionRecord) -> None:
        """A record that is written with the event's completion, which comes at once."""
        if self._tracker.owns(event):
            self._records.append(record)

    def tell(self, inbox: int, record: PartitionRecord) -> None:
        """A record that no event becomes, written with the next commit, as far as this partition of
        the inbox is still this worker's."""
        if self._tracker.touch_inbox(inbox):
            self._records.append(record)
            self._dirty.set()
            self._full.set()

    async def written(self, event: Event[Any], record: PartitionRecord) -> None:
        """Return when a commit has the record that the event is about to become something. Raises
        OwnershipUncertain where its partition is another's."""
        if not self._tracker.owns(event):
            raise OwnershipUncertain("the partition went away before an attempt began")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._after.append(partial(_settle, done))
        self.tell(event.partition, record)
        await done

    def once_committed(self, event: Event[Any], call: Callable[[], None]) -> None:
        """Call this when a commit counts the event as completed; never, if its partition goes
        away before."""
        self._awaited[event.topic, event.partition, event.offset] = call

    def force_commit(self) -> None:
        """Commit at once, also where nothing has changed: to hear whether Kafka takes it."""
        self._tracker.touch()
        self._dirty.set()
        self._full.set()

    async def leave(self, lost: bool) -> None:
        """Commit what is completed, unless the partitions are already another's; forget them."""
        if not lost:
            await self.commit()
        self._tracker.clear()
        self._records, self._awaited, self._after = [], {}, []
        self._completed = self._untold = 0

    async def commit(self) -> None:
        """Commit everything that is completed by now; what fails is part of the next commit.

        1. Take offsets and records in one go: in the event loop nothing completes meanwhile.
        2. Write them in one transaction, while deliveries go on.
        3. If Kafka took it, the right to send is renewed, and what waited for the commit follows.
        4. If it did not, and the partitions are still ours, all of it goes into the next commit.
           If they went away meanwhile, the records are the new owner's to write.
        """
        async with self._lock:
            self._dirty.clear()
            self._full.clear()
            if self._gathered is not None:
                self._gathered.cancel()
                self._gathered = None
            self._completed = 0
            self._tell_completed()
            changed = self._tracker.changed()
            if not changed:
                return
            records, self._records = self._records, []
            after, self._after = self._after, []
            offsets = [self._tracker.to_commit(*item) for item in changed.items()]
            began = asyncio.get_running_loop().time()
            try:
                await self._broker.write(records, offsets, self._consumer.group)
            except KafkaException as failure:
                self._metrics.transaction_failures.inc()
                if not self._tracker.owns_still(changed):
                    log.warning("a commit of %s came too late, others deliver again", self._inbox)
                    return
                log.warning("a commit of %s is repeated: %s", self._inbox, failure)
                for partition in changed.values():
                    partition.changed = True
                self._records = records + self._records
                self._after = after + self._after
                self._dirty.set()
                return
            self._listener.on_committed(began)
            for call in after:
                call()

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            with suppress(TimeoutError):  # few events: commit them all the same
                await asyncio.wait_for(self._full.wait(), INTERVAL)
            await self.commit()

    def _hurry(self) -> None:
        """Somebody waits for an answer: commit it at once, or with those that others get in the
        next moment. One caller alone never waits for it."""
        if self.is_idle():
            self._full.set()
        elif self._gathered is None:
            self._gathered = asyncio.get_running_loop().call_later(GATHER, self._full.set)

    def _count(self, count: int) -> None:
        self._untold += count
        if self._untold >= PORTION:
            self._tell_completed()

    def _tell_completed(self) -> None:
        if self._untold:
            self._listener.on_completed(self._untold)
            self._untold = 0


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():  # whoever waited may have been cancelled
        done.set_result(None)
