"""The thread that polls one consumer group and hands micro-batches to the event loop.

Stock Faust acknowledges, commits and rebalances by itself, with gaps; here that is ours, on
confluent-kafka, and Faust's agents receive whole micro-batches over a channel. A batch is what
has arrived, never a timer's worth.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from trunkline.kafka.clients import KafkaUnavailable
from trunkline.kafka.offsets import committed_offsets

log = logging.getLogger(__name__)

NOT_KNOWN = (
    "where to go on in %s is not known yet: %s; if this stays so for minutes and Kafka is well, a "
    "transaction hangs there: see docs/operations.md, Kafka"
)

POLL = 0.2
"""Seconds that one poll waits: how late a stop or a rewind can be noticed."""


@dataclass(slots=True)
class MicroBatch:
    """Messages as they came, in order per partition.

    ``epoch`` and ``group``: the assignment under which they were read. A batch of an older epoch
    must be dropped: its partitions are read again, here or elsewhere.
    """

    messages: list[Message]
    epoch: int
    group: Any


class PollListener(Protocol):
    """Whom a poll loop tells what happens. Every method is called from the loop's thread."""

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Partitions are ours now; returns those that are to be read, and from where. Called
        again if it raises KafkaUnavailable, or a KafkaException that is not fatal."""
        ...

    def on_revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Partitions go away when this returns: finish and commit, or if lost, forget."""
        ...

    def on_batch(self, batch: MicroBatch) -> None:
        """A micro-batch; ``finished`` must be called once it is done with."""
        ...


class PollLoop:
    """A consumer in a thread of its own, which alone may call it: confluent-kafka lets one thread
    at a time into a consumer, and a second one waits without giving up the GIL.

    It is made before its listener, who is named at ``start``: so whoever needs to know the
    assignment (``epoch``, ``group``, ``lag``) can be made between the two.

    ``room`` and ``depth``: how many messages, and batches, may be outstanding. Where each batch is
    a transaction, a small depth lets the next batch grow while the ones before are committed.
    ``pace``: until when (epoch seconds) reading on behind a message can wait; its partition is
    paused until then. ``lag``: messages of our partitions that nobody has read. ``group``: the
    group's metadata, as of the newest batch.
    """

    def __init__(
        self,
        make_consumer: Callable[[], Consumer],
        topics: list[str],
        *,
        batch: int = 2000,
        room: int = 20_000,
        depth: int | None = None,
        pace: Callable[[Message], float] | None = None,
    ) -> None:
        self._make_consumer = make_consumer
        self._topics = topics
        self._listener: PollListener
        self._batch = batch
        self._room = room
        self._depth = depth
        self._pace = pace
        self._paced: dict[tuple[str, int], float] = {}
        self._choked = False
        self._batches = 0
        self._outstanding = 0
        self._written = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._rewinding = False
        self.epoch = 0
        self.ready = False
        self.failure: BaseException | None = None
        self.group: Any = None
        self.lag = 0
        self._lag_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"intake-{topics[0]}", daemon=True)

    def start(self, listener: PollListener) -> None:
        """Begin to poll, and tell the listener of partitions and batches."""
        self._listener = listener
        self._thread.start()

    async def stop(self) -> None:
        """Leave the group, which revokes and so finishes everything, and wait for the thread."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._stopping = True
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:  # it may be stopped before it was started
            self._thread.join()

    def done(self, batch: MicroBatch) -> None:
        """A whole batch is done with. From any thread."""
        with self._changed:
            if batch.epoch == self.epoch:
                self._batches -= 1
        self.finished(len(batch.messages), batch.epoch)

    def finished(self, count: int, epoch: int) -> None:
        """So many messages that were received in that epoch are done with. From any thread."""
        with self._changed:
            if epoch == self.epoch:
                self._outstanding -= count
                self._changed.notify_all()

    def pause(self, on: bool) -> None:
        """Read nothing more, or go on, whatever room there is. From any thread."""
        with self._changed:
            self._choked = on
            self._changed.notify_all()

    def rewind(self) -> None:
        """Read again from the committed offsets; batches under way are of an old epoch now."""
        self._begin_epoch(rewinding=True)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is outstanding; False if that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._outstanding == 0, timeout)

    def oldest_age(self) -> float:
        """Seconds since the oldest batch that is outstanding was written; 0 when none is."""
        with self._changed:
            written = self._written if self._outstanding > 0 else None
        return max(0.0, time.time() - written / 1000) if written else 0.0

    def _run(self) -> None:
        try:
            consumer = self._make_consumer()
            consumer.subscribe(
                self._topics,
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            while not self._stopping:
                self._step(consumer)
            consumer.close()
        except Exception as failure:
            log.exception("an intake failed", extra={"topics": self._topics})
            self.failure = failure
        finally:
            self.ready = False

    def _step(self, consumer: Consumer) -> None:
        if self._rewinding:
            self._seek_committed(consumer)
        if time.monotonic() > self._lag_at:
            self._measure_lag(consumer)
        if self._paced:
            self._go_on(consumer)
        if not self._has_room(1.0):
            self._hold(consumer)
            return
        first, epoch = consumer.consume(1, timeout=POLL), self.epoch
        if first:
            more = consumer.consume(self._batch - 1, timeout=0)
            # A rebalance may come in between, and then the first is no more ours.
            self._receive(consumer, first + more if epoch == self.epoch else more)

    def _receive(self, consumer: Consumer, polled: list[Message]) -> None:
        messages = [message for message in polled if message.error() is None]
        if len(messages) < len(polled):
            self._log_errors([error for m in polled if (error := m.error()) is not None])
        with self._changed:
            if not messages or self._rewinding:  # what is dropped here is read again
                return
            if self._outstanding <= 0:
                self._written = messages[0].timestamp()[1]
            self._outstanding += len(messages)
            self._batches += 1
            epoch = self.epoch
        self.group = consumer.consumer_group_metadata()
        self._listener.on_batch(MicroBatch(messages, epoch, self.group))
        if self._pace is not None:
            self._slow_down(consumer, messages)

    def _measure_lag(self, consumer: Consumer) -> None:
        """Once a second: messages of our partitions that nobody has read, as last heard. Those
        whose time has not come are not late."""
        behind = 0
        for at in consumer.position(consumer.assignment()):
            if (at.topic, at.partition) in self._paced:
                continue
            _, high = consumer.get_watermark_offsets(at, cached=True)
            behind += max(0, high - at.offset) if at.offset >= 0 else 0
        self.lag = behind
        self._lag_at = time.monotonic() + 1.0

    def _log_errors(self, errors: list[KafkaError]) -> None:
        for error in errors:
            if error.fatal():
                raise KafkaException(error)
            log.warning("Kafka: %s", error.str(), extra={"topics": self._topics})

    def _has_room(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: self._stopping or (self._outstanding < self._room and self._free()),
                timeout,
            )

    def _free(self) -> bool:
        return not self._choked and (self._depth is None or self._batches < self._depth)

    def _go_on(self, consumer: Consumer) -> None:
        """Resume the partitions whose pause is over."""
        now = time.time()
        over = [TopicPartition(*place) for place, until in self._paced.items() if until <= now]
        if over:
            for at in over:
                del self._paced[at.topic, at.partition]
            consumer.resume(over)

    def _slow_down(self, consumer: Consumer, messages: list[Message]) -> None:
        """Pause the partitions whose next messages can wait: what was read last tells."""
        assert self._pace is not None
        last = {(message.topic(), message.partition()): message for message in messages}
        now = time.time()
        waits = {place: until for place, m in last.items() if (until := self._pace(m)) > now}
        if waits:
            self._paced.update(waits)  # type: ignore[arg-type]
            consumer.pause([TopicPartition(*place) for place in waits])  # type: ignore[arg-type]

    def _hold(self, consumer: Consumer) -> None:
        """Pause until there is room. Polling goes on, so that no rebalance takes our partitions.

        Only after a second without room: a pause throws away what was fetched ahead.
        """
        epoch = self.epoch
        paused = consumer.assignment()
        consumer.pause(paused)
        while epoch == self.epoch and not self._stopping:
            self._receive(consumer, consumer.consume(1, timeout=POLL))
            if self._has_room(0):
                break
        held = {(p.topic, p.partition) for p in paused} - self._paced.keys()
        consumer.resume([p for p in consumer.assignment() if (p.topic, p.partition) in held])

    def _begin_epoch(self, *, rewinding: bool) -> None:
        with self._changed:
            self.epoch += 1
            self._outstanding = self._batches = 0
            self._choked = False
            self._rewinding = rewinding
            self._changed.notify_all()

    def _seek_committed(self, consumer: Consumer) -> None:
        self._rewinding = False
        try:
            for at in committed_offsets(consumer, consumer.assignment(), timeout=10):
                consumer.seek(at)
        except KafkaException as failure:
            if failure.args[0].fatal():
                raise
            log.warning("the committed offsets cannot be read yet: %s", failure)
            self._rewinding = True  # again, after a poll

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._begin_epoch(rewinding=False)
        self._paced.clear()
        starts = self._starts(consumer, partitions)
        consumer.assign(starts)
        consumer.resume(starts)  # librdkafka remembers a pause from an earlier assignment
        self.ready = True
        log.info("assigned %s", _named(partitions))

    def _starts(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """What the owner says, who must ask Kafka for it: again, until Kafka answers.

        Raised from here it would end this thread: out of librdkafka's callback comes a KafkaError
        as if it were an exception, which nothing can catch.
        """
        while not self._stopping:
            try:
                return self._listener.on_assigned(consumer, partitions)
            except (KafkaException, KafkaUnavailable) as failure:
                if isinstance(failure, KafkaException) and failure.args[0].fatal():
                    raise
                log.warning(NOT_KNOWN, _named(partitions), failure)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, 1.0)
        return []

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._listener.on_revoked(partitions, lost=False)
        self._forget(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("lost %s: another worker has them", _named(partitions))
        self._listener.on_revoked(partitions, lost=True)
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._begin_epoch(rewinding=False)
        log.info("released %s", _named(partitions))


def _named(partitions: list[TopicPartition]) -> str:
    return ", ".join(sorted(f"{p.topic}/{p.partition}" for p in partitions)) or "nothing"
